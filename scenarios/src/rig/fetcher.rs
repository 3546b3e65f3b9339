//! A hand that sends I/O commands of one queue from the thread it lives on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::raw::{Addr, CharFile, Completion, IoPayload, RawRing, RawSqe, RingShape, SqeAddr};
use ublk::sys::arena::Arena;
use ublk::sys::desc::DescArea;
use ublk::uapi::{AutoBufReg, Features, IO_RES_ABORT, IO_RES_OK, IoCmdOp, IoDesc, Op};

use super::device::{BUFFER_BYTES, DEVICE_BYTES, Parts, Rig};
use super::{EINVAL, EIO};
use crate::context::{Context, During, Stop};

/// Commands of a server carry their tag; what a scenario sends besides carries this bit.
const MARK: u64 = 1 << 32;

/// What moves data in another way than by the driver's copies.
const NO_COPY: Features =
    Features::USER_COPY.union(Features::SUPPORT_ZERO_COPY).union(Features::AUTO_BUF_REG);

/// Sends FETCH and COMMIT of one queue, and answers requests from a disk of its own when asked to.
#[derive(Debug)]
pub struct Fetcher {
    ring: RawRing,
    file: Arc<CharFile>,
    descriptors: DescArea,
    arena: Arena,
    queue: u16,
    depth: u16,
    disk: Arc<std::sync::Mutex<Vec<u8>>>,
    armed: u64,
    aborted: u64,
    owned: Vec<u16>,
    /// Whether the driver copies data, and so wants a buffer with each tag.
    copies: bool,
    /// Where each tag's pages are registered as it is delivered: this index plus the tag.
    auto: Option<AutoBufReg>,
}

impl Fetcher {
    /// A hand for `queue`, with a ring of its own.
    ///
    /// # Errors
    /// When the ring or the descriptor mapping cannot be made.
    pub fn new(rig: &Rig, file: &Arc<CharFile>, queue: u16) -> Result<Self, Stop> {
        Self::with_shape(rig, file, queue, false)
    }

    /// The same with a choice of SQE size.
    ///
    /// # Errors
    /// When the ring or the descriptor mapping cannot be made.
    pub fn with_shape(
        rig: &Rig,
        file: &Arc<CharFile>,
        queue: u16,
        sqe128: bool,
    ) -> Result<Self, Stop> {
        let disk = Arc::new(std::sync::Mutex::new(vec![0; DEVICE_BYTES]));
        Self::on_disk(rig.parts(), file, queue, sqe128, disk)
    }

    /// A hand on another thread than the rig's.
    ///
    /// # Errors
    /// When the ring or the descriptor mapping cannot be made.
    pub fn of_parts(parts: Parts, file: &Arc<CharFile>, queue: u16) -> Result<Self, Stop> {
        let disk = Arc::new(std::sync::Mutex::new(vec![0; DEVICE_BYTES]));
        Self::on_disk(parts, file, queue, false, disk)
    }

    pub(super) fn on_disk(
        Parts { arena, info }: Parts,
        file: &Arc<CharFile>,
        queue: u16,
        sqe128: bool,
        disk: Arc<std::sync::Mutex<Vec<u8>>>,
    ) -> Result<Self, Stop> {
        let entries = u32::from(info.queue_depth).max(8);
        let mut ring = RawRing::new(RingShape { entries, sqe128, ..RingShape::default() })
            .during("make a ring")?;
        let auto = info.flags.contains(Features::AUTO_BUF_REG).then(AutoBufReg::default);
        if auto.is_some() || info.flags.contains(Features::SUPPORT_ZERO_COPY) {
            let slots = u32::from(info.queue_depth) * 2;
            ring.register_sparse_buffers(slots).during("make a buffer table")?;
        }
        let descriptors = file
            .map(queue, info.queue_depth, info.io_desc_stride_bytes())
            .during("map the descriptors")?;
        Ok(Self {
            ring,
            file: Arc::clone(file),
            descriptors,
            arena,
            queue,
            depth: info.queue_depth,
            disk,
            armed: 0,
            aborted: 0,
            owned: Vec::new(),
            auto,
            copies: !info.flags.intersects(NO_COPY),
        })
    }

    fn buffer(&self, tag: u16) -> usize {
        (usize::from(self.queue) * usize::from(self.depth) + usize::from(tag)) * BUFFER_BYTES
            % self.arena.len_bytes().max(1)
    }

    fn payload(&self, queue: u16, tag: u16, result: i32, buffer: bool) -> IoPayload<'_> {
        let offset = if tag < self.depth { self.buffer(tag) } else { 0 };
        let addr =
            if buffer && self.copies { Addr::Arena(&self.arena, offset) } else { Addr::Null };
        IoPayload { queue, tag, result, addr }
    }

    fn with_auto(&self, sqe: RawSqe, tag: u16) -> RawSqe {
        match self.auto {
            Some(reg) => {
                let index = reg.index.wrapping_add(tag);
                sqe.sqe_addr(SqeAddr::AutoBufReg(AutoBufReg { index, ..reg }))
            }
            None => sqe,
        }
    }

    /// Chooses where tags' pages are registered from now on; the index counts from the tag.
    pub fn set_auto(&mut self, reg: AutoBufReg) {
        self.auto = Some(reg);
    }

    /// Its ring.
    pub fn ring(&mut self) -> &mut RawRing {
        &mut self.ring
    }

    /// The request that was delivered in `tag`.
    #[must_use]
    pub fn request(&self, tag: u16) -> IoDesc {
        self.descriptors.copy_out(tag)
    }

    /// Sends a command of the caller's, told apart from the server's, and waits for its result; nothing else may be on
    /// its way.
    ///
    /// # Errors
    /// When none or another number of completions comes.
    pub fn result_of(
        &mut self,
        context: &mut Context,
        what: &str,
        sqe: RawSqe,
    ) -> Result<i32, Stop> {
        self.send(&sqe.user_data(MARK))?;
        Ok(self.only_completion(context, what)?.res)
    }

    /// Sends a command of the caller's making as the server of its tag, whose number it carries.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn send(&mut self, sqe: &RawSqe) -> Result<(), Stop> {
        self.ring.push(sqe).during("push an I/O command")?;
        self.ring.submit().during("submit an I/O command")?;
        Ok(())
    }

    /// FETCH of one tag.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn fetch(&mut self, tag: u16) -> Result<(), Stop> {
        self.fetch_marked(tag, u64::from(tag), |sqe| sqe)
    }

    /// FETCH of one tag with `user_data` and a change to its SQE.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn fetch_marked(
        &mut self,
        tag: u16,
        user_data: u64,
        change: impl FnOnce(RawSqe) -> RawSqe,
    ) -> Result<(), Stop> {
        let payload = self.payload(self.queue, tag, 0, true);
        let sqe = RawSqe::io(&self.file, IoCmdOp::FetchReq.encoded(), &payload);
        let sqe = change(self.with_auto(sqe, tag).user_data(user_data));
        self.armed += 1;
        self.send(&sqe)
    }

    /// FETCH of every tag, one submission.
    ///
    /// # Errors
    /// When they cannot be submitted.
    pub fn fetch_all(&mut self) -> Result<(), Stop> {
        self.fetch_tags(0..self.depth)
    }

    pub(super) fn fetch_tags(&mut self, tags: std::ops::Range<u16>) -> Result<(), Stop> {
        tags.into_iter().try_for_each(|tag| self.fetch(tag))
    }

    /// Any I/O command; its completion is told apart from the server's.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn command(
        &mut self,
        cmd_op: u32,
        queue: u16,
        tag: u16,
        result: i32,
        buffer: bool,
    ) -> Result<(), Stop> {
        let payload = self.payload(queue, tag, result, buffer);
        let sqe = RawSqe::io(&self.file, cmd_op, &payload).user_data(MARK | u64::from(tag));
        self.send(&sqe)
    }

    /// Completions that come within `timeout`, at least `count` of them if they do.
    ///
    /// # Errors
    /// When the ring fails.
    pub fn wait(&mut self, count: usize, timeout: Duration) -> Result<Vec<Completion>, Stop> {
        self.ring.wait(count, timeout).during("wait for completions")
    }

    /// The one completion that comes now; a command that was refused is not armed.
    ///
    /// # Errors
    /// When none or another number comes.
    pub fn only_completion(
        &mut self,
        context: &mut Context,
        what: &str,
    ) -> Result<Completion, Stop> {
        let completions = self.wait(1, context.command_timeout())?;
        context.check_eq(
            FailureKind::Completion,
            format_args!("number of completions of {what}"),
            &completions.len(),
            &1,
        )?;
        let completion = completions[0];
        if completion.user_data & MARK == 0 {
            self.armed -= 1;
        }
        Ok(completion)
    }

    /// Waits up to `timeout` for one completion, then answers everything that has come. Number of
    /// completions.
    ///
    /// # Errors
    /// When the ring fails or a completion is none of OK and ABORT.
    pub fn serve_for(&mut self, timeout: Duration) -> Result<usize, Stop> {
        let completions = self.wait(1, timeout)?;
        for completion in &completions {
            let tag = self.tag_of(*completion)?;
            if completion.res == IO_RES_OK {
                self.answer(tag)?;
            }
        }
        Ok(completions.len())
    }

    fn tag_of(&mut self, completion: Completion) -> Result<u16, Stop> {
        let tag = u16::try_from(completion.user_data).ok().filter(|tag| *tag < self.depth);
        match (tag, completion.res) {
            (Some(tag), IO_RES_OK) => Ok(tag),
            (Some(tag), IO_RES_ABORT) => {
                self.aborted += 1;
                Ok(tag)
            }
            _ => Err(Stop::fail(
                FailureKind::Completion,
                format_args!("a command of queue {} completed with {completion:?}", self.queue),
            )),
        }
    }

    /// Serves until a request at `start_sector` is delivered; its tag is then owned and not answered.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn next_request(&mut self, context: &mut Context, start_sector: u64) -> Result<u16, Stop> {
        let begin = Instant::now();
        while begin.elapsed() < context.command_timeout() {
            for completion in self.wait(1, Duration::from_millis(20))? {
                let tag = self.tag_of(completion)?;
                if completion.res != IO_RES_OK {
                    continue;
                }
                if self.descriptors.copy_out(tag).start_sector == start_sector {
                    self.owned.push(tag);
                } else {
                    self.answer(tag)?;
                }
            }
            if let Some(tag) = self.owned.pop() {
                return Ok(tag);
            }
        }
        let what = format!("no request at sector {start_sector} was delivered");
        Err(Stop::fail(FailureKind::Completion, what))
    }

    /// Does what the descriptor of `tag` asks and commits the result.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn answer(&mut self, tag: u16) -> Result<(), Stop> {
        let result = self.perform(tag);
        self.commit(tag, result)
    }

    /// Commits `result` for a tag that is owned, and arms it again.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn commit(&mut self, tag: u16, result: i32) -> Result<(), Stop> {
        let payload = self.payload(self.queue, tag, result, true);
        let cmd_op = IoCmdOp::CommitAndFetchReq.encoded();
        let sqe = RawSqe::io(&self.file, cmd_op, &payload).user_data(u64::from(tag));
        let sqe = self.with_auto(sqe, tag);
        self.send(&sqe)
    }

    /// Bytes of the request that was delivered in `tag`, as a commit reports them.
    #[must_use]
    pub fn request_bytes(&self, tag: u16) -> i32 {
        let sectors = self.descriptors.copy_out(tag).nr_sectors;
        i32::try_from(sectors.saturating_mul(512)).unwrap_or(-EIO)
    }

    fn perform(&self, tag: u16) -> i32 {
        let descriptor = self.descriptors.copy_out(tag);
        match descriptor.op() {
            // Before any arithmetic: the sector of a FLUSH is all ones.
            Some(Op::Flush) => return 0,
            Some(Op::Read | Op::Write) => {}
            _ => return -EINVAL,
        }
        let len = descriptor.nr_sectors as usize * 512;
        let Some(start) = descriptor.start_sector.checked_mul(512) else { return -EINVAL };
        let Ok(start) = usize::try_from(start) else { return -EINVAL };
        let Ok(mut disk) = self.disk.lock() else { return -EIO };
        let buffer = self.buffer(tag);
        let Some(bytes) = disk.get_mut(start..start + len).filter(|_| len <= BUFFER_BYTES) else {
            return -EIO;
        };
        if descriptor.op() == Some(Op::Read) {
            self.arena.write(buffer, bytes);
        } else {
            self.arena.read(buffer, bytes);
        }
        i32::try_from(len).unwrap_or(-EIO)
    }

    /// Whether every armed command was aborted.
    #[must_use]
    pub fn all_aborted(&self) -> bool {
        self.aborted == self.armed
    }

    /// How many of how many armed commands were aborted.
    #[must_use]
    pub fn aborted_of_armed(&self) -> (u64, u64) {
        (self.aborted, self.armed)
    }
}
