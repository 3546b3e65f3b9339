//! What can go wrong in a device's life, and at which step.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::ctrl::CtrlError;
use crate::features::FeatureError;
use crate::params::ParamsError;
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
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Features => "learn what the driver offers",
            Self::Add => "add the device",
            Self::SetParams => "set the parameters",
            Self::Numbers => "learn the device's numbers",
            Self::Affinity => "learn the queues' CPUs",
            Self::Start => "start the device",
            Self::Stop => "stop the device",
            Self::Delete => "delete the device",
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
}
