//! A server that serves, and how it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::builder::ServerBuilder;
use super::door::{AsyncDoor, SyncDoor};
use super::requests::{self, Request, request_path};
use super::resize::{ResizeError, Resizer};
use super::shared::{QueueFailure, Shared, StopHandle, Wake};
use super::socket::StatusSocket;
use super::status::Status;
use super::workers::Workers;
use crate::ctrl::Control;
use crate::device::{Device, DeviceError, Live};
use crate::queue::{CounterSnapshot, QueueCounters};
use crate::target::{AsyncTarget, Target};
use crate::uapi::{DevInfo, DevState, Params};

/// How long threads may take to end once their device has stopped: a target's last method to return.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the deletion of a stopped device may take; others may still hold the disk open.
const DELETE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a server that is dropped gives its device to stop by itself.
const DROP_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server did not stop cleanly.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StopError {
    /// The device could not be stopped or deleted.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A method of the target does not return.
    #[error(
        "the target does not return on queues {queues:?}; end this process, then delete the device"
    )]
    QueuesStuck {
        /// The queues.
        queues: Vec<u16>,
    },
}

/// How a stop went.
#[derive(Debug)]
#[non_exhaustive]
pub struct StopReport {
    /// The final counters, per queue.
    pub counters: Vec<CounterSnapshot>,
    /// Whether requests had to be given up because the device did not stop in time.
    pub forced: bool,
    /// Queues that had failed before the stop.
    pub failures: Vec<QueueFailure>,
    /// How long it took.
    pub elapsed: Duration,
}

impl StopReport {
    /// The counters of all queues together.
    pub fn total(&self) -> CounterSnapshot {
        CounterSnapshot::total(&self.counters)
    }
}

/// A device that is served by this process.
///
/// Dropping it stops and deletes the device as [`stop`](Self::stop) does, without a report.
pub struct Server {
    /// None after the stop has begun.
    pub(super) parts: Option<(Device<Live>, Workers)>,
    pub(super) shared: Arc<Shared>,
    info: DevInfo,
    resizer: Arc<Resizer>,
    counters: Vec<Arc<QueueCounters>>,
    status: Box<dyn Fn() -> Status + Send + Sync>,
    pub(super) sockets: Option<Sockets>,
}

/// The window, and the door beside it. Where the window could not be opened there is no door.
pub(super) struct Sockets {
    window: io::Result<StatusSocket>,
    _door: Option<StatusSocket>,
}

impl Sockets {
    pub(super) fn open(
        path: &Path,
        status: impl Fn() -> Status + Send + 'static,
        resizer: &Arc<Resizer>,
    ) -> Self {
        let window = StatusSocket::listen(path, status);
        let resizer = Arc::clone(resizer);
        let act = move |request| match request {
            Request::Resize { size_bytes } => {
                resizer.resize(size_bytes).map_err(|error| error.to_string())
            }
        };
        let attend = move |stream| drop(requests::answer(stream, &act));
        let open = |_| StatusSocket::serve(&request_path(path), "ublk-requests", attend).ok();
        let door = window.as_ref().ok().and_then(open);
        Self { window, _door: door }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Server {
    /// Begins to describe a server of this target.
    pub fn builder(target: impl Target + 'static) -> ServerBuilder {
        ServerBuilder::new(Arc::new(SyncDoor(target)))
    }

    /// Begins to describe a server of this async target.
    pub fn builder_async(target: impl AsyncTarget + 'static) -> ServerBuilder {
        ServerBuilder::new(Arc::new(AsyncDoor(target)))
    }

    pub(super) fn new(
        device: Device<Live>,
        workers: Workers,
        shared: Arc<Shared>,
        resizer: Arc<Resizer>,
        counters: Vec<Arc<QueueCounters>>,
        status: Box<dyn Fn() -> Status + Send + Sync>,
        sockets: Option<Sockets>,
    ) -> Self {
        let info = *device.info();
        Self { parts: Some((device, workers)), shared, info, resizer, counters, status, sockets }
    }

    /// The device as the kernel accepted it.
    pub fn info(&self) -> &DevInfo {
        &self.info
    }

    /// The parameters it was started with, and the size of now.
    pub fn params(&self) -> Params {
        self.resizer.params()
    }

    /// Makes the disk as large as that, if the target agrees: [`Target::resize`]. Available since Linux 6.16.
    ///
    /// # Errors
    /// [`ResizeError`]; the disk has its old size then.
    pub fn resize(&self, size_bytes: u64) -> Result<(), ResizeError> {
        self.resizer.resize(size_bytes)
    }

    /// The counters, per queue.
    pub fn counters(&self) -> Vec<CounterSnapshot> {
        self.counters.iter().map(|queue| queue.snapshot()).collect()
    }

    /// Everything, as the socket answers it.
    pub fn status(&self) -> Status {
        (self.status)()
    }

    /// The disk.
    pub fn block_device_path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/ublkb{}", self.info.dev_id))
    }

    /// The node this server speaks to.
    pub fn char_device_path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/ublkc{}", self.info.dev_id))
    }

    /// Where it answers questions.
    ///
    /// # Errors
    /// Why it does not, though asked to. The device is served all the same.
    pub fn socket_path(&self) -> Result<Option<&Path>, &io::Error> {
        match self.sockets.as_ref().map(|sockets| &sockets.window) {
            None => Ok(None),
            Some(Ok(socket)) => Ok(Some(socket.path())),
            Some(Err(error)) => Err(error),
        }
    }

    /// A handle that ends [`wait`](Self::wait) from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.shared))
    }

    /// Waits until there is a reason to stop; none when the timeout is over first.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Wake> {
        match self.shared.wait_wake(timeout)? {
            Wake::DeviceStopped if self.has_disk() => Some(Wake::DeviceQuiesced),
            wake => Some(wake),
        }
    }

    /// Whether the disk is still there: what tells a quiesced device from a stopped one.
    fn has_disk(&self) -> bool {
        let info =
            Control::open().ok().and_then(|mut control| control.address(self.info.dev_id).ok());
        info.is_some_and(|info| info.state() != DevState::Dead)
    }

    /// Stops and deletes the device and ends the threads.
    ///
    /// Requests in flight are answered first. If that takes longer than `timeout`, the queues are ended,
    /// which fails those requests. All in all it takes some 20 seconds more than `timeout` at worst.
    ///
    /// # Errors
    /// [`StopError`], when even that did not help; what is left goes with the process.
    pub fn stop(mut self, timeout: Duration) -> Result<StopReport, StopError> {
        self.stop_parts(timeout)
    }

    fn stop_parts(&mut self, timeout: Duration) -> Result<StopReport, StopError> {
        let started = Instant::now();
        // Nobody shall find a server that is about to go.
        self.sockets = None;
        let mut forced = false;
        if let Some((device, workers)) = self.parts.take() {
            let stopped = device.stop(timeout)?;
            forced = stopped.was_forced();
            if let Err(queues) = workers.join(JOIN_TIMEOUT) {
                // The device cannot be deleted while a ring of ours holds it: it waits for this process.
                stopped.detach();
                return Err(StopError::QueuesStuck { queues });
            }
            stopped.delete(DELETE_TIMEOUT)?;
        }
        let failures = self.shared.take_failures();
        // A queue that was ended by force did not fail by itself.
        let failures = failures.into_iter().filter(|failure| !(forced && failure.is_kill()));
        Ok(StopReport {
            counters: self.counters(),
            forced,
            failures: failures.collect(),
            elapsed: started.elapsed(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.parts.is_some() {
            let _ = self.stop_parts(DROP_STOP_TIMEOUT);
        }
    }
}
