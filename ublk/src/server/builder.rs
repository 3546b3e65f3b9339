//! How a server is started: what may be chosen, and in which order things happen.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::affinity::Affinity;
use super::attempt::StartupOrder;
use super::door::Door;
use super::launch::Unstarted;
use super::live::Server;
use super::mode::DataMode;
use super::shared::{Shared, StopHandle};
use super::start_error::StartError;
use super::takeover::{Takeover, check_metadata};
use crate::ctrl::Control;
use crate::device::{Device, DeviceError, DeviceSpec, Recovery, SharedMemory, Step};
use crate::params::{MAX_IO_BYTES_DEFAULT, ParamsBuilder};
use crate::target::{Target, ZonedTarget};
use crate::uapi::Features;

/// Chooses how a target is served. Defaults: a free id, 1 queue, depth 64, requests of 512 KiB.
pub struct ServerBuilder {
    pub(super) door: Arc<dyn Door>,
    pub(super) target_name: String,
    spec: DeviceSpec,
    params: ParamsBuilder,
    recovery: Recovery,
    unprivileged: bool,
    mode: DataMode,
    batch: bool,
    pub(super) threads: Option<usize>,
    pub(super) share_queues: bool,
    pub(super) affinity: Affinity,
    pub(super) order: StartupOrder,
    pub(super) start_timeout: Duration,
    pub(super) latency: bool,
    pub(super) rotate: bool,
    memories: Vec<SharedMemory>,
    pub(super) socket: Option<Option<PathBuf>>,
    pub(super) shared: Arc<Shared>,
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
    pub(super) fn new(door: Arc<dyn Door>) -> Self {
        let target = door.target();
        let params = ParamsBuilder::new(target.size_bytes(), target.capabilities())
            .zoned(target.zoned().map(ZonedTarget::geometry));
        let params = match target.integrity() {
            Some(integrity) => params.integrity(integrity.options()),
            None => params,
        };
        Self {
            door,
            target_name: "custom".into(),
            spec: DeviceSpec { max_io_bytes: MAX_IO_BYTES_DEFAULT, ..DeviceSpec::default() },
            params,
            recovery: Recovery::None,
            unprivileged: false,
            mode: DataMode::Copy,
            batch: false,
            threads: None,
            share_queues: false,
            affinity: Affinity::default(),
            order: StartupOrder::default(),
            start_timeout: Duration::from_secs(30),
            latency: false,
            rotate: false,
            memories: Vec::new(),
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

    /// How bytes move; [`DataMode::Copy`] unless given.
    #[must_use]
    pub fn data_mode(mut self, mode: DataMode) -> Self {
        self.mode = mode;
        self
    }

    /// Registers memory that clients share with this server: requests whose pages are all in it are served from
    /// there without a copy (by a target that wants bytes, with one), all others in the device's data mode. Not with
    /// [`DataMode::GetData`]. May be given several times. Available since Linux 7.1.
    ///
    /// ```no_run
    /// # use ublk::{server::{Server, SharedMemory}, target::NullTarget};
    /// let file = std::fs::File::options().read(true).write(true).open("/dev/shm/requests")?;
    /// let memory = SharedMemory::from_file(&file, 4 << 20)?;
    /// let server = Server::builder(NullTarget::new(1 << 30)).shared_memory(memory).start()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn shared_memory(mut self, memory: SharedMemory) -> Self {
        self.memories.push(memory);
        self
    }

    /// Commands for many tags at once, in any data mode but [`DataMode::GetData`]. Needs 2 tags at least.
    /// Available since Linux 7.0.
    #[must_use]
    pub fn batch(mut self, batch: bool) -> Self {
        self.batch = batch;
        self
    }

    /// Registers each request's pages at another index than the one before it:
    /// [`QueueTicket::rotating`]. A test of the driver.
    #[must_use]
    pub fn rotate_indices(mut self, rotate: bool) -> Self {
        self.rotate = rotate;
        self
    }

    /// Threads; one for each queue unless given. Fewer serve several queues each; more share the tags of
    /// a queue, where the device lets them (since Linux 6.16; with `batch` not in the automatic zero-copy modes).
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Gives each thread a share of every queue, so that all of them serve whatever queue is busy. Needs a
    /// device that lets threads share a queue, as [`threads`](Self::threads).
    #[must_use]
    pub fn share_queues(mut self, share: bool) -> Self {
        self.share_queues = share;
        self
    }

    /// Where the threads run; [`Affinity::Queues`] unless given.
    ///
    /// ```
    /// # use ublk::{server::{Affinity, Server}, target::NullTarget};
    /// let server = Server::builder(NullTarget::new(1 << 30)).affinity(Affinity::Cpus(vec![0, 1]));
    /// ```
    #[must_use]
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = affinity;
        self
    }

    /// Features to ask for beyond what other choices stand for and the kernel sets by itself.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.spec.features = features;
        self
    }

    /// Bytes per descriptor where other than 24: a multiple of 8 up to 256. Available since Linux 7.3.
    #[must_use]
    pub fn io_desc_size_bytes(mut self, bytes: u16) -> Self {
        self.spec.io_desc_size_bytes = Some(bytes);
        self
    }

    /// A word of the server's own that the kernel keeps with the device, for whoever takes it over.
    #[must_use]
    pub fn server_flags(mut self, flags: u64) -> Self {
        self.spec.server_flags = flags;
        self
    }

    /// Logical block in bytes; the smallest the target serves unless given.
    #[must_use]
    pub fn logical_block_bytes(mut self, bytes: u32) -> Self {
        self.params = self.params.logical_block_bytes(bytes);
        self
    }

    /// Refuse writes although the target would take them.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.params = self.params.read_only(read_only);
        self
    }

    /// Everything else that can be chosen about the disk: units, limits, metadata.
    ///
    /// ```
    /// # let server = ublk::server::Server::builder(ublk::target::NullTarget::new(1 << 30));
    /// let server = server.params(|params| params.chunk_bytes(64 << 10).rotational(true));
    /// ```
    #[must_use]
    pub fn params(mut self, choose: impl FnOnce(ParamsBuilder) -> ParamsBuilder) -> Self {
        self.params = choose(self.params);
        self
    }

    /// What becomes of the device when this server goes away. A device with a recovery can also be quiesced where the
    /// kernel offers it.
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// A device for a caller without CAP_SYS_ADMIN, who needs access to `/dev/ublk-control` and is given the
    /// device's nodes by udev. It can be opened by its owner only, has no recovery, and a server that does not
    /// answer a request within the block layer's timeout is killed by the kernel. Available since Linux 6.3.
    #[must_use]
    pub fn unprivileged(mut self, unprivileged: bool) -> Self {
        self.unprivileged = unprivileged;
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

    /// Measure how long requests take, from their arrival until their answers leave. Off unless asked
    /// for, because it costs two looks at the clock for each batch of requests.
    #[must_use]
    pub fn latency(mut self, measure: bool) -> Self {
        self.latency = measure;
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

    /// Takes over a device that another server has left, instead of adding one. Of what was chosen here only the
    /// target, its name, the shared memory (which must be the old server's), the socket, the order and the time for
    /// the start count; the rest is the device's own.
    pub fn recover(self, id: u32) -> Takeover {
        Takeover::new(self, id)
    }

    pub(super) fn memories(&self) -> &[SharedMemory] {
        &self.memories
    }

    pub(super) fn target(&self) -> &dyn Target {
        self.door.target()
    }

    /// A handle that stops the server, or a start that is under way.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.shared))
    }

    /// Adds the device, serves it and starts it. Before Linux 7.0 a copy of this process, made as fork makes it, lives as long
    /// as START_DEV takes: [`Control::start_dev_begin_apart`](crate::ctrl::Control::start_dev_begin_apart) says why.
    ///
    /// # Errors
    /// [`StartError`]; the device is gone and its threads have ended, unless the error says otherwise.
    pub fn start(mut self) -> Result<Server, StartError> {
        let params = self.params.clone().max_io_bytes(self.spec.max_io_bytes).build()?;
        check_metadata(&params, self.target())?;
        let mut control = Control::open()?;
        self.settle_features(&mut control)?;
        let device = Device::add(control, &self.spec)?;
        let mut device = device.set_params(&params)?;
        for memory in &self.memories {
            device.share(memory)?;
        }
        self.launch(Unstarted::New(device), params)
    }

    /// Adds the flags that the recovery, the data mode and the privilege stand for. The device checks all of them.
    fn settle_features(&mut self, control: &mut Control) -> Result<(), DeviceError> {
        self.spec.features |= self.recovery.features();
        let target = self.door.target();
        self.spec.features |= self.mode.features(&target.capabilities());
        if target.zoned().is_some() {
            // The driver wants a mode in which it copies nothing itself, because an append's commit has
            // no room for a buffer; and a report has to be written by the server, which zero copy cannot.
            self.spec.features |= Features::ZONED | Features::USER_COPY;
        }
        if !self.memories.is_empty() {
            self.spec.features |= Features::SHMEM_ZC;
        }
        if target.integrity().is_some() {
            // Metadata has no other way than the one through the character device.
            self.spec.features |= Features::INTEGRITY | Features::USER_COPY;
        }
        if self.batch {
            self.spec.features |= Features::BATCH_IO;
        }
        if self.unprivileged {
            self.spec.features |= Features::UNPRIVILEGED_DEV;
        }
        if self.recovery != Recovery::None {
            let failed = |source| DeviceError::Control { step: Step::Features, source };
            let offered = control.get_features().map_err(failed)?;
            self.spec.features |= offered & Features::QUIESCE;
        }
        Ok(())
    }
}
