//! One device that a model server has open: its rings, its tags and what the driver has said of them.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ublk::raw::{
    Addr, Arena, CharFile, Completion, DescArea, IoPayload, RawRing, RawSqe, RingShape,
};
use ublk::uapi::{IO_RES_NEED_GET_DATA, IO_RES_OK, IoCmdOp, IoDesc, UserCopyPos};

use super::queue::{QUEUES_MAX, TAGS};
use super::server::{BUFFER_BYTES, MODEL_SECTOR, TagCounts};
use super::step::Stray;
use super::threads::Threads;

/// Tags of all queues.
pub(super) const TAGS_MAX: usize = (QUEUES_MAX * TAGS) as usize;
/// Slots of each ring's table of buffers; the last is never used.
const SLOTS: u16 = 64;
/// Bytes of the model's reads.
const READ_BYTES: usize = 4096;
/// Bytes of a descriptor.
const DESCRIPTOR_BYTES: u16 = 24;

/// A command of one tag that may be refused carries this: its completion is its own and says nothing of the tag.
const OWN: u64 = 1 << 32;

/// A number of no I/O command.
const UNKNOWN: u32 = 0x3f;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    Free,
    Armed,
    Owned,
    Cancelled,
}

/// What the server knows of one tag.
#[derive(Clone, Copy, Debug)]
struct Known {
    hand: Hand,
    /// Thread that has fetched it, while that lives.
    thread: Option<u8>,
    /// It has a write whose data has to be asked for first.
    wants: bool,
}

/// One open device.
pub(super) struct Served {
    // Dropped first: their commands hold the file. One of each thread.
    rings: [Option<RawRing>; 2],
    areas: [Option<DescArea>; QUEUES_MAX as usize],
    file: CharFile,
    buffers: Arena,
    /// Whether commands carry the address of a buffer.
    copies: bool,
    queues: u8,
    tags: [Known; TAGS_MAX],
}

impl Served {
    pub(super) fn open(id: u32, queues: u8, copies: bool, buffers: Arena) -> io::Result<Self> {
        let file = CharFile::open(id)?;
        let tags = [Known { hand: Hand::Free, thread: None, wants: false }; TAGS_MAX];
        Ok(Self { rings: [None, None], areas: [None, None], file, buffers, copies, queues, tags })
    }

    /// To wait for completions.
    pub(super) fn rings(&self) -> impl Iterator<Item = &RawRing> {
        self.rings.iter().flatten()
    }

    /// Maps every queue's descriptors.
    pub(super) fn map(&mut self) -> io::Result<()> {
        (0..self.queues).try_for_each(|queue| self.map_queue(queue))
    }

    fn map_queue(&mut self, queue: u8) -> io::Result<()> {
        let area = self.file.map(u16::from(queue), u16::from(TAGS), DESCRIPTOR_BYTES)?;
        self.areas[usize::from(queue)] = Some(area);
        Ok(())
    }

    fn descriptor(&mut self, tag: u8) -> io::Result<IoDesc> {
        let queue = tag / TAGS;
        if self.areas[usize::from(queue)].is_none() {
            self.map_queue(queue)?;
        }
        let area = self.areas[usize::from(queue)].as_ref();
        let area = area.ok_or_else(|| io::Error::other("no descriptors"))?;
        Ok(area.copy_out(u16::from(tag % TAGS)))
    }

    /// A command of `tag` by `thread`; what has completed by the time it is submitted.
    fn send(
        &mut self,
        threads: &mut Threads,
        thread: u8,
        op: u32,
        tag: u8,
        with: (i32, Addr<'_>),
        mark: u64,
    ) -> io::Result<Vec<Completion>> {
        let (result, addr) = with;
        let queue = u16::from(tag / TAGS);
        let payload = IoPayload { queue, tag: u16::from(tag % TAGS), result, addr };
        let sqe = RawSqe::io(&self.file, op, &payload).user_data(mark | u64::from(tag));
        let place = &mut self.rings[usize::from(thread % 2)];
        let ring = match place.take() {
            Some(ring) => ring,
            None => {
                let mut ring = RawRing::new(RingShape::default())?;
                // Only for those whose pages are registered; 6.12 has it as well.
                if !self.copies {
                    ring.register_sparse_buffers(u32::from(SLOTS))?;
                }
                ring
            }
        };
        let (ring, came) = threads.run(thread, move || {
            let mut ring = ring;
            let came = push(&mut ring, &sqe);
            (ring, came)
        })?;
        *place = Some(ring);
        came
    }

    fn addr(copies: bool, buffers: &Arena, tag: u8) -> Addr<'_> {
        if copies { Addr::Arena(buffers, usize::from(tag) * BUFFER_BYTES) } else { Addr::Null }
    }

    /// FETCH_REQ: 0 where it is armed, else its result.
    pub(super) fn fetch(&mut self, threads: &mut Threads, tag: u8, thread: u8) -> io::Result<i32> {
        self.look(threads)?;
        let place = usize::from(tag) % TAGS_MAX;
        let buffers = self.buffers;
        let addr = Self::addr(self.copies, &buffers, tag);
        let came = self.send(threads, thread, IoCmdOp::FetchReq.encoded(), tag, (0, addr), OWN)?;
        // Refusals are answered while the command is submitted.
        let refuses = |came: &Completion| came.user_data & OWN != 0 && came.res < 0;
        let (refused, rest): (Vec<_>, Vec<_>) = came.into_iter().partition(refuses);
        // Before the rest is taken in: a request that has waited may have come with it.
        if refused.is_empty() && self.tags[place].hand == Hand::Free {
            self.tags[place] = Known { hand: Hand::Armed, thread: Some(thread), wants: false };
        }
        rest.into_iter().try_for_each(|completion| self.take(threads, completion))?;
        Ok(refused.first().map_or(0, |refused| refused.res))
    }

    /// Takes in what has come.
    pub(super) fn look(&mut self, threads: &mut Threads) -> io::Result<()> {
        let mut came = Vec::new();
        for ring in self.rings.iter_mut().flatten() {
            came.extend(ring.wait(0, Duration::ZERO)?);
        }
        came.into_iter().try_for_each(|completion| self.take(threads, completion))
    }

    fn take(&mut self, threads: &mut Threads, completion: Completion) -> io::Result<()> {
        let tag = u8::try_from(completion.user_data & 0xff).unwrap_or(0) % (QUEUES_MAX * TAGS);
        let known = &mut self.tags[usize::from(tag)];
        known.wants = completion.res == IO_RES_NEED_GET_DATA;
        if completion.res != IO_RES_OK && !known.wants {
            known.hand = Hand::Cancelled;
            return Ok(());
        }
        known.hand = Hand::Owned;
        if self.descriptor(tag)?.start_sector < MODEL_SECTOR {
            self.answer(threads, tag)?;
        }
        Ok(())
    }

    fn answer(&mut self, threads: &mut Threads, tag: u8) -> io::Result<()> {
        let Some(thread) = self.tags[usize::from(tag)].thread else { return Ok(()) };
        let bytes = self.bytes(tag)?;
        self.tags[usize::from(tag)].hand = Hand::Armed;
        let buffers = self.buffers;
        let with = (bytes, Self::addr(self.copies, &buffers, tag));
        let came =
            self.send(threads, thread, IoCmdOp::CommitAndFetchReq.encoded(), tag, with, 0)?;
        came.into_iter().try_for_each(|completion| self.take(threads, completion))
    }

    fn bytes(&mut self, tag: u8) -> io::Result<i32> {
        let sectors = self.descriptor(tag)?.nr_sectors;
        Ok(i32::try_from(u64::from(sectors) * 512).unwrap_or(i32::MAX))
    }

    /// Commits every request whose thread lives.
    pub(super) fn answer_all(&mut self, threads: &mut Threads) -> io::Result<()> {
        self.look(threads)?;
        for tag in 0..self.queues * TAGS {
            let known = self.tags[usize::from(tag)];
            if known.hand == Hand::Owned && !known.wants {
                self.answer(threads, tag)?;
            }
        }
        Ok(())
    }

    /// The tag whose request is the model's read `slot`; 0 for none.
    fn tag_of(&mut self, threads: &mut Threads, slot: Option<u8>) -> io::Result<u8> {
        self.look(threads)?;
        let Some(slot) = slot else { return Ok(0) };
        for tag in 0..self.queues * TAGS {
            if self.tags[usize::from(tag)].hand == Hand::Owned
                && self.descriptor(tag)?.start_sector == MODEL_SECTOR + u64::from(slot) * 8
            {
                return Ok(tag);
            }
        }
        Err(io::Error::other("no tag has that request"))
    }

    /// A command that is answered at once, by `thread`.
    fn ask(
        &mut self,
        threads: &mut Threads,
        thread: u8,
        op: u32,
        tag: u8,
        with: (i32, Addr<'_>),
    ) -> io::Result<i32> {
        let mut result = None;
        for completion in self.send(threads, thread, op, tag, with, OWN)? {
            if completion.user_data & OWN != 0 && completion.res != -nix::libc::ENODEV {
                result = Some(completion.res);
            } else {
                self.take(threads, completion)?;
            }
        }
        result.ok_or_else(|| io::Error::other(format!("command {op:#x} is not answered at once")))
    }

    /// A commit by a thread that has not fetched the tag.
    pub(super) fn answer_wrong(&mut self, threads: &mut Threads, slot: u8) -> io::Result<i32> {
        let tag = self.tag_of(threads, Some(slot))?;
        let thread = self.tags[usize::from(tag)].thread.map_or(0, |thread| 1 - thread % 2);
        let bytes = self.bytes(tag)?;
        let buffers = self.buffers;
        let with = (bytes, Self::addr(self.copies, &buffers, tag));
        self.ask(threads, thread, IoCmdOp::CommitAndFetchReq.encoded(), tag, with)
    }

    /// pread or pwrite of a request's data.
    pub(super) fn copy(
        &mut self,
        threads: &mut Threads,
        slot: Option<u8>,
        write: bool,
    ) -> io::Result<i32> {
        let tag = self.tag_of(threads, slot)?;
        let (queue, tag) = (u16::from(tag / TAGS), u16::from(tag % TAGS));
        let place = UserCopyPos { queue, tag, offset_bytes: 0, integrity: false };
        let place = place.encode().ok_or_else(|| io::Error::other("no such place"))?;
        let mut bytes = vec![0; READ_BYTES];
        let file = self.file.file();
        let done =
            if write { file.write_at(&bytes, place) } else { file.read_at(&mut bytes, place) };
        match (done, write) {
            (Ok(count), _) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
            (Err(error), _) => error.raw_os_error().map(|errno| -errno).ok_or(error),
        }
    }

    /// NEED_GET_DATA.
    pub(super) fn get_data(&mut self, threads: &mut Threads, slot: Option<u8>) -> io::Result<i32> {
        let tag = self.tag_of(threads, slot)?;
        let thread = self.tags[usize::from(tag)].thread.unwrap_or(0);
        let buffers = self.buffers;
        let with = (0, Self::addr(self.copies, &buffers, tag));
        let result = self.ask(threads, thread, IoCmdOp::NeedGetData.encoded(), tag, with)?;
        self.tags[usize::from(tag)].wants &= result != IO_RES_OK;
        Ok(result)
    }

    /// A command of tag 0 that is not called for.
    pub(super) fn stray(&mut self, threads: &mut Threads, command: Stray) -> io::Result<i32> {
        self.look(threads)?;
        let thread = self.tags[0].thread.unwrap_or(0);
        let op = match command {
            Stray::Commit => IoCmdOp::CommitAndFetchReq.encoded(),
            Stray::Unknown => IoCmdOp::FetchReq.encoded() & !0xff | UNKNOWN,
        };
        let buffers = self.buffers;
        let with = (0, Self::addr(self.copies, &buffers, 0));
        self.ask(threads, thread, op, 0, with)
    }

    /// REGISTER_IO_BUF in the slot of that number.
    pub(super) fn register(&mut self, threads: &mut Threads, slot: Option<u8>) -> io::Result<i32> {
        let tag = self.tag_of(threads, slot)?;
        let thread = self.tags[usize::from(tag)].thread.unwrap_or(0);
        let index = slot.map_or(SLOTS - 1, u16::from);
        self.ask(threads, thread, IoCmdOp::RegisterIoBuf.encoded(), tag, (0, Addr::Small(index)))
    }

    /// UNREGISTER_IO_BUF of the slot of that number, by the thread that serves `queue`.
    pub(super) fn unregister(
        &mut self,
        threads: &mut Threads,
        slot: Option<u8>,
        queue: u8,
    ) -> io::Result<i32> {
        let tag = (queue % self.queues) * TAGS;
        let thread = self.tags[usize::from(tag)].thread.unwrap_or(0);
        let index = slot.map_or(SLOTS - 1, u16::from);
        self.ask(threads, thread, IoCmdOp::UnregisterIoBuf.encoded(), tag, (0, Addr::Small(index)))
    }

    /// The second thread ends: gives its ring away, and forgets whom its tags belong to.
    pub(super) fn leave_thread(&mut self) -> Option<RawRing> {
        for known in self.tags.iter_mut().filter(|known| known.thread == Some(1)) {
            known.thread = None;
            if known.hand == Hand::Armed {
                known.hand = Hand::Cancelled;
            }
        }
        self.rings[1].take()
    }

    pub(super) fn counts(&self) -> TagCounts {
        let count = |wanted| self.tags.iter().filter(|known| known.hand == wanted).count();
        TagCounts {
            armed: count(Hand::Armed),
            owned: count(Hand::Owned),
            cancelled: count(Hand::Cancelled),
        }
    }
}

/// On the thread that sends it.
fn push(ring: &mut RawRing, sqe: &RawSqe) -> io::Result<Vec<Completion>> {
    ring.push(sqe)?;
    ring.submit()?;
    ring.wait(0, Duration::ZERO)
}

impl AsFd for Served {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}
