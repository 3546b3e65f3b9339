//! What can go wrong in a device's life, and at which step.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::ctrl::CtrlError;
use crate::features::FeatureError;
use crate::params::ParamsError;
use crate::uapi::DevState;
use crate::uapi::ParamTypes;

/// A step of a device's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// GET_FEATURES.
    Features,
    /// ADD_DEV.
    Add,
    /// SET_PARAMS.
    SetParams,
    /// REG_BUF.
    Share,
    /// Asking for device numbers.
    Numbers,
    /// Asking which CPUs belong to a queue.
    Affinity,
    /// START_DEV.
    Start,
    /// STOP_DEV.
    Stop,
    /// DEL_DEV.
    Delete,
    /// GET_DEV_INFO and GET_PARAMS of a device that is there already.
    Inspect,
    /// START_USER_RECOVERY.
    TakeOver,
    /// END_USER_RECOVERY.
    Recover,
    /// QUIESCE_DEV.
    Quiesce,
    /// UPDATE_SIZE.
    Resize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Features => "learn what the driver offers",
            Self::Add => "add the device",
            Self::SetParams => "set the parameters",
            Self::Share => "register the shared memory",
            Self::Numbers => "learn the device's numbers",
            Self::Affinity => "learn the queues' CPUs",
            Self::Start => "start the device",
            Self::Stop => "stop the device",
            Self::Delete => "delete the device",
            Self::Inspect => "learn what the device is",
            Self::TakeOver => "take the device over",
            Self::Recover => "make the device live again",
            Self::Quiesce => "quiesce the device",
            Self::Resize => "resize the device",
        })
    }
}

/// Why a step failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The kernel refused, or did not answer in time.
    #[error("cannot {step}: {source}")]
    Control {
        /// What was being done.
        step: Step,
        /// What the control command said.
        source: CtrlError,
    },
    /// The features do not go together, or not with this kernel.
    #[error("cannot add the device: {0}")]
    Features(#[from] FeatureError),
    /// The parameters do not fit the device.
    #[error("cannot set the parameters: {0}")]
    Params(#[from] ParamsError),
    /// The kernel is older than groups of the parameters, and dropped them without a word.
    #[error("this kernel does not know the parameters {groups}: do without, or use {since}")]
    ParamsIgnored {
        /// The groups.
        groups: ParamTypes,
        /// Since when there are all of them.
        since: &'static str,
    },
    /// The node of the character device could not be opened.
    #[error("cannot open {path:?} within {timeout:?}: {source}")]
    Open {
        /// The node.
        path: PathBuf,
        /// How long it was tried.
        timeout: Duration,
        /// What open(2) said last.
        source: io::Error,
    },
    /// The switch that ends queues could not be made.
    #[error("cannot make the kill switch: {0}")]
    KillSwitch(#[source] io::Error),
    /// Requests are with the server that it does not answer, and ending its queues did not help.
    #[error(
        "device {id} did not stop within {timeout:?}, nor {forced:?} after its queues were ended; \
         end this process and delete it then"
    )]
    Stuck {
        /// The device.
        id: u32,
        /// How long it was given to stop by itself.
        timeout: Duration,
        /// How long by force.
        forced: Duration,
    },
    /// The device was added without recovery, so no second server can have it.
    #[error(
        "device {id} was added without recovery: stop or delete it, no other server can take it over"
    )]
    NotRecoverable {
        /// The device.
        id: u32,
    },
    /// The device has no disk any more, so there is nothing to take over.
    #[error("device {id} was stopped, there is nothing to recover: delete it and add a new one")]
    NoDisk {
        /// The device.
        id: u32,
    },
    /// The server that has the device did not go away.
    #[error(
        "device {id} still has a server{} after {timeout:?} (state {state}): end that one, or quiesce the device",
        ServedBy(pid)
    )]
    Served {
        /// The device.
        id: u32,
        /// The process that serves it, where the kernel tells.
        pid: Option<i32>,
        /// Its state.
        state: DevState,
        /// How long was waited.
        timeout: Duration,
    },
}

impl DeviceError {
    /// The errno of the control command that failed, positive.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Control { source, .. } => source.errno(),
            _ => None,
        }
    }
}

/// ", process 12,", or nothing.
struct ServedBy<'a>(&'a Option<i32>);

impl fmt::Display for ServedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(f, ", process {pid},"))
    }
}
