//! Why a task ended without a report, and the exit code that says so.

use std::fmt::Display;

use reports::report::ExitCode;

/// An error that is printed in one line.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// The number the process ends with.
    pub(crate) code: ExitCode,
    message: String,
}

impl Error {
    /// The tools around the guest: a download, a disk, QEMU.
    pub(crate) fn infrastructure(message: impl Display) -> Self {
        Self { code: ExitCode::Infrastructure, message: message.to_string() }
    }

    /// The same, with what it is about in front.
    pub(crate) fn about(self, what: impl Display) -> Self {
        Self { code: self.code, message: format!("{what}: {}", self.message) }
    }

    /// The user stopped it.
    pub(crate) fn interrupted(message: impl Display) -> Self {
        Self { code: ExitCode::Interrupted, message: message.to_string() }
    }

    /// The user asked for something that does not exist.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { code: ExitCode::Usage, message: message.to_string() }
    }

    /// A check that was run is red.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self { code: ExitCode::Failed, message: message.to_string() }
    }

    /// Nothing is known to be wrong, and it cannot be said that nothing is.
    pub(crate) fn inconclusive(message: impl Display) -> Self {
        Self { code: ExitCode::Inconclusive, message: message.to_string() }
    }

    /// Input that a gate does not make a number of.
    pub(crate) fn refused(refusal: &reports::gate::Refusal) -> Self {
        Self { code: refusal.exit_code(), message: refusal.to_string() }
    }
}
