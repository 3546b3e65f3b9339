//! How a QEMU process came to its end. It says who ended it and nothing about success: QEMU exits with 0
//! after a guest panic too.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Why a virtual machine is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VmEnd {
    /// QEMU ended by itself, or somebody else ended it.
    Exited {
        /// Exit code or signal.
        status: ExitStatus,
    },
    /// Ended here because the console file outgrew its limit.
    ConsoleFlood {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Ended here because QEMU's own messages outgrew their limit.
    StderrFlood {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Ended here because its owner asked, or dropped it.
    Killed,
    /// Ended by [`kill_all`](super::kill_all).
    Interrupted,
    /// The process cannot be watched any more.
    Lost {
        /// What the system said.
        reason: String,
    },
}

impl fmt::Display for VmEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { status } => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exit code {code}"),
                (None, Some(signal)) => write!(f, "signal {signal}"),
                (None, None) => write!(f, "{status}"),
            },
            Self::ConsoleFlood { limit_bytes } => {
                write!(f, "ended: the console wrote more than {limit_bytes} bytes")
            }
            Self::StderrFlood { limit_bytes } => {
                write!(f, "ended: QEMU printed more than {limit_bytes} bytes of messages")
            }
            Self::Killed => write!(f, "ended by its owner"),
            Self::Interrupted => write!(f, "ended because the run was interrupted"),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_signals_are_told_apart() {
        let text = |raw| VmEnd::Exited { status: ExitStatus::from_raw(raw) }.to_string();
        assert_eq!(text(3 << 8), "exit code 3");
        assert_eq!(text(9), "signal 9");
    }
}
