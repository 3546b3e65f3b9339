//! A server on raw commands that knows every mode, answers as it is told, and otherwise keeps a disk of its own.
//!
//! The other hands of this crate know one way of moving bytes each. A property that is to hold in all of them wants one hand,
//! so that what differs between two modes is the mode.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::ctrl::{Command, Pending};
use ublk::raw::{Addr, CharFile, IoPayload, RawRing, RawSqe, RingShape, SqeAddr};
use ublk::sys::arena::Arena;
use ublk::sys::desc::DescArea;
use ublk::uapi::{AutoBufReg, Features, IoCmdOp, Params};

use super::batch::Batch;
use super::mode::{Mode, Way};
use crate::context::{Context, During, Stop};
use crate::rig::{Rig, arena, backing_file, offered};

/// Bytes of each tag's buffer, and the device's largest request.
pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// Size of the disk.
pub(super) const DISK_BYTES: usize = 8 << 20;
/// Commands of the server carry their tag; others one of these.
pub(super) const FETCH: u64 = 1 << 20;
pub(super) const COMMIT: u64 = 1 << 21;
pub(super) const SIDE: u64 = 1 << 22;
/// And from here on the numbers of whoever does more.
pub(super) const OTHERS: u64 = 1 << 32;

/// A live device with one queue, served from the thread this lives on.
pub(super) struct Hand {
    pub(super) ring: RawRing,
    pub(super) descriptors: DescArea,
    pub(super) file: Arc<CharFile>,
    /// Where pages that are registered are moved to and from, each tag at its own place.
    pub(super) backing: Arc<File>,
    pub(super) arena: Arena,
    pub(super) mode: Mode,
    pub(super) depth: u16,
    pub(super) disk: Vec<u8>,
    pub(super) batch: Option<Batch>,
    pub(super) delivered: VecDeque<u16>,
    /// Tags whose bytes have to be asked for.
    pub(super) asks: Vec<bool>,
    pub(super) side: Option<i32>,
    /// Completions of commands that are numbered from [`OTHERS`] on.
    pub(super) others: Vec<(u64, i32)>,
    /// Results of COMMIT_IO_CMDS that were waited for.
    pub(super) commits: VecDeque<i32>,
    armed: u64,
    pub(super) aborted: u64,
    pub(super) timeout: Duration,
    // Dropped last: a device whose file is open cannot be deleted.
    pub(super) rig: Rig,
}

impl Hand {
    /// A live device of `depth` tags in a mode, with a change to its parameters.
    ///
    /// # Errors
    /// [`Stop::Skip`] when the kernel does not offer the mode.
    pub(super) fn live(
        context: &mut Context,
        mode: Mode,
        depth: u16,
        change: impl FnOnce(&mut Params),
    ) -> Result<Self, Stop> {
        Self::live_with(context, mode, Features::empty(), depth, change)
    }

    /// The same with further features.
    ///
    /// # Errors
    /// As [`Hand::live`].
    pub(super) fn live_with(
        context: &mut Context,
        mode: Mode,
        more: Features,
        depth: u16,
        change: impl FnOnce(&mut Params),
    ) -> Result<Self, Stop> {
        // Where the kernel can be told not to look for partitions it does not.
        let quiet = Features::NO_AUTO_PART_SCAN;
        let unscanned = offered(quiet).is_ok();
        let more = if unscanned { more | quiet } else { more };
        let mut hand = Self::ready(context, mode, more, depth, change)?;
        let pending = hand.rig.start_begin()?;
        let served = hand.drive(&pending)?;
        if !unscanned && served == 0 {
            hand.serve_scan(context.quiet())?;
        }
        Ok(hand)
    }

    /// Serves the look for partitions where START_DEV does not wait for it (6.18.15): to its first request, and until no other
    /// has come for a `quiet` time.
    fn serve_scan(&mut self, quiet: Duration) -> Result<(), Stop> {
        let begin = Instant::now();
        let mut last = None;
        while last.map_or(begin.elapsed() < self.timeout, |last: Instant| last.elapsed() < quiet) {
            if let Some(tag) = self.next(Duration::from_millis(5))? {
                self.serve(tag)?;
                last = Some(Instant::now());
            }
        }
        match last {
            Some(_) => Ok(()),
            None => Err(Stop::fail(FailureKind::Completion, "nobody looks for partitions")),
        }
    }

    /// A device with parameters whose tags are all armed; START_DEV is for the caller.
    ///
    /// # Errors
    /// As [`Hand::live`].
    pub(super) fn ready(
        context: &mut Context,
        mode: Mode,
        more: Features,
        depth: u16,
        change: impl FnOnce(&mut Params),
    ) -> Result<Self, Stop> {
        let bytes = u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX);
        Self::ready_of(context, mode, more, depth, bytes, change)
    }

    /// The same with requests of up to `max_io_bytes`; such as are larger than the buffers are not served.
    ///
    /// # Errors
    /// As [`Hand::live`].
    pub(super) fn ready_of(
        context: &mut Context,
        mode: Mode,
        more: Features,
        depth: u16,
        max_io_bytes: u32,
        change: impl FnOnce(&mut Params),
    ) -> Result<Self, Stop> {
        let mut rig = Rig::add_with(context, 1, depth, mode.features() | more, |info| {
            info.max_io_buf_bytes = max_io_bytes;
        })?;
        let mut params = rig.basic_params();
        change(&mut params);
        let set = rig.set_params_raw(context, &params)?;
        context.check_result("SET_PARAMS", set, 0)?;
        let mut hand = Self::of(context, rig, mode)?;
        hand.arm_all()?;
        Ok(hand)
    }

    /// A hand for a device that is there; nothing is fetched.
    fn of(context: &Context, rig: Rig, mode: Mode) -> Result<Self, Stop> {
        let (depth, stride) = (rig.info.queue_depth, rig.info.io_desc_stride_bytes());
        let file = Arc::new(rig.open(context)?);
        let shape = RingShape { entries: u32::from(depth).max(32), ..RingShape::default() };
        let mut ring = RawRing::new(shape).during("make a ring")?;
        if mode.registers() {
            ring.register_sparse_buffers(u32::from(depth) * 2).during("make a buffer table")?;
        }
        let descriptors = file.map(0, depth, stride).during("map the descriptors")?;
        let batch = mode.batch.then(|| Batch::new(&mut ring, mode, depth)).transpose()?;
        Ok(Self {
            ring,
            descriptors,
            file,
            backing: backing_file(u64::from(depth) * BUFFER_BYTES as u64)?,
            arena: arena(usize::from(depth) * BUFFER_BYTES)?,
            mode,
            depth,
            disk: vec![0; DISK_BYTES],
            batch,
            delivered: VecDeque::new(),
            asks: vec![false; depth.into()],
            side: None,
            others: Vec::new(),
            commits: VecDeque::new(),
            armed: 0,
            aborted: 0,
            timeout: context.command_timeout(),
            rig,
        })
    }

    /// FETCH_REQ of each tag, or PREP_IO_CMDS of all and FETCH_IO_CMDS.
    fn arm_all(&mut self) -> Result<(), Stop> {
        if self.mode.batch {
            return self.arm_batch();
        }
        for tag in 0..self.depth {
            let sqe = self.tag_command(IoCmdOp::FetchReq, tag, 0);
            self.armed += 1;
            self.send(&sqe)?;
        }
        Ok(())
    }

    /// Where a tag's buffer is in the arena.
    pub(super) fn place(tag: u16) -> usize {
        usize::from(tag) * BUFFER_BYTES
    }

    /// What a descriptor of `tag` has as its address, where the driver copies.
    pub(super) fn buffer_addr(&self, tag: u16) -> u64 {
        self.arena.addr(Self::place(tag))
    }

    /// A command of the server for one tag, with its buffer or its slot as the mode wants it.
    pub(super) fn tag_command(&self, op: IoCmdOp, tag: u16, result: i32) -> RawSqe {
        let addr = match self.mode.way {
            Way::Copy | Way::GetData => Addr::Arena(&self.arena, Self::place(tag)),
            Way::UserCopy | Way::ZeroCopy | Way::Auto => Addr::Null,
        };
        let payload = IoPayload { queue: 0, tag, result, addr };
        let sqe = RawSqe::io(&self.file, op.encoded(), &payload).user_data(u64::from(tag));
        match self.mode.way {
            Way::Auto => {
                let reg = AutoBufReg { index: tag, ..AutoBufReg::default() };
                sqe.sqe_addr(SqeAddr::AutoBufReg(reg))
            }
            _ => sqe,
        }
    }

    /// Queues and submits a command.
    ///
    /// # Errors
    /// When the ring fails.
    pub(super) fn send(&mut self, sqe: &RawSqe) -> Result<(), Stop> {
        self.ring.push(sqe).during("push a command")?;
        self.ring.submit().during("submit a command")?;
        Ok(())
    }

    /// Serves until `pending` is answered with success; the number of requests that came.
    ///
    /// # Errors
    /// When it is not, in time.
    pub(super) fn drive(&mut self, pending: &Pending) -> Result<usize, Stop> {
        let begin = Instant::now();
        let mut served = 0;
        while begin.elapsed() < self.timeout {
            if let Some(tag) = self.next(Duration::from_millis(5))? {
                self.serve(tag)?;
                served += 1;
            }
            if self.rig.control().poll(pending)?.is_some() {
                return Ok(served);
            }
        }
        let what = format!("{} got no answer", pending.op().name());
        Err(Stop::fail(FailureKind::Completion, what))
    }

    /// STOP_DEV, the abort of every tag, and DEL_DEV.
    ///
    /// # Errors
    /// When one of them does not come.
    pub(super) fn end(mut self, context: &mut Context) -> Result<(), Stop> {
        let dev_id = self.rig.id;
        let pending = self.rig.control().submit(Command::StopDev { dev_id })?;
        self.drive(&pending)?;
        let begin = Instant::now();
        while self.is_armed() && begin.elapsed() < self.timeout {
            self.look(Duration::from_millis(5))?;
        }
        let what = format!("{}: STOP_DEV ends every command of the server", self.mode.name);
        context.check(FailureKind::Completion, what, !self.is_armed())?;
        let mut rig = self.close();
        rig.delete(context)
    }

    /// Goes away as a server that dies does; the device stays.
    pub(super) fn close(self) -> Rig {
        let Self { rig, ring, descriptors, file, .. } = self;
        drop((ring, descriptors, file));
        rig
    }

    fn is_armed(&self) -> bool {
        match &self.batch {
            Some(batch) => batch.fetching,
            None => self.aborted != self.armed,
        }
    }
}
