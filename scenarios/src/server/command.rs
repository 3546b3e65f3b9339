//! One command of an adapter: run within a limit, and what it said kept for the message of a failure.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reports::event::FailureKind;

use crate::context::{Context, During, Stop};

/// Lines that are kept of a stream: the first, where a device is named, and the last, where an error is.
const FIRST_LINES_MAX: usize = 64;
const LAST_LINES_MAX: usize = 64;
/// Longest part of a line that is shown.
const SHOWN_CHARS_MAX: usize = 300;
/// Time for the last words of a process that has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A command that was started. Who drops it leaves it running; the server's processes are ended by whoever watches them.
#[derive(Debug)]
pub(super) struct Started {
    child: Child,
    status: Option<ExitStatus>,
    line: String,
    stdout: Said,
    stderr: Said,
}

/// What came out of a stream so far.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    first: Vec<String>,
    last: VecDeque<String>,
    ended: bool,
}

impl Said {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let said = Self::default();
        let kept = said.clone();
        // A daemon may hold the stream for as long as it lives; the thread goes with this process.
        std::thread::spawn(move || {
            if let Some(stream) = stream {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    kept.add(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            }
            kept.lock().ended = true;
        });
        said
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: String) {
        let mut lines = self.lock();
        if line.is_empty() {
            return;
        }
        if lines.first.len() < FIRST_LINES_MAX {
            lines.first.push(line.clone());
        }
        if lines.last.len() == LAST_LINES_MAX {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }

    /// The last line; one that only explains the line before it is none.
    fn last(&self) -> Option<String> {
        let lines = self.lock();
        let line = lines.last.iter().rev().find(|line| !line.starts_with("note: "));
        line.map(|line| line.chars().take(SHOWN_CHARS_MAX).collect())
    }
}

impl Started {
    /// Starts it.
    pub(super) fn start(context: &mut Context, argv: &[String]) -> Result<Self, Stop> {
        let line = argv.join(" ");
        context.step(&line);
        let (program, arguments) =
            argv.split_first().ok_or_else(|| Stop::error("a command without words"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_remove(super::input::VARIABLE)
            // What a server says of a panic is wanted, and not the stack behind it.
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Stop::error(format_args!("`{line}` cannot be started: {error}")))?;
        let (stdout, stderr) = (Said::of(child.stdout.take()), Said::of(child.stderr.take()));
        Ok(Self { child, status: None, line, stdout, stderr })
    }

    /// How it ended, once it has.
    pub(super) fn status(&mut self) -> Result<Option<ExitStatus>, Stop> {
        if self.status.is_none() {
            self.status = self.child.try_wait().during(format_args!("wait for `{}`", self.line))?;
        }
        Ok(self.status)
    }

    /// Waits for its end; none when it still runs after `timeout`.
    pub(super) fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>, Stop> {
        let deadline = Instant::now() + timeout;
        while self.status()?.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(self.status)
    }

    /// Whether a signal that means a crash has ended it.
    pub(super) fn crashed(&mut self) -> Result<bool, Stop> {
        let signal = self.status()?.and_then(|status| status.signal());
        let signal = signal.and_then(|number| Signal::try_from(number).ok());
        Ok(matches!(
            signal,
            Some(
                Signal::SIGSEGV
                    | Signal::SIGABRT
                    | Signal::SIGBUS
                    | Signal::SIGILL
                    | Signal::SIGFPE
            )
        ))
    }

    /// The number behind `ublkb` or `ublkc` in what it printed, or behind `dev id`.
    pub(super) fn printed_id(&self) -> Option<u32> {
        let number = |said: &Said| said.lock().first.iter().find_map(|line| device_in(line));
        number(&self.stdout).or_else(|| number(&self.stderr))
    }

    /// Whether it said anything on standard error.
    pub(super) fn complained(&self) -> bool {
        self.settle();
        self.stderr.last().is_some()
    }

    /// A process that has ended may have said something that nobody has read yet.
    fn settle(&self) {
        if self.status.is_some() {
            let read = || self.stderr.lock().ended && self.stdout.lock().ended;
            crate::block::wait_until(LAST_WORDS, read);
        }
    }

    /// The command and how it stands, with its last words, for a message.
    pub(super) fn told(&self) -> String {
        self.settle();
        let how = match self.status {
            Some(status) => match status.code() {
                Some(code) => format!("ended with exit code {code}"),
                None => format!("ended with {status}"),
            },
            None => "still runs".to_owned(),
        };
        let words = match (self.stderr.last(), self.stdout.last()) {
            (Some(line), _) => format!("its last line on standard error: {line}"),
            (None, Some(line)) => format!("its last line: {line}"),
            (None, None) => "it printed nothing".to_owned(),
        };
        format!("`{}` {how}; {words}", self.line)
    }
}

/// Runs a command to its end within `timeout`, which has to be a good one.
pub(super) fn run(
    context: &mut Context,
    what: &str,
    argv: &[String],
    timeout: Duration,
) -> Result<(), Stop> {
    let mut started = Started::start(context, argv)?;
    let status = started.wait(timeout)?;
    let in_time = format!("{what}: the command ends within {timeout:?} ({})", started.told());
    if status.is_none() {
        let _ = started.child.kill();
        let _ = started.child.wait();
    }
    context.check(FailureKind::Completion, in_time, status.is_some())?;
    let well = format!("{what}: the command succeeds ({})", started.told());
    context.check(FailureKind::Operation, well, status.is_some_and(|status| status.success()))
}

/// The number of the device that a line names.
fn device_in(line: &str) -> Option<u32> {
    ["ublkb", "ublkc", "dev id "].iter().find_map(|word| {
        let (_, rest) = line.split_once(word)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::context;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_device_is_found_in_a_line() {
        assert_eq!(device_in(r#"{"id":3,"block_device":"/dev/ublkb3"}"#), Some(3));
        assert_eq!(device_in("dev id 12: nr_hw_queues 2"), Some(12));
        assert_eq!(device_in("ublkb: none"), None);
    }

    #[test]
    fn what_went_wrong_is_on_one_line() {
        let (mut context, _) = context();
        let mut started =
            Started::start(&mut context, &shell("echo a; echo 'no driver' >&2; exit 3")).unwrap();
        started.wait(Duration::from_secs(5)).unwrap();
        let told = started.told();
        assert!(
            told.ends_with("ended with exit code 3; its last line on standard error: no driver")
        );
        let quiet = run(&mut context, "stop", &shell("exit 1"), Duration::from_secs(5));
        assert!(quiet.unwrap_err().to_string().contains("exit code 1; it printed nothing"));
    }

    #[test]
    fn a_command_that_hangs_and_one_that_is_not_there_are_named() {
        let (mut context, _) = context();
        let hangs = run(&mut context, "stop", &shell("exec sleep 60"), Duration::from_millis(50));
        let told = hangs.unwrap_err().to_string();
        assert!(told.contains("stop: the command ends within 50ms") && told.contains("still runs"));
        let none = run(&mut context, "stop", &["/no/such".into()], Duration::from_secs(1));
        assert!(none.unwrap_err().to_string().contains("`/no/such` cannot be started"), "{told}");
    }
}
