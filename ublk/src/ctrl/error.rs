//! Errors of the control client. Each completes "failed to ..." and says what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use super::SqeDumpError;
use super::hints::hint;
use crate::uapi::{CtrlOp, DevState};

/// Why there is no control client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node is missing and the driver is not loaded.
    #[error("{} does not exist and the driver is not loaded: run `modprobe ublk_drv` (the kernel needs CONFIG_BLK_DEV_UBLK)", path.display())]
    NoDriver {
        /// The control node.
        path: PathBuf,
    },
    /// The driver is loaded and there is no node for it, as in a container without devtmpfs.
    #[error("{} does not exist though the driver is loaded: create it with `mknod {} c 10 {minor}`", path.display(), path.display())]
    NoNode {
        /// The control node.
        path: PathBuf,
        /// Minor number of the misc device.
        minor: u32,
    },
    /// The caller may not open the node.
    #[error("{} may not be opened by this user: run as root, or give the user read and write access to it and use unprivileged devices", path.display())]
    Permission {
        /// The control node.
        path: PathBuf,
    },
    /// Something else is wrong with the node.
    #[error("{} cannot be opened: {source}", path.display())]
    Node {
        /// The control node.
        path: PathBuf,
        /// What open said.
        source: io::Error,
    },
    /// The kernel gives no ring.
    #[error(
        "io_uring with 128-byte entries is not available: {source}; see sysctl kernel.io_uring_disabled and the container's seccomp profile"
    )]
    Ring {
        /// What io_uring_setup said.
        source: io::Error,
    },
    /// The dump that was asked for cannot be written.
    #[error(transparent)]
    Dump(#[from] SqeDumpError),
}

/// Why a control command brought no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CtrlError {
    /// The driver refused.
    #[error("{command}{} failed with {} ({}){}{}", Device(dev_id), ErrnoName(*errno), Errno::from_raw(*errno).desc(), InState(state), Advice(hint))]
    Errno {
        /// The command.
        command: CtrlOp,
        /// The device, if the command is about one.
        dev_id: Option<u32>,
        /// The errno, positive.
        errno: i32,
        /// The device's state right after, where it matters and could be read.
        state: Option<DevState>,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// The driver did not answer in time. The command is still pending in the kernel.
    #[error(
        "{command}{} got no answer within {after:?} and is still pending{}",
        Device(dev_id),
        Advice(hint)
    )]
    Timeout {
        /// The command.
        command: CtrlOp,
        /// The device, if the command is about one.
        dev_id: Option<u32>,
        /// The deadline that passed.
        after: Duration,
        /// What it usually waits for.
        hint: Option<&'static str>,
    },
    /// The ring is at fault, or this client's use of it; the driver may never have seen the command.
    #[error("{command}{} got lost in the ring: {source}", Device(dev_id))]
    Ring {
        /// The command.
        command: CtrlOp,
        /// The device, if the command is about one.
        dev_id: Option<u32>,
        /// What io_uring_enter said.
        source: io::Error,
    },
}

impl CtrlError {
    pub(super) fn from_errno(command: CtrlOp, dev_id: Option<u32>, errno: i32) -> Self {
        Self::Errno { command, dev_id, errno, state: None, hint: hint(command, errno) }
    }

    pub(super) fn timeout(command: CtrlOp, dev_id: Option<u32>, after: Duration) -> Self {
        Self::Timeout { command, dev_id, after, hint: hint(command, libc::ETIME) }
    }

    pub(super) fn ring(command: CtrlOp, dev_id: Option<u32>, source: io::Error) -> Self {
        Self::Ring { command, dev_id, source }
    }

    /// The same error with the state of the device added.
    pub(super) fn with_state(mut self, seen: Option<DevState>) -> Self {
        if let Self::Errno { state, .. } = &mut self {
            *state = seen;
        }
        self
    }

    /// The command that failed.
    #[must_use]
    pub fn command(&self) -> CtrlOp {
        match self {
            Self::Errno { command, .. }
            | Self::Timeout { command, .. }
            | Self::Ring { command, .. } => *command,
        }
    }

    /// The device, if the command is about one.
    #[must_use]
    pub fn dev_id(&self) -> Option<u32> {
        match self {
            Self::Errno { dev_id, .. }
            | Self::Timeout { dev_id, .. }
            | Self::Ring { dev_id, .. } => *dev_id,
        }
    }

    /// The driver's errno, positive; `None` when the driver did not answer.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Errno { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// The device's state right after the failure, where it matters and could be read.
    #[must_use]
    pub fn state(&self) -> Option<DevState> {
        match self {
            Self::Errno { state, .. } => *state,
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Errno { hint, .. } | Self::Timeout { hint, .. } => *hint,
            Self::Ring { .. } => None,
        }
    }

    /// Whether the deadline passed and the command is still pending in the kernel.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }
}

/// " of device 3", or nothing.
struct Device<'a>(&'a Option<u32>);

impl fmt::Display for Device<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            None => Ok(()),
            Some(u32::MAX) => out.write_str(" of a new device"),
            Some(dev_id) => write!(out, " of device {dev_id}"),
        }
    }
}

/// "EBUSY", or "errno 4711" for a number without a name.
struct ErrnoName(i32);

impl fmt::Display for ErrnoName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_raw(self.0) {
            Errno::UnknownErrno => write!(out, "errno {}", self.0),
            known => write!(out, "{known:?} {}", self.0),
        }
    }
}

/// " in state LIVE", or nothing.
struct InState<'a>(&'a Option<DevState>);

impl fmt::Display for InState<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |state| write!(out, " in state {state}"))
    }
}

/// ": do this", or nothing.
struct Advice<'a>(&'a Option<&'static str>);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(out, ": {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_command_device_errno_state_and_remedy() {
        let error = CtrlError::from_errno(CtrlOp::SetParams, Some(3), libc::EACCES)
            .with_state(Some(DevState::Live));
        let text = error.to_string();
        assert!(
            text.starts_with(
                "SET_PARAMS of device 3 failed with EACCES 13 (Permission denied) in state LIVE: "
            ),
            "{text}"
        );
        assert_eq!(error.errno(), Some(13));
        assert_eq!(error.state(), Some(DevState::Live));
    }

    #[test]
    fn a_number_without_a_name_is_still_told() {
        let text = CtrlError::from_errno(CtrlOp::StopDev, Some(0), 4711).to_string();
        assert!(text.contains("errno 4711"), "{text}");
    }

    #[test]
    fn a_timeout_says_that_the_command_lives_on() {
        let error = CtrlError::timeout(CtrlOp::StartDev, Some(1), Duration::from_secs(5));
        let text = error.to_string();
        assert!(
            text.starts_with("START_DEV of device 1 got no answer within 5s and is still pending"),
            "{text}"
        );
        assert!(error.is_timeout());
        assert_eq!(error.errno(), None);
    }

    #[test]
    fn busy_is_an_error() {
        let error = CtrlError::from_errno(CtrlOp::StartDev, Some(1), libc::EBUSY);
        assert_eq!(error.errno(), Some(libc::EBUSY));
    }
}
