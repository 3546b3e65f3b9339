//! A hand that serves one queue of a batch device: many tags in one command, deliveries through provided buffers.
//! Where the device registers pages by itself, the ring moves data between those pages and a file, each request on its
//! own: its number tells whose move has ended, for others are under way and further requests come meanwhile.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use reports::event::FailureKind;
use ublk::raw::{
    Addr, BatchElement, CharFile, Completion, ElementBuffer, RawRing, RawSqe, RingShape, SqeFlags,
};
use ublk::sys::arena::Arena;
use ublk::sys::desc::DescArea;
use ublk::uapi::{
    BatchFlags, BatchIo, FETCH_ELEM_BYTES, Features, IO_RES_ABORT, IoCmdOp, IoDesc, Op,
};

use super::device::{BUFFER_BYTES, DEVICE_BYTES, Rig};
use super::{EINVAL, EIO};
use crate::context::{Context, During, Stop};

/// `IORING_URING_CMD_MULTISHOT`.
const MULTISHOT: u32 = 2;
/// `IORING_CQE_F_BUFFER`: a provided buffer was used; its id is in the upper half of the flags.
const USED_BUFFER: u32 = 1;
/// `IORING_CQE_F_MORE`: the command goes on.
const MORE: u32 = 2;
/// The group of buffers that tags are delivered in.
const GROUP: u16 = 1;
/// Buffers in that group.
const BUFFERS: u16 = 8;
/// Bytes of each: what one delivery can fill.
const TAGS_BYTES: u16 = 256;
/// Numbers of the two commands a server has on its way.
const FETCH: u64 = 1;
const COMMIT: u64 = 2;
/// What a scenario sends besides.
const OTHER: u64 = 3;

/// The first number of moves between pages and file; the tag is added.
const MOVE: u64 = 1 << 16;

/// What the disk is where pages are registered as they are delivered.
#[derive(Debug)]
struct Auto {
    backing: Arc<File>,
    /// Where each tag's pages are registered, or will be with its next request.
    slots: Vec<u16>,
}

/// Sends batch commands of one queue in copy mode or with automatic registration, and answers requests from a disk of
/// its own.
#[derive(Debug)]
pub struct BatchHand {
    ring: RawRing,
    file: Arc<CharFile>,
    descriptors: DescArea,
    buffers: Arena,
    elements: ElementBuffer,
    tags: Arena,
    depth: u16,
    disk: Vec<u8>,
    auto: Option<Auto>,
    timeout: Duration,
    fetching: bool,
    /// Completions that came while another one was waited for.
    later: Vec<Completion>,
    /// Whether the next commit is tried without an address first.
    nowhere_first: bool,
    /// What that was answered.
    pub nowhere: Option<i32>,
    /// Requests answered.
    pub answered: u64,
}

impl BatchHand {
    /// A hand for queue 0, with a ring, elements and a group of buffers for tags; and with a file and twice as many
    /// slots as tags, where the device registers pages by itself.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub fn new(context: &Context, rig: &Rig, file: &Arc<CharFile>) -> Result<Self, Stop> {
        let info = rig.info;
        let mut ring = RawRing::new(RingShape::default()).during("make a ring")?;
        let descriptors = file
            .map(0, info.queue_depth, info.io_desc_stride_bytes())
            .during("map the descriptors")?;
        let auto = info.flags.contains(Features::AUTO_BUF_REG);
        let layout = if auto { BatchFlags::empty() } else { BatchFlags::HAS_BUF_ADDR };
        let elements =
            ElementBuffer::new(layout, info.queue_depth.into()).during("map the elements")?;
        let auto = if auto {
            let slots = u32::from(info.queue_depth) * 2;
            ring.register_sparse_buffers(slots).during("make a buffer table")?;
            let backing = super::backing_file(DEVICE_BYTES as u64)?;
            Some(Auto { backing, slots: (0..info.queue_depth).collect() })
        } else {
            None
        };
        let tags = Arena::new(usize::from(BUFFERS * TAGS_BYTES)).during("map the tags")?;
        for id in 0..BUFFERS {
            let addr = Addr::Arena(&tags, usize::from(id * TAGS_BYTES));
            ring.provide_buffer(GROUP, id, addr, TAGS_BYTES).during("provide a buffer")?;
        }
        Ok(Self {
            ring,
            file: Arc::clone(file),
            descriptors,
            buffers: rig.parts().arena,
            elements,
            tags,
            depth: info.queue_depth,
            disk: vec![0; DEVICE_BYTES],
            auto,
            timeout: context.command_timeout(),
            fetching: false,
            later: Vec::new(),
            nowhere_first: false,
            nowhere: None,
            answered: 0,
        })
    }

    /// Its ring.
    pub fn ring(&mut self) -> &mut RawRing {
        &mut self.ring
    }

    /// The open char device.
    #[must_use]
    pub fn file(&self) -> Arc<CharFile> {
        Arc::clone(&self.file)
    }

    /// The elements, with room for one for each tag.
    #[must_use]
    pub fn elements(&self) -> &ElementBuffer {
        &self.elements
    }

    /// The element of `tag` with its own buffer, or the slot it has now.
    #[must_use]
    pub fn element(&self, tag: u16, result: i32) -> BatchElement<'_> {
        let offset = usize::from(tag % self.depth) * BUFFER_BYTES;
        let buf_addr = Addr::Arena(&self.buffers, offset);
        let slot = self.auto.as_ref().and_then(|auto| auto.slots.get(usize::from(tag)));
        let buf_index = slot.copied().unwrap_or(tag);
        BatchElement { tag, result, buf_addr, buf_index, ..BatchElement::default() }
    }

    /// A payload for as many elements as these.
    #[must_use]
    pub fn payload(&self, nr_elem: u16) -> BatchIo {
        let flags = self.elements.layout();
        BatchIo { flags, nr_elem, elem_bytes: flags.elem_bytes(), ..BatchIo::default() }
    }

    /// PREP_IO_CMDS or COMMIT_IO_CMDS of the elements that were filled in, from the first one on.
    #[must_use]
    pub fn command(&self, op: IoCmdOp, payload: &BatchIo) -> RawSqe {
        RawSqe::batch(&self.file, op.encoded(), payload, &self.elements, 0)
    }

    /// FETCH_IO_CMDS with buffers of `group`.
    #[must_use]
    pub fn fetch_command(&self, group: u16) -> RawSqe {
        let payload = BatchIo { elem_bytes: FETCH_ELEM_BYTES, ..BatchIo::default() };
        RawSqe::batch_fetch(&self.file, IoCmdOp::FetchIoCmds.encoded(), &payload)
            .uring_cmd_flags(MULTISHOT)
            .flags(SqeFlags::BUFFER_SELECT)
            .buf_index(group)
    }

    fn send(&mut self, sqe: &RawSqe) -> Result<(), Stop> {
        self.ring.push(sqe).during("push a batch command")?;
        self.ring.submit().during("submit a batch command")?;
        Ok(())
    }

    /// Sends a command and waits for its result; requests that come meanwhile are answered.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub fn result_of(&mut self, what: &str, sqe: RawSqe) -> Result<i32, Stop> {
        self.send(&sqe.user_data(OTHER))?;
        for _ in 0..100 {
            let wait = self.timeout / 100;
            let mut result = None;
            for completion in self.ring.wait(1, wait).during("wait for a batch command")? {
                if completion.user_data == OTHER {
                    result = Some(completion.res);
                } else {
                    self.later.push(completion);
                }
            }
            if let Some(result) = result {
                return Ok(result);
            }
            // A command of ours may wait for a request's answer.
            self.take_later()?;
        }
        Err(Stop::fail(FailureKind::Completion, format_args!("{what} got no answer")))
    }

    /// Prepares every tag.
    ///
    /// # Errors
    /// When the command gets no answer.
    pub fn prepare_all(&mut self) -> Result<i32, Stop> {
        let all: Vec<_> = (0..self.depth).map(|tag| self.element(tag, 0)).collect();
        self.elements.fill(0, &all);
        let sqe = self.command(IoCmdOp::PrepIoCmds, &self.payload(self.depth));
        self.result_of("PREP_IO_CMDS", sqe)
    }

    /// Starts to fetch.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn fetch(&mut self) -> Result<(), Stop> {
        self.fetching = true;
        let sqe = self.fetch_command(GROUP).user_data(FETCH);
        self.send(&sqe)
    }

    /// Has the next request, which is with the server then, committed with a null address before it is committed well.
    pub fn commit_nowhere_first(&mut self) {
        self.nowhere_first = true;
    }

    /// Whether FETCH_IO_CMDS is on its way.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        self.fetching
    }

    /// Answers what comes within `timeout`.
    ///
    /// # Errors
    /// When a completion is not what a server expects.
    pub fn serve_for(&mut self, timeout: Duration) -> Result<usize, Stop> {
        let wait = if self.later.is_empty() { timeout } else { Duration::ZERO };
        let wanted = usize::from(self.later.is_empty());
        let completions = self.ring.wait(wanted, wait).during("wait for batch completions")?;
        self.later.extend(completions);
        self.take_later()
    }

    fn take_later(&mut self) -> Result<usize, Stop> {
        let completions = std::mem::take(&mut self.later);
        let count = completions.len();
        completions.into_iter().try_for_each(|completion| self.take(completion))?;
        Ok(count)
    }

    fn take(&mut self, completion: Completion) -> Result<(), Stop> {
        let unexpected = || {
            let what = format!("a batch server got {completion:?}");
            Stop::fail(FailureKind::Completion, what)
        };
        match completion {
            Completion { user_data: COMMIT, res, .. } if res > 0 => Ok(()),
            Completion { user_data, res, .. }
                if (MOVE..MOVE + u64::from(self.depth)).contains(&user_data) =>
            {
                self.commit_moved(u16::try_from(user_data - MOVE).unwrap_or(u16::MAX), res)
            }
            Completion { user_data: FETCH, res: IO_RES_ABORT, .. } => {
                self.fetching = false;
                Ok(())
            }
            Completion { user_data: FETCH, res, flags } if res > 0 && flags & USED_BUFFER != 0 => {
                self.fetching = flags & MORE != 0;
                let id = u16::try_from(flags >> 16).unwrap_or(u16::MAX);
                let len = usize::try_from(res).unwrap_or(0);
                if id >= BUFFERS || len > usize::from(TAGS_BYTES) || len % 2 != 0 {
                    return Err(unexpected());
                }
                self.answer(id, len)
            }
            _ => Err(unexpected()),
        }
    }

    /// Does what the delivered tags ask, commits in one command those that are done with it, and gives the buffer back.
    fn answer(&mut self, id: u16, len_bytes: usize) -> Result<(), Stop> {
        let place = usize::from(id * TAGS_BYTES);
        let mut bytes = vec![0; len_bytes];
        self.tags.read(place, &mut bytes);
        let (pairs, _) = bytes.as_chunks::<2>();
        let tags: Vec<_> = pairs.iter().map(|pair| u16::from_ne_bytes(*pair)).collect();
        if tags.iter().any(|tag| *tag >= self.depth) {
            let what = format!("tags {tags:?} of a queue of {}", self.depth);
            return Err(Stop::fail(FailureKind::Completion, what));
        }
        let mut results = Vec::with_capacity(tags.len());
        for tag in tags {
            if let Some(result) = self.perform(tag)? {
                results.push((tag, result));
            }
        }
        let addr = Addr::Arena(&self.tags, place);
        self.ring.provide_buffer(GROUP, id, addr, TAGS_BYTES).during("provide a buffer")?;
        self.commit(&results)
    }

    fn commit(&mut self, results: &[(u16, i32)]) -> Result<(), Stop> {
        if results.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.nowhere_first) {
            self.nowhere = Some(self.commit_nowhere(results[0])?);
        }
        let committed: Vec<_> =
            results.iter().map(|(tag, result)| self.element(*tag, *result)).collect();
        let count = u16::try_from(committed.len()).unwrap_or(u16::MAX);
        self.elements.fill(0, &committed);
        self.answered += u64::from(count);
        let sqe = self.command(IoCmdOp::CommitIoCmds, &self.payload(count)).user_data(COMMIT);
        // The elements are read while the command is submitted, so the next round may fill them anew.
        self.send(&sqe)
    }

    fn commit_nowhere(&mut self, (tag, result): (u16, i32)) -> Result<i32, Stop> {
        let nowhere = BatchElement { buf_addr: Addr::Null, ..self.element(tag, result) };
        self.elements.fill(0, &[nowhere]);
        let sqe = self.command(IoCmdOp::CommitIoCmds, &self.payload(1));
        self.result_of("COMMIT_IO_CMDS without an address", sqe)
    }

    /// The result, where it is there at once.
    fn perform(&mut self, tag: u16) -> Result<Option<i32>, Stop> {
        let descriptor = self.descriptors.copy_out(tag);
        match (descriptor.op(), &self.auto) {
            (Some(Op::Flush), _) => Ok(Some(0)),
            (Some(op @ (Op::Read | Op::Write)), Some(auto)) => {
                let (position, len) = (descriptor.start_sector * 512, descriptor.nr_sectors * 512);
                let sqe = match op {
                    Op::Write => RawSqe::write_fixed(&auto.backing, position, len),
                    _ => RawSqe::read_fixed(&auto.backing, position, len),
                };
                let slot = auto.slots[usize::from(tag)];
                self.send(&sqe.buf_index(slot).user_data(MOVE + u64::from(tag)))?;
                Ok(None)
            }
            (Some(Op::Read | Op::Write), None) => Ok(Some(self.copy(tag, descriptor))),
            _ => Ok(Some(-EINVAL)),
        }
    }

    /// Commits a request whose bytes have moved, and names the other one of its tag's two slots for the next: a kernel
    /// that took the tag for the slot, or kept to the first, would be found out.
    fn commit_moved(&mut self, tag: u16, result: i32) -> Result<(), Stop> {
        let depth = self.depth;
        if let Some(slot) = self.auto.as_mut().and_then(|auto| auto.slots.get_mut(usize::from(tag)))
        {
            *slot = if *slot < depth { *slot + depth } else { *slot - depth };
        }
        self.commit(&[(tag, result)])
    }

    fn copy(&mut self, tag: u16, descriptor: IoDesc) -> i32 {
        let len = descriptor.nr_sectors as usize * 512;
        let start = descriptor.start_sector.checked_mul(512).map(usize::try_from);
        let Some(Ok(start)) = start else { return -EINVAL };
        let Some(bytes) = self.disk.get_mut(start..start + len).filter(|_| len <= BUFFER_BYTES)
        else {
            return -EIO;
        };
        let buffer = usize::from(tag) * BUFFER_BYTES;
        if descriptor.op() == Some(Op::Read) {
            self.buffers.write(buffer, bytes);
        } else {
            self.buffers.read(buffer, bytes);
        }
        i32::try_from(len).unwrap_or(-EIO)
    }
}
