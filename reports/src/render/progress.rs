//! What is said of a scenario while the run goes on. The verdict is the fold's, and may differ.

use crate::event::Outcome;

/// A few words where something is not plainly good.
#[must_use]
pub fn trouble(outcome: &Outcome, unhealthy: bool) -> Option<String> {
    match outcome {
        Outcome::Pass { .. } if unhealthy => Some("passed, but the kernel is not well".into()),
        Outcome::Pass { .. } => None,
        Outcome::Skip { probe, reason } => Some(format!("skipped: {probe}: {reason}")),
        Outcome::Fail { message, .. } => Some(format!("failed: {message}")),
        Outcome::Error { message } => Some(format!("error: {message}")),
        Outcome::Hang { after_ms, .. } => Some(format!("hangs (given up after {after_ms} ms)")),
        Outcome::Died { how } => Some(format!("died of {how}")),
    }
}
