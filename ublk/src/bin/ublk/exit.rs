//! Exit codes, which scripts rely on, and how an error becomes one.

use std::io;
use std::process::ExitCode;

use ublk::ctrl::{CtrlError, OpenError};
use ublk::device::DeviceError;

/// What the command's exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; for `add`: stopped cleanly.
    Ok = 0,
    /// The operation failed.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// There is no ublk driver, or no permission to use it.
    NoDriver = 3,
}

impl Exit {
    /// What an exit code of this command means; an unknown one is a failure.
    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Ok,
            2 => Self::Usage,
            3 => Self::NoDriver,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output is gone.
    BrokenPipe,
    /// Anything else.
    Failed {
        /// The exit code.
        exit: Exit,
        /// A sentence fragment.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Failure {
    /// The operation failed.
    #[allow(clippy::needless_pass_by_value)] // So that `map_err` takes it by its name.
    pub(crate) fn failed(message: impl ToString) -> Self {
        Self::Failed { exit: Exit::Failed, message: message.to_string(), hint: None }
    }

    /// The command line asked for something impossible.
    #[allow(clippy::needless_pass_by_value)] // As above.
    pub(crate) fn usage(message: impl ToString) -> Self {
        Self::Failed { exit: Exit::Usage, message: message.to_string(), hint: None }
    }

    /// The control node could not be used. The error's text says what to do.
    pub(crate) fn driver(error: &OpenError) -> Self {
        let exit = match error {
            OpenError::Dump(_) => Exit::Failed,
            _ => Exit::NoDriver,
        };
        Self::Failed { exit, message: error.to_string(), hint: None }
    }

    /// A control command failed; EPERM is a permission that is missing.
    pub(crate) fn control(error: &CtrlError) -> Self {
        Self::Failed { exit: exit_of(error), message: error.to_string(), hint: None }
    }

    /// A step of a device's life failed.
    pub(crate) fn device(error: &DeviceError) -> Self {
        let exit = match error {
            DeviceError::Control { source, .. } => exit_of(source),
            _ => Exit::Failed,
        };
        Self::Failed { exit, message: error.to_string(), hint: None }
    }

    /// Adds what to do about it.
    pub(crate) fn with_hint(mut self, what: &str) -> Self {
        if let Self::Failed { hint, .. } = &mut self {
            *hint = Some(what.to_owned());
        }
        self
    }
}

fn exit_of(error: &CtrlError) -> Exit {
    match error.errno() {
        Some(libc::EPERM | libc::EACCES) => Exit::NoDriver,
        _ => Exit::Failed,
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::failed(error)
        }
    }
}
