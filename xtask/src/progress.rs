//! What is going on, on standard error: a spinner line on a terminal, plain lines in a log.
//!
//! A job that downloads, builds and boots for minutes must not look like a hang, and a CI log must not
//! be full of carriage returns.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows stages and notes; cheap to call often.
#[derive(Debug)]
pub(crate) struct Terminal {
    bar: Option<ProgressBar>,
    begin: Instant,
    last_stage: Mutex<String>,
    last_steps: Mutex<Instant>,
}

/// In a log, a stage of many steps says this often how far it is.
const STEPS_EVERY: Duration = Duration::from_secs(30);

impl Terminal {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let begin = Instant::now();
        let (last_stage, last_steps) = (Mutex::new(String::new()), Mutex::new(begin));
        Self { bar, begin, last_stage, last_steps }
    }

    /// The line that changes: what is being done now.
    pub(crate) fn doing(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.line(text),
        }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("[{:>6.1}s] {text}", self.begin.elapsed().as_secs_f64()),
        }
    }

    /// Takes the changing line away, before a report is printed.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl vmimage::progress::Progress for Terminal {
    fn stage(&self, name: &str, detail: &str) {
        let text = if detail.is_empty() { name.to_owned() } else { format!("{name}: {detail}") };
        if let Ok(mut last) = self.last_stage.lock() {
            if *last == text {
                return;
            }
            last.clone_from(&text);
        }
        self.doing(&text);
    }

    fn bytes(&self, done_bytes: u64, total_bytes: Option<u64>) {
        // In a log the stage line is enough: a line for each block would bury it.
        let (Some(bar), Ok(stage)) = (&self.bar, self.last_stage.lock()) else { return };
        let mib = |bytes: u64| bytes >> 20;
        let of = total_bytes.map(|total| format!(" of {}", mib(total))).unwrap_or_default();
        bar.set_message(format!("{stage} ({}{of} MiB)", mib(done_bytes)));
    }

    fn steps(&self, done: u64, what: &str) {
        let (Ok(stage), Ok(mut last)) = (self.last_stage.lock(), self.last_steps.lock()) else {
            return;
        };
        if self.bar.is_some() || last.elapsed() >= STEPS_EVERY {
            self.doing(&format!("{stage} ({done} steps, {what})"));
            *last = Instant::now();
        }
    }

    fn note(&self, text: &str) {
        self.line(&format!("note: {text}"));
    }
}
