//! What can go wrong before a server is live. In all cases it has cleaned up after itself, so that a caller may try
//! again with something else.

use std::time::Duration;

use thiserror::Error;

use super::shared::QueueFailure;
use super::takeover::TargetMismatch;
use crate::ctrl::OpenError;
use crate::device::DeviceError;
use crate::params::ParamsError;

/// Why a server did not start. Nothing of it is left; a device that it was to take over is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no driver, or no permission to use it.
    #[error(transparent)]
    Driver(#[from] OpenError),
    /// The parameters would be refused.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A step of the device's life failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device that was to be taken over had another target; or the parameters promise metadata that the target
    /// does not keep.
    #[error(transparent)]
    Mismatch(#[from] TargetMismatch),
    /// A queue failed.
    #[error(transparent)]
    Queue(QueueFailure),
    /// The time was over.
    #[error(
        "the device did not start within {timeout:?}; {missing} of {threads} threads had not fetched"
    )]
    TimedOut {
        /// What it was given.
        timeout: Duration,
        /// Threads that had not fetched all their tags.
        missing: usize,
        /// Threads in all.
        threads: usize,
    },
    /// A [`StopHandle`](super::StopHandle) was used meanwhile.
    #[error("the start was interrupted")]
    Interrupted,
    /// Somebody stopped or deleted the device meanwhile.
    #[error("the device was stopped by someone else while it started")]
    StoppedMeanwhile,
}
