//! Colours by meaning. The caller decides whether there are any; a colour is never the only signal.

use anstyle::{AnsiColor, Style};

use crate::report::{Status, Verdict};

/// What the parts of the terminal form look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    good: Style,
    bad: Style,
    odd: Style,
    dim: Style,
    head: Style,
}

impl Palette {
    /// No escape sequences at all.
    #[must_use]
    pub const fn plain() -> Self {
        let none = Style::new();
        Self { good: none, bad: none, odd: none, dim: none, head: none }
    }

    /// The eight colours every terminal has.
    #[must_use]
    pub const fn ansi() -> Self {
        Self {
            good: AnsiColor::Green.on_default(),
            bad: AnsiColor::Red.on_default().bold(),
            odd: AnsiColor::Yellow.on_default(),
            dim: Style::new().dimmed(),
            head: Style::new().bold(),
        }
    }

    /// `text` in the style of `verdict`.
    pub(super) fn verdict(&self, verdict: Verdict, text: &str) -> String {
        paint(self.of_verdict(verdict), text)
    }

    /// `text` in the style of `status`.
    pub(super) fn status(&self, status: Status, text: &str) -> String {
        let style = match status {
            Status::Passed => self.good,
            Status::Failed | Status::Invalid => self.bad,
            Status::Interrupted | Status::NothingRan => self.odd,
        };
        paint(style, text)
    }

    pub(crate) fn bad(&self, text: &str) -> String {
        paint(self.bad, text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        paint(self.dim, text)
    }

    pub(crate) fn head(&self, text: &str) -> String {
        paint(self.head, text)
    }

    const fn of_verdict(&self, verdict: Verdict) -> Style {
        match verdict {
            Verdict::Pass | Verdict::Caught => self.good,
            Verdict::Fail | Verdict::Error | Verdict::Missed => self.bad,
            Verdict::Skip | Verdict::KnownBug | Verdict::NotRun => self.odd,
        }
    }
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
