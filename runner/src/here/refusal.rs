//! Why a run on this machine does not begin: one line each, with what to do about it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use reports::ExitCode;
use scenarios::devices::listed;

/// A run that did not begin; nothing on the machine was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The agent was started by hand, without a word of what it is to do.
    #[error(
        "this is the agent: PID 1 of `cargo xtask vm-e2e`, or with --here a program on this machine; see --help"
    )]
    NotHere,
    /// An option that there is not, or a value that is none.
    #[error("{0}; see --help")]
    Usage(String),
    /// No scenario has that name.
    #[error("no scenario matches `{0}`; --here --list shows them")]
    NoScenario(String),
    /// The user has to say so.
    #[error(
        "this would run {run} scenarios on this machine, each adding, serving and deleting ublk devices ({left_out} are left out, see --list); \
         allow it with --allow-device-creation"
    )]
    NotAllowed {
        /// Scenarios that would run.
        run: usize,
        /// Scenarios that are never run on such a machine.
        left_out: usize,
    },
    /// Devices are root's to add.
    #[error("ublk devices are added by root, and this user is not: run it with sudo")]
    NotRoot,
    /// No driver, no node, or no ring; its own line says the remedy.
    #[error("{0}")]
    NoDriver(String),
    /// Somebody's devices are there.
    #[error(
        "this machine has ublk device {}, which this run did not make and will not touch: it runs where there is none; \
         `ublk list` shows whose they are", listed(.0)
    )]
    Devices(BTreeSet<u32>),
    /// Half of the scenarios need a server.
    #[error("there is no server at {}: put `ublk` beside this program, or name it in UBLK_PROGRAM", .0.display())]
    NoServer(PathBuf),
    /// Something else of this machine.
    #[error("{0}")]
    Machine(String),
}

impl Refusal {
    /// What the process ends with.
    pub(super) const fn code(&self) -> ExitCode {
        match self {
            Self::NotHere | Self::Usage(_) | Self::NoScenario(_) | Self::NotAllowed { .. } => {
                ExitCode::Usage
            }
            Self::NotRoot
            | Self::NoDriver(_)
            | Self::Devices(_)
            | Self::NoServer(_)
            | Self::Machine(_) => ExitCode::Infrastructure,
        }
    }
}

impl From<lexopt::Error> for Refusal {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_one_line_that_says_what_to_do() {
        let cases = [
            (Refusal::NotAllowed { run: 3, left_out: 1 }, "--allow-device-creation", 2),
            (Refusal::NotRoot, "sudo", 3),
            (Refusal::Devices(BTreeSet::from([0, 7])), "device 0, 7,", 3),
            (Refusal::NoServer("/x/ublk".into()), "UBLK_PROGRAM", 3),
            (Refusal::NoScenario("x".into()), "--list", 2),
        ];
        for (refusal, words, code) in cases {
            let line = refusal.to_string();
            assert!(line.contains(words) && !line.contains('\n') && !line.contains("  "), "{line}");
            assert_eq!(refusal.code().code(), code, "{line}");
        }
    }
}
