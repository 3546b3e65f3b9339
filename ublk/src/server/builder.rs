//! How a server is started: what may be chosen, in which order things happen, what can go wrong.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::live::Server;
use super::shared::{QueueFailure, Shared, Startup, StopHandle};
use super::socket::{StatusSocket, socket_path};
use super::workers::Workers;
use super::{DeviceStatus, ParamsStatus, Status};
use crate::ctrl::{Control, OpenError};
use crate::device::{Configured, Device, DeviceError, DeviceSpec, Live, StartProgress, Starting};
use crate::params::{MAX_IO_BYTES_DEFAULT, ParamsBuilder, ParamsError};
use crate::queue::QueueTicket;
use crate::target::{Target, ZonedTarget};
use crate::uapi::Features;

/// How long the start waits for the kernel at a time before it looks at its queues again. Only while
/// starting; a live server has no timer.
const START_SLICE: Duration = Duration::from_millis(20);
/// How long threads may take to end after a start failed.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// In which order tags are fetched and START_DEV is submitted. The kernel takes all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartupOrder {
    /// Fetch every tag, then start.
    #[default]
    FetchThenStart,
    /// Submit the start, then fetch; it completes with the last tag.
    StartThenFetch,
    /// Submit the start while the queues' threads fetch.
    Concurrent,
}

/// Why a server did not start. Nothing of it is left.
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
    /// A queue failed.
    #[error(transparent)]
    Queue(QueueFailure),
    /// The time was over.
    #[error(
        "the device did not start within {timeout:?}; {missing} of {queues} queues had not fetched"
    )]
    TimedOut {
        /// What it was given.
        timeout: Duration,
        /// Queues that had not fetched all their tags.
        missing: usize,
        /// Queues in all.
        queues: usize,
    },
    /// A [`StopHandle`] was used meanwhile.
    #[error("the start was interrupted")]
    Interrupted,
    /// Somebody stopped or deleted the device meanwhile.
    #[error("the device was stopped by someone else while it started")]
    StoppedMeanwhile,
}

/// Chooses how a target is served. Defaults: a free id, 1 queue, depth 64, requests of 512 KiB.
pub struct ServerBuilder {
    target: Arc<dyn Target>,
    target_name: String,
    spec: DeviceSpec,
    logical_block_bytes: Option<u32>,
    read_only: bool,
    order: StartupOrder,
    start_timeout: Duration,
    socket: Option<Option<PathBuf>>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("target_name", &self.target_name)
            .field("spec", &self.spec)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl ServerBuilder {
    pub(super) fn new(target: Arc<dyn Target>) -> Self {
        Self {
            target,
            target_name: "custom".into(),
            spec: DeviceSpec { max_io_bytes: MAX_IO_BYTES_DEFAULT, ..DeviceSpec::default() },
            logical_block_bytes: None,
            read_only: false,
            order: StartupOrder::default(),
            start_timeout: Duration::from_secs(30),
            socket: None,
            shared: Arc::default(),
        }
    }

    /// What to call the target in the status.
    #[must_use]
    pub fn target_name(mut self, name: impl Into<String>) -> Self {
        self.target_name = name.into();
        self
    }

    /// This device number and no other.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.spec.id = Some(id);
        self
    }

    /// Queues. The kernel gives no more than there are CPUs.
    #[must_use]
    pub fn queues(mut self, queues: u16) -> Self {
        self.spec.queues = queues;
        self
    }

    /// Tags per queue, 1 to 4096.
    #[must_use]
    pub fn depth(mut self, depth: u16) -> Self {
        self.spec.depth = depth;
        self
    }

    /// Largest request in bytes; each tag has a buffer of that size.
    #[must_use]
    pub fn max_io_bytes(mut self, bytes: u32) -> Self {
        self.spec.max_io_bytes = bytes;
        self
    }

    /// Features to ask for beyond what the kernel sets by itself. The data plane is in copy mode: what
    /// changes how data moves (USER_COPY, SUPPORT_ZERO_COPY, AUTO_BUF_REG, BATCH_IO, NEED_GET_DATA)
    /// is not served by [`Queue`](crate::queue::Queue).
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.spec.features = features;
        self
    }

    /// Logical block in bytes; the smallest the target serves unless given.
    #[must_use]
    pub fn logical_block_bytes(mut self, bytes: u32) -> Self {
        self.logical_block_bytes = Some(bytes);
        self
    }

    /// Refuse writes although the target would take them.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// In which order to fetch and start.
    #[must_use]
    pub fn startup_order(mut self, order: StartupOrder) -> Self {
        self.order = order;
        self
    }

    /// How long the start may take; 30 seconds unless given.
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Where to answer questions; [`socket_path`] unless given.
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(Some(path.into()));
        self
    }

    /// Answer no questions.
    #[must_use]
    pub fn no_socket(mut self) -> Self {
        self.socket = Some(None);
        self
    }

    /// A handle that stops the server, or a start that is under way.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.shared))
    }

    /// Adds the device, serves it and starts it.
    ///
    /// # Errors
    /// [`StartError`]; the device is gone and its threads have ended, unless the error says otherwise.
    pub fn start(self) -> Result<Server, StartError> {
        let zoned = self.target.zoned().map(ZonedTarget::geometry);
        let mut spec = self.spec;
        if zoned.is_some() {
            // The driver wants a mode in which it copies nothing itself, because an append's commit has
            // no room for a buffer; and a report has to be written by the server, which zero copy cannot.
            spec.features |= Features::ZONED | Features::USER_COPY;
        }
        let mut params = ParamsBuilder::new(self.target.size_bytes(), self.target.capabilities())
            .zoned(zoned)
            .max_io_bytes(spec.max_io_bytes)
            .read_only(self.read_only);
        if let Some(bytes) = self.logical_block_bytes {
            params = params.logical_block_bytes(bytes);
        }
        let params = params.build()?;
        let device = Device::add(Control::open()?, &spec)?;
        let mut device = device.set_params(&params)?;
        let tickets = device.open_queues()?;
        let counters: Vec<_> = tickets.iter().map(QueueTicket::counters).collect();
        let queues = tickets.len();
        let startup = Attempt {
            shared: &self.shared,
            target: &self.target,
            deadline: Instant::now() + self.start_timeout,
            timeout: self.start_timeout,
            queues,
        };
        let (mut device, workers) = startup.run(device, tickets, self.order)?;
        // A second look, for the state and the pid that the start has set.
        let info = device.refresh_info();
        let status = {
            let (target, counters) = (self.target_name, counters.clone());
            let (info, params) = (DeviceStatus::from(&info), ParamsStatus::from(&params));
            move || Status {
                pid: std::process::id(),
                target: target.clone(),
                info: info.clone(),
                params: params.clone(),
                counters: counters.iter().map(|queue| queue.snapshot()).collect(),
            }
        };
        let socket = match self.socket {
            Some(None) => None,
            Some(Some(path)) => Some(path),
            None => Some(socket_path(info.dev_id)),
        };
        let window = status.clone();
        let socket = socket.map(|path| StatusSocket::listen(&path, window));
        Ok(Server::new(device, workers, self.shared, params, counters, Box::new(status), socket))
    }
}

/// A start that is under way.
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    target: &'a Arc<dyn Target>,
    deadline: Instant,
    timeout: Duration,
    queues: usize,
}

/// A start that failed, with the device where it is still there: it is dropped after its queues.
struct Aborted {
    starting: Option<Box<Device<Starting>>>,
    error: StartError,
}

impl Attempt<'_> {
    fn run(
        &self,
        device: Device<Configured>,
        tickets: Vec<QueueTicket>,
        order: StartupOrder,
    ) -> Result<(Device<Live>, Workers), StartError> {
        let spawn = |tickets| Workers::spawn(tickets, self.target, self.shared);
        let kill_switch = device.kill_switch();
        // Whatever fails from here on: queues first, for the device cannot go while they hold it.
        let abort = |workers: Workers, error: StartError| {
            kill_switch.cut();
            let _ = workers.join(ABORT_TIMEOUT);
            Err(error)
        };
        let (starting, workers) = match order {
            StartupOrder::StartThenFetch => {
                let starting = device.begin_start()?;
                (starting, spawn(tickets))
            }
            StartupOrder::Concurrent => {
                let workers = spawn(tickets);
                match device.begin_start() {
                    Ok(starting) => (starting, workers),
                    Err(error) => return abort(workers, error.into()),
                }
            }
            StartupOrder::FetchThenStart => {
                let workers = spawn(tickets);
                let armed = self.shared.wait_startup(self.left());
                match self.check(armed) {
                    Ok(()) => {}
                    Err(error) => {
                        let aborted = abort(workers, error);
                        drop(device);
                        return aborted;
                    }
                }
                match device.begin_start() {
                    Ok(starting) => (starting, workers),
                    Err(error) => return abort(workers, error.into()),
                }
            }
        };
        match self.finish(starting) {
            Ok(live) => Ok((live, workers)),
            Err(Aborted { starting, error }) => {
                let aborted = abort(workers, error);
                drop(starting);
                aborted
            }
        }
    }

    /// Waits for START_DEV, with an eye on the queues: one that fails would keep it waiting for ever.
    fn finish(&self, mut starting: Device<Starting>) -> Result<Device<Live>, Aborted> {
        loop {
            starting = match starting.wait(START_SLICE.min(self.left())) {
                Ok(StartProgress::Live(live)) => return Ok(live),
                Ok(StartProgress::Pending(starting)) => starting,
                Err(error) => {
                    // A queue's failure is the cause, the kernel's refusal then its consequence.
                    let trouble = self.shared.startup_trouble();
                    let error = self.check(trouble).err().unwrap_or(error.into());
                    return Err(Aborted { starting: None, error });
                }
            };
            if let Some(trouble) = self.shared.startup_trouble()
                && let Err(error) = self.check(Some(trouble))
            {
                return Err(Aborted { starting: Some(Box::new(starting)), error });
            }
            if self.left().is_zero() {
                let starting = Some(Box::new(starting));
                return Err(Aborted { starting, error: self.timed_out() });
            }
        }
    }

    fn check(&self, startup: Option<Startup>) -> Result<(), StartError> {
        match startup {
            Some(Startup::AllArmed) => Ok(()),
            Some(Startup::Failed(failure)) => Err(StartError::Queue(failure)),
            Some(Startup::StopRequested) => Err(StartError::Interrupted),
            Some(Startup::Ended) => Err(StartError::StoppedMeanwhile),
            None => Err(self.timed_out()),
        }
    }

    fn timed_out(&self) -> StartError {
        let missing = self.shared.not_armed();
        StartError::TimedOut { timeout: self.timeout, missing, queues: self.queues }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
