//! What a running scenario is given, and how it says what it saw.
//!
//! Every property goes through a `check` of the [`Context`], which counts it: a scenario that returns
//! `Ok` without having checked anything is reported as an error by whoever runs it.

use std::fmt::{Debug, Display};
use std::io::Write;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reports::budget::Budgets;
use reports::event::{FailureKind, Outcome, ScenarioLine};

use crate::kernel::KernelRelease;

/// Why a scenario ended before its end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// A property did not hold.
    #[error("{message}")]
    Fail {
        /// What sort of property.
        kind: FailureKind,
        /// Expected and observed.
        message: String,
    },
    /// The scenario cannot run here.
    #[error("skipped: {probe}: {reason}")]
    Skip {
        /// What was asked.
        probe: String,
        /// What the answer was.
        reason: String,
    },
    /// The scenario could not do its work.
    #[error("{message}")]
    Error {
        /// What went wrong.
        message: String,
    },
}

impl Stop {
    /// A property of sort `kind` did not hold.
    pub fn fail(kind: FailureKind, message: impl Display) -> Self {
        Self::Fail { kind, message: message.to_string() }
    }

    /// The scenario could not do its work.
    pub fn error(message: impl Display) -> Self {
        Self::Error { message: message.to_string() }
    }

    /// The scenario cannot run here: `probe` was asked and `reason` is the answer.
    pub fn skip(probe: impl Display, reason: impl Display) -> Self {
        Self::Skip { probe: probe.to_string(), reason: reason.to_string() }
    }

    /// The outcome to report.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        match self {
            Self::Fail { kind, message } => Outcome::Fail { failure: kind, message },
            Self::Skip { probe, reason } => Outcome::Skip { probe, reason },
            Self::Error { message } => Outcome::Error { message },
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::error(error)
    }
}

impl From<ublk::ctrl::CtrlError> for Stop {
    fn from(error: ublk::ctrl::CtrlError) -> Self {
        Self::fail(FailureKind::Operation, error)
    }
}

/// Adds "while doing what" to an error that would otherwise be a bare errno.
pub trait During<T> {
    /// The value, or an [`Stop::Error`] that says what was being done.
    ///
    /// # Errors
    /// When `self` is an error.
    fn during(self, what: impl Display) -> Result<T, Stop>;
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, what: impl Display) -> Result<T, Stop> {
        self.map_err(|error| Stop::error(format_args!("failed to {what}: {error}")))
    }
}

/// What only the agent can do for a scenario, because it needs `unsafe` code.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Dies of a real page fault.
    pub segfault: fn() -> !,
}

/// The surroundings of one running scenario.
pub struct Context {
    /// Seed of the run; each use is derived from it by a label.
    pub seed: u64,
    /// Scaled limits.
    pub budgets: Budgets,
    /// The kernel under test.
    pub kernel: KernelRelease,
    /// What only the agent can do.
    pub hooks: Hooks,
    sink: Box<dyn Write + Send>,
    steps_left: u32,
    checks: u64,
}

impl Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("seed", &self.seed).field("checks", &self.checks).finish()
    }
}

impl Context {
    /// Surroundings that report to `sink`, one JSON a line.
    #[must_use]
    pub fn new(
        seed: u64,
        budgets: Budgets,
        kernel: KernelRelease,
        hooks: Hooks,
        sink: Box<dyn Write + Send>,
    ) -> Self {
        Self { seed, budgets, kernel, hooks, sink, steps_left: budgets.steps_max, checks: 0 }
    }

    /// Number of checks made so far.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks
    }

    /// Says what is being done; kept in the event stream, shown when the scenario goes wrong.
    pub fn step(&mut self, text: impl Display) {
        if self.steps_left > 0 {
            self.steps_left -= 1;
            self.send(&ScenarioLine::Step { text: text.to_string() });
        }
    }

    /// Keeps `text` beside the verdict under the short name `name`, cut at the budget's limit.
    pub fn evidence(&mut self, name: &str, text: &str) {
        let mut end = text.len().min(self.budgets.evidence_bytes_max);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.send(&ScenarioLine::Evidence { name: name.into(), text: text[..end].into() });
    }

    /// The last line: how the scenario ended. A pass without a check is an error.
    pub fn finish(mut self, result: Result<String, Stop>) {
        let checks = self.checks;
        let outcome = match result {
            Ok(_) if checks == 0 => {
                Outcome::Error { message: "the scenario passed without checking anything".into() }
            }
            Ok(summary) => Outcome::Pass { checks, summary },
            Err(stop) => stop.into_outcome(),
        };
        self.send(&ScenarioLine::Outcome { outcome });
    }

    fn send(&mut self, line: &ScenarioLine) {
        // A reader that is gone is the agent being gone; there is nobody left to tell.
        if let Ok(mut text) = serde_json::to_string(line) {
            text.push('\n');
            let _ = self.sink.write_all(text.as_bytes());
            let _ = self.sink.flush();
        }
    }

    /// Counts a check of sort `kind`: `what` holds or the scenario fails.
    ///
    /// # Errors
    /// When `holds` is false.
    pub fn check(
        &mut self,
        kind: FailureKind,
        what: impl Display,
        holds: bool,
    ) -> Result<(), Stop> {
        self.checks += 1;
        if holds { Ok(()) } else { Err(Stop::fail(kind, format_args!("does not hold: {what}"))) }
    }

    /// Counts a check that `observed` equals `expected`.
    ///
    /// # Errors
    /// When they differ.
    pub fn check_eq<T: PartialEq + Debug>(
        &mut self,
        kind: FailureKind,
        what: impl Display,
        observed: &T,
        expected: &T,
    ) -> Result<(), Stop> {
        self.checks += 1;
        if observed == expected {
            return Ok(());
        }
        Err(Stop::fail(kind, format_args!("{what}: expected {expected:?}, observed {observed:?}")))
    }

    /// Counts a check that the result of a command is `expected` (0 or a negative errno).
    ///
    /// # Errors
    /// When it is not.
    pub fn check_result(
        &mut self,
        what: impl Display,
        observed: i32,
        expected: i32,
    ) -> Result<(), Stop> {
        self.checks += 1;
        if observed == expected {
            return Ok(());
        }
        Err(Stop::fail(
            FailureKind::Errno,
            format_args!("{what}: expected {}, observed {}", errno(expected), errno(observed)),
        ))
    }

    /// A random generator of its own for `label`, the same in every run with this seed.
    #[must_use]
    pub fn rng(&self, label: &str) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed ^ reports::fnv1a(label.bytes()))
    }

    /// Time given to a command that should not block.
    #[must_use]
    pub fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.budgets.command_ms)
    }

    /// How long "nothing happens" is watched before it is believed.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        Duration::from_millis(self.budgets.quiet_ms)
    }
}

/// A result as people read it: `0`, `4096`, `-22 (EINVAL)`.
#[must_use]
pub fn errno(result: i32) -> String {
    if result < 0 {
        let name = nix::errno::Errno::from_raw(-result);
        format!("{result} ({name:?})")
    } else {
        result.to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct Shared(pub Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn context() -> (Context, Shared) {
        let sink = Shared::default();
        let hooks = Hooks { segfault: || std::process::abort() };
        let kernel = KernelRelease::parse("7.3.4-test").unwrap();
        (Context::new(1, Budgets::scaled(1), kernel, hooks, Box::new(sink.clone())), sink)
    }

    fn last(sink: &Shared) -> ScenarioLine {
        let bytes = sink.0.lock().unwrap();
        serde_json::from_str(std::str::from_utf8(&bytes).unwrap().lines().last().unwrap()).unwrap()
    }

    #[test]
    fn a_pass_without_a_check_is_an_error() {
        let (context, sink) = context();
        context.finish(Ok("all well".into()));
        assert!(matches!(last(&sink), ScenarioLine::Outcome { outcome: Outcome::Error { .. } }));
    }

    #[test]
    fn checks_are_counted_and_reported() {
        let (mut context, sink) = context();
        context.check(FailureKind::State, "one", true).unwrap();
        context.check_result("two", -22, -22).unwrap();
        context.finish(Ok("fine".into()));
        let ScenarioLine::Outcome { outcome: Outcome::Pass { checks, .. } } = last(&sink) else {
            panic!("not a pass");
        };
        assert_eq!(checks, 2);
    }

    #[test]
    fn a_wrong_result_names_both_errnos() {
        let (mut context, _) = context();
        let stop = context.check_result("FETCH twice", -16, -22).unwrap_err();
        assert_eq!(stop.to_string(), "FETCH twice: expected -22 (EINVAL), observed -16 (EBUSY)");
    }

    #[test]
    fn evidence_is_cut_at_a_character_boundary() {
        let (mut context, sink) = context();
        context.budgets.evidence_bytes_max = 5;
        context.evidence("x", "ab\u{20ac}\u{20ac}");
        let ScenarioLine::Evidence { text, .. } = last(&sink) else { panic!() };
        assert_eq!(text, "ab\u{20ac}");
    }
}
