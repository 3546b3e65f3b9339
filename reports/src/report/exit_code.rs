//! The numbers `cargo xtask` ends with: an interface for scripts and CI, so they are written down once.
//!
//! A script that only asks "zero or not" is right; one that wants to retry on a broken mirror and not
//! on a broken kernel needs to tell the two apart.

/// Exit code of a command that runs scenarios, or of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything planned was reported and came out as it should.
    Passed = 0,
    /// A scenario failed or could not be judged, or a boot went wrong; of a gate, a regression.
    Failed = 1,
    /// The command line asks for something that does not exist or does not fit together.
    Usage = 2,
    /// No QEMU, no kernel, no network, no disk space: nothing of the guest was found wrong.
    Infrastructure = 3,
    /// The record contradicts the protocol or a canary was not caught; no verdict can be trusted.
    Invalid = 4,
    /// No scenario passed, though none failed: an empty filter, or everything was skipped.
    NothingRan = 5,
    /// A gate cannot tell: too few samples, or a baseline of another kernel, QEMU, fio or compiler.
    Inconclusive = 6,
    /// A gate's control differed from itself; the run is void and says nothing about the tree.
    NoisyHost = 7,
    /// The user stopped the run (128 + SIGINT, as shells do).
    Interrupted = 130,
}

impl ExitCode {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_an_interface() {
        let codes = [
            (ExitCode::Passed, 0),
            (ExitCode::Failed, 1),
            (ExitCode::Usage, 2),
            (ExitCode::Infrastructure, 3),
            (ExitCode::Invalid, 4),
            (ExitCode::NothingRan, 5),
            (ExitCode::Inconclusive, 6),
            (ExitCode::NoisyHost, 7),
            (ExitCode::Interrupted, 130),
        ];
        for (code, number) in codes {
            assert_eq!(code.code(), number);
        }
    }
}
