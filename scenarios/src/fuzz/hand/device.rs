//! The hand's own device: made by right commands, and served as far as a case wants it served.

use std::time::{Duration, Instant};

use ublk::ctrl::Control;
use ublk::raw::{
    Addr, Arena, CharFile, Completion, DescArea, IoPayload, RawRing, RawSqe, RingShape, SqeAddr,
};
use ublk::uapi::{
    AutoBufReg, DEV_ID_AUTO, DevInfo, Features, IO_RES_NEED_GET_DATA, IO_RES_OK, IoCmdOp, Params,
};

use super::super::act::Stage;
use super::Problem;
use crate::rig::plain_params;

/// Requests from here on are a client's; what is below is the kernel's own doing.
pub(in super::super) const CLIENT_SECTOR: u64 = 4096;
/// Bytes of each tag's buffer, and the largest request.
const BUFFER_BYTES: usize = 16 << 10;
/// Size of the device.
const DEVICE_SECTORS: u64 = 16 << 10;
/// Most queues and tags, and so the length of the memory.
const QUEUES_MAX: u16 = 2;
const DEPTH_MAX: u16 = 4;
/// Memory of payloads, before the tags' buffers.
pub(super) const PAYLOADS_BYTES: usize = 64 * 4096;

/// The device.
pub(super) struct Own {
    // Dropped first: its commands hold the file.
    ring: RawRing,
    areas: Vec<DescArea>,
    pub(super) file: Option<CharFile>,
    control: Control,
    pub(super) arena: Arena,
    pub(super) id: u32,
    pub(super) info: DevInfo,
    /// Requests of clients, by queue and tag, until they are to be answered.
    kept: Vec<(u16, u16)>,
}

impl Own {
    /// Makes a device and brings it as far as `stage`.
    pub(super) fn make(
        features: u64,
        queues: u8,
        depth: u8,
        stage: Stage,
        patience: Duration,
    ) -> Result<Self, Problem> {
        let mut control = Control::open()?.with_deadline(patience);
        let offered = control.get_features()?;
        let unscanned = offered & Features::NO_AUTO_PART_SCAN;
        let wanted = Features::from_bits(features) | unscanned;
        let queues = u16::from(queues).clamp(1, QUEUES_MAX);
        let depth = u16::from(depth).clamp(1, DEPTH_MAX);
        let mut info = DevInfo::new(queues, depth, u32::try_from(BUFFER_BYTES)?, wanted);
        info.dev_id = DEV_ID_AUTO;
        let info = control.add_dev(&info)?;
        let arena = memory()?;
        let ring = RawRing::new(RingShape { entries: 128, ..RingShape::default() })?;
        let (id, kept) = (info.dev_id, Vec::new());
        let mut own = Self { ring, areas: Vec::new(), file: None, control, arena, id, info, kept };
        if stage >= Stage::Params {
            own.control.set_params(id, &own.params())?;
        }
        if stage >= Stage::Opened {
            own.open(patience)?;
        }
        if stage >= Stage::Fetched {
            own.fetch()?;
        }
        if stage >= Stage::Live {
            own.start(patience)?;
        }
        Ok(own)
    }

    pub(super) fn params(&self) -> Params {
        plain_params(BUFFER_BYTES, DEVICE_SECTORS)
    }

    fn open(&mut self, patience: Duration) -> Result<(), Problem> {
        let file = CharFile::open_within(self.id, patience)?;
        for queue in 0..self.info.nr_hw_queues {
            let stride = self.info.io_desc_stride_bytes();
            self.areas.push(file.map(queue, self.info.queue_depth, stride)?);
        }
        self.file = Some(file);
        Ok(())
    }

    fn fetch(&mut self) -> Result<(), Problem> {
        if self.info.flags.contains(Features::AUTO_BUF_REG) {
            let slots = u32::from(self.info.nr_hw_queues) * u32::from(DEPTH_MAX);
            self.ring.register_sparse_buffers(slots)?;
        }
        for queue in 0..self.info.nr_hw_queues {
            for tag in 0..self.info.queue_depth {
                self.send(IoCmdOp::FetchReq, queue, tag, 0)?;
            }
        }
        self.ring.submit()?;
        Ok(())
    }

    fn start(&mut self, patience: Duration) -> Result<(), Problem> {
        let pending = self.control.start_dev_begin(self.id, std::process::id().cast_signed())?;
        let begun = Instant::now();
        while self.control.poll(&pending)?.is_none() {
            if begun.elapsed() > patience {
                return Err("START_DEV of a device that is served got no answer".into());
            }
            self.look(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Lets the device go: ring, mappings, file.
    pub(super) fn leave(&mut self) {
        if let Ok(ring) = RawRing::new(RingShape::default()) {
            self.ring = ring;
        }
        self.areas.clear();
        self.file = None;
        self.kept.clear();
    }

    /// Queues an I/O command of the server's.
    fn send(&mut self, op: IoCmdOp, queue: u16, tag: u16, result: i32) -> Result<(), Problem> {
        let Some(file) = &self.file else { return Ok(()) };
        let arena = self.arena;
        let payload = IoPayload { queue, tag, result, addr: self.buffer(&arena, queue, tag) };
        let mut sqe = RawSqe::io(file, op.encoded(), &payload);
        if self.info.flags.contains(Features::AUTO_BUF_REG) {
            let index = queue * DEPTH_MAX + tag;
            sqe = sqe.sqe_addr(SqeAddr::AutoBufReg(AutoBufReg { index, ..Default::default() }));
        }
        self.ring.push(&sqe.user_data(u64::from(queue) << 16 | u64::from(tag)))?;
        Ok(())
    }

    /// The address that a right command for a tag carries.
    pub(super) fn buffer<'a>(&self, arena: &'a Arena, queue: u16, tag: u16) -> Addr<'a> {
        let own_bytes = Features::USER_COPY | Features::SUPPORT_ZERO_COPY | Features::AUTO_BUF_REG;
        if !(self.info.flags & own_bytes).is_empty() {
            return Addr::Null;
        }
        let number =
            usize::from(queue % QUEUES_MAX) * usize::from(DEPTH_MAX) + usize::from(tag % DEPTH_MAX);
        Addr::Arena(arena, PAYLOADS_BYTES + number * BUFFER_BYTES)
    }

    /// Takes in what has come, and answers what no client has sent.
    pub(super) fn look(&mut self, timeout: Duration) -> Result<(), Problem> {
        let wanted = usize::from(!timeout.is_zero());
        for completion in self.ring.wait(wanted, timeout)? {
            self.take(completion)?;
        }
        self.ring.submit()?;
        Ok(())
    }

    fn take(&mut self, completion: Completion) -> Result<(), Problem> {
        let (queue, tag) =
            ((completion.user_data >> 16) as u16, (completion.user_data & 0xffff) as u16);
        match completion.res {
            IO_RES_NEED_GET_DATA => self.send(IoCmdOp::NeedGetData, queue, tag, 0),
            IO_RES_OK if self.is_clients(queue, tag) => {
                self.kept.push((queue, tag));
                Ok(())
            }
            IO_RES_OK => self.commit(queue, tag),
            _ => Ok(()),
        }
    }

    fn is_clients(&self, queue: u16, tag: u16) -> bool {
        let area = self.areas.get(usize::from(queue));
        area.is_some_and(|area| area.copy_out(tag).start_sector >= CLIENT_SECTOR)
    }

    fn commit(&mut self, queue: u16, tag: u16) -> Result<(), Problem> {
        let Some(area) = self.areas.get(usize::from(queue)) else { return Ok(()) };
        let bytes = u64::from(area.copy_out(tag).nr_sectors) * 512;
        let result = i32::try_from(bytes).unwrap_or(i32::MAX);
        self.send(IoCmdOp::CommitAndFetchReq, queue, tag, result)
    }

    /// Answers the requests of clients.
    pub(super) fn serve_all(&mut self) -> Result<(), Problem> {
        self.look(Duration::ZERO)?;
        for (queue, tag) in std::mem::take(&mut self.kept) {
            self.commit(queue, tag)?;
        }
        self.look(Duration::ZERO)
    }

    /// Answers whatever tag there is, for a request may have been delivered to a wrong command: those that have none are
    /// refused, which does no harm.
    pub(super) fn rescue(&mut self) -> Result<(), Problem> {
        self.serve_all()?;
        if self.info.flags.contains(Features::BATCH_IO) {
            return Ok(());
        }
        for queue in 0..u16::try_from(self.areas.len())? {
            for tag in 0..self.info.queue_depth {
                if self.info.flags.contains(Features::NEED_GET_DATA) {
                    self.send(IoCmdOp::NeedGetData, queue, tag, 0)?;
                }
                self.commit(queue, tag)?;
            }
        }
        self.look(Duration::ZERO)
    }
}

/// Payloads and buffers, for the case where there is no device too.
pub(super) fn memory() -> std::io::Result<Arena> {
    let buffers = usize::from(QUEUES_MAX) * usize::from(DEPTH_MAX);
    Arena::new(PAYLOADS_BYTES + buffers * BUFFER_BYTES)
}
