//! What all states of a device share: the control client, the open node, and the duty to clean up.

use std::sync::Arc;
use std::time::Duration;

use super::error::{DeviceError, Step};
use super::{CharDevice, DeviceSpec};
use crate::ctrl::{Command, Control, CtrlError, Pending, char_path};
use crate::features::{self, Host, Plan, Wish};
use crate::params::{DeviceNumbers, check_features};
use crate::queue::{KillSwitch, MetadataShape, QueueCounters, QueueTicket, TagSet};
use crate::sys::shared::SharedMemory;
use crate::uapi::{DEV_ID_AUTO, DevInfo, Features, ParamTypes, Params};

/// How long a device's node may take to appear and be accessible.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long STOP_DEV may still take once every queue was ended.
const FORCED_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What a dropped device gives its requests to be answered.
const DROP_STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// What a dropped device gives its deletion.
const DROP_DELETE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long START_DEV may take to notice that its device stops; kernels before 7.3 never do.
const START_ABORT_TIMEOUT: Duration = Duration::from_millis(500);

/// What is left to do when a device is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    Nothing,
    Delete,
    StopAndDelete,
    /// End the queues and close the node; the device stays for the next server.
    Release,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) control: Control,
    pub(super) info: DevInfo,
    char_device: Option<Arc<CharDevice>>,
    pub(super) kill_switch: Arc<KillSwitch>,
    /// START_DEV or END_USER_RECOVERY, submitted and not answered.
    pub(super) start: Option<(Step, Pending)>,
    pub(super) owed: Owed,
    /// START_DEV reads partitions, so a copy of this process submits it.
    start_apart: bool,
    /// What requests may be in, with its index.
    shared: Vec<(u16, SharedMemory)>,
}

/// Groups that older kernels mask off and do not refuse.
const DROPPED_SILENTLY: ParamTypes =
    ParamTypes::DMA_ALIGN.union(ParamTypes::SEGMENT).union(ParamTypes::INTEGRITY);

/// Finds out before ADD_DEV what it would refuse, or make something else of; and what the driver offers at all.
fn plan_features(
    control: &mut Control,
    spec: &DeviceSpec,
) -> Result<(Plan, Features), DeviceError> {
    let mut host = Host::probe(control).map_err(failed(Step::Features))?;
    if spec.features.contains(Features::ZONED) {
        host = host.with_zoned_probe();
    }
    let wish = Wish {
        features: spec.features,
        queue_depth: spec.depth,
        io_desc_size_bytes: spec.io_desc_size_bytes,
        auto_buf_fallback: false,
    };
    Ok((features::plan(&wish, &host)?, host.features))
}

pub(super) fn failed(step: Step) -> impl FnOnce(CtrlError) -> DeviceError {
    move |source| DeviceError::Control { step, source }
}

/// This process, as START_DEV and END_USER_RECOVERY want to know it.
pub(super) fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(i32::MAX)
}

impl Core {
    pub(super) fn add(mut control: Control, spec: &DeviceSpec) -> Result<Self, DeviceError> {
        let (plan, offered) = plan_features(&mut control, spec)?;
        let mut wanted = DevInfo::new(spec.queues, spec.depth, spec.max_io_bytes, plan.flags);
        wanted.dev_id = spec.id.unwrap_or(DEV_ID_AUTO);
        wanted.io_desc_size = plan.io_desc_size_bytes;
        wanted.ublksrv_flags = spec.server_flags;
        // First, for what comes after the device has to be undone.
        let kill_switch = Arc::new(KillSwitch::new().map_err(DeviceError::KillSwitch)?);
        let info = control.add_dev(&wanted).map_err(failed(Step::Add))?;
        let unprivileged = info.flags.contains(Features::UNPRIVILEGED_DEV);
        control.set_unprivileged(unprivileged);
        let mut core = Self::with_info(control, info, kill_switch, Owed::Delete);
        // Drivers that offer to leave the partitions alone are those that do not read them in the command.
        core.start_apart = !offered.contains(Features::NO_AUTO_PART_SCAN);
        // Dropped where it is not what was planned, and so deleted.
        plan.check(info.flags)?;
        if unprivileged {
            // Every command from here on is a matter of access to the node, which udev gives to the
            // device's owner some time after it is there.
            core.open()?;
        }
        Ok(core)
    }

    pub(super) fn with_info(
        control: Control,
        info: DevInfo,
        kill_switch: Arc<KillSwitch>,
        owed: Owed,
    ) -> Self {
        Self {
            control,
            info,
            char_device: None,
            kill_switch,
            start: None,
            owed,
            start_apart: false,
            shared: Vec::new(),
        }
    }

    pub(super) fn set_params(&mut self, params: &Params) -> Result<(), DeviceError> {
        let id = self.info.dev_id;
        check_features(params, self.info.flags)?;
        self.control.set_params(id, params).map_err(failed(Step::SetParams))?;
        if !params.types.intersects(DROPPED_SILENTLY) {
            return Ok(());
        }
        let stored = self.control.get_params(id).map_err(failed(Step::SetParams))?;
        let groups = (params.types & DROPPED_SILENTLY) - stored.types;
        if groups.is_empty() {
            return Ok(());
        }
        let integrity = groups.contains(ParamTypes::INTEGRITY);
        let since = if integrity { "Linux 7.0" } else { "Linux 6.15" };
        Err(DeviceError::ParamsIgnored { groups, since })
    }

    /// Registers memory for requests to be in.
    pub(super) fn share(&mut self, memory: &SharedMemory) -> Result<(), DeviceError> {
        let registered = self.control.reg_shared(self.info.dev_id, memory);
        let index = registered.map_err(failed(Step::Share))?;
        self.know_shared(index, memory);
        Ok(())
    }

    /// Notes memory that the kernel knows by that index.
    pub(super) fn know_shared(&mut self, index: u32, memory: &SharedMemory) {
        // The driver has no larger ones.
        if let Ok(index) = u16::try_from(index) {
            self.shared.push((index, memory.clone()));
        }
    }

    pub(super) fn numbers(&mut self) -> Result<Option<DeviceNumbers>, DeviceError> {
        let params = self.control.get_params(self.info.dev_id).map_err(failed(Step::Numbers))?;
        Ok(DeviceNumbers::from_params(&params))
    }

    /// Asks the kernel again. What it said last stays where it does not answer.
    pub(super) fn refresh_info(&mut self) -> DevInfo {
        if let Ok(info) = self.control.get_dev_info(self.info.dev_id) {
            self.info = info;
        }
        self.info
    }

    pub(super) fn tickets(&mut self) -> Result<Vec<QueueTicket>, DeviceError> {
        let char_device = self.open()?;
        let shared = Arc::new(self.shared.clone());
        let metadata = self.metadata_shape()?;
        let mut tickets = Vec::with_capacity(usize::from(self.info.nr_hw_queues));
        for queue in 0..self.info.nr_hw_queues {
            let affinity = self
                .control
                .get_queue_affinity(self.info.dev_id, queue)
                .map_err(failed(Step::Affinity))?;
            tickets.push(QueueTicket {
                queue,
                depth: self.info.queue_depth,
                tags: TagSet::all(self.info.queue_depth),
                fetches: TagSet::all(self.info.queue_depth),
                common: None,
                rotate: false,
                io_desc_size: self.info.io_desc_stride_bytes(),
                buffer_len_bytes: self.info.max_io_buf_bytes,
                metadata,
                affinity,
                pinned: false,
                char_device: Arc::clone(&char_device),
                counters: Arc::new(QueueCounters::default()),
                features: self.info.flags,
                kill_switch: Arc::clone(&self.kill_switch),
                files: Arc::default(),
                shared: Arc::clone(&shared),
            });
        }
        Ok(tickets)
    }

    /// What the kernel believes its metadata to be, whoever told it.
    fn metadata_shape(&mut self) -> Result<Option<MetadataShape>, DeviceError> {
        if !self.info.flags.contains(Features::INTEGRITY) {
            return Ok(None);
        }
        let params = self.control.get_params(self.info.dev_id).map_err(failed(Step::Inspect))?;
        Ok(MetadataShape::of(&params))
    }

    fn open(&mut self) -> Result<Arc<CharDevice>, DeviceError> {
        if let Some(char_device) = &self.char_device {
            return Ok(Arc::clone(char_device));
        }
        let id = self.info.dev_id;
        let opened = CharDevice::open(id, OPEN_TIMEOUT);
        let opened = opened.map_err(|source| DeviceError::Open {
            path: char_path(id),
            timeout: OPEN_TIMEOUT,
            source,
        })?;
        Ok(Arc::clone(self.char_device.insert(Arc::new(opened))))
    }

    /// Submits START_DEV for this process, which is the one that opened the node.
    pub(super) fn begin_start(&mut self) -> Result<(), DeviceError> {
        let id = self.info.dev_id;
        let started = match self.start_apart {
            true => self.control.start_dev_begin_apart(id, own_pid()),
            false => self.control.start_dev_begin(id, own_pid()),
        };
        self.start = Some((Step::Start, started.map_err(failed(Step::Start))?));
        // It may go live at any moment now.
        self.owed = Owed::StopAndDelete;
        Ok(())
    }

    /// Whether START_DEV or END_USER_RECOVERY has completed.
    pub(super) fn wait_start(&mut self, timeout: Duration) -> Result<bool, DeviceError> {
        let Some((step, start)) = &self.start else { return Ok(true) };
        let step = *step;
        match self.control.wait(start, timeout) {
            Err(CtrlError::Timeout { .. }) => Ok(false),
            answer => {
                self.start = None;
                answer.map_err(failed(step))?;
                // A device that was taken over is its new server's from now on.
                self.owed = Owed::StopAndDelete;
                Ok(true)
            }
        }
    }

    /// Stops the device; after `timeout` by ending its queues. Tells whether that was needed.
    pub(super) fn stop(&mut self, timeout: Duration) -> Result<bool, DeviceError> {
        let id = self.info.dev_id;
        let stop = self.control.submit(Command::StopDev { dev_id: id });
        let stop = stop.map_err(failed(Step::Stop))?;
        let mut forced = false;
        let mut answer = self.control.wait(&stop, timeout);
        if matches!(answer, Err(CtrlError::Timeout { .. })) {
            // The kernel waits for an answer that does not come. It stops waiting when it sees the
            // server gone: no ring and no open node.
            forced = true;
            self.end_queues();
            answer = self.control.wait(&stop, FORCED_STOP_TIMEOUT);
        }
        match answer {
            Ok(_) => {}
            Err(error) if self.is_gone(&error) => {}
            Err(CtrlError::Timeout { .. }) => {
                self.control.abandon(stop);
                // A deletion would wait for the same, with a lock that all other devices need.
                self.owed = Owed::Nothing;
                return Err(DeviceError::Stuck { id, timeout, forced: FORCED_STOP_TIMEOUT });
            }
            Err(error) => return Err(failed(Step::Stop)(error)),
        }
        self.owed = Owed::Delete;
        Ok(forced)
    }

    /// The device is not there any more, so there is nothing to stop or delete. Of an unprivileged device the node,
    /// by whose path it is named, goes first.
    fn is_gone(&self, error: &CtrlError) -> bool {
        match error.errno() {
            Some(libc::ENODEV) => true,
            Some(libc::ENOENT) => self.info.flags.contains(Features::UNPRIVILEGED_DEV),
            _ => false,
        }
    }

    pub(super) fn end_queues(&mut self) {
        self.kill_switch.cut();
        self.char_device = None;
    }

    /// Deletes the device. Its queues must have ended; nobody can be told whether others hold it.
    pub(super) fn delete(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        // A process that waits for the deletion of a device it holds open waits for itself.
        self.char_device = None;
        let deleted = self.control.call(Command::DelDev { dev_id: self.info.dev_id }, timeout);
        match deleted {
            Err(error) if !self.is_gone(&error) => Err(failed(Step::Delete)(error)),
            _ => {
                self.owed = Owed::Nothing;
                Ok(())
            }
        }
    }

    /// Ends a START_DEV that is still waited for: on older kernels it outlives STOP_DEV, and holds the
    /// device. A new client takes over, for closing a ring is what cancels its commands.
    fn abort_start(&mut self) {
        if matches!(self.wait_start(START_ABORT_TIMEOUT), Ok(false)) {
            self.start = None;
            if let Ok(mut control) = Control::open() {
                control.set_unprivileged(self.info.flags.contains(Features::UNPRIVILEGED_DEV));
                self.control = control;
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let owed = std::mem::replace(&mut self.owed, Owed::Nothing);
        if owed == Owed::Nothing {
            return;
        }
        if owed == Owed::Release {
            // A pending END_USER_RECOVERY ends with the ring it was sent by.
            self.end_queues();
            return;
        }
        // Nobody is there to hear of an error; each step is tried whatever became of the one before.
        if owed == Owed::StopAndDelete {
            if self.start.is_some() {
                // Nothing was served yet, so nothing is lost.
                self.end_queues();
            }
            let _ = self.stop(DROP_STOP_TIMEOUT);
            self.abort_start();
        }
        self.end_queues();
        let _ = self.delete(DROP_DELETE_TIMEOUT);
        self.owed = Owed::Nothing;
    }
}
