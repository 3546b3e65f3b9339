//! The memory of batch commands, of one queue: elements on their way to the kernel, and the buffers in
//! which it delivers tags.
//!
//! An element names a tag's buffer, so an element buffer the kernel may still read must not change and
//! must not be freed; each is used by one command at a time, and all of them are forgotten, with the
//! tags' own buffers, when a ring ends before its commands.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;

use super::buffers::TagBuffers;
use super::sqe64::Sqe64;
use crate::tag::Command;
use crate::uapi::{BatchFlags, BatchIo, ElemHeader, FETCH_ELEM_BYTES, IoCmdOp, MAX_TAGS_PER_FETCH};

/// Completions with tags that can be under way before any is taken.
const FETCH_BUFFERS: u16 = 16;
/// The same, where several rings wait for the tags of a queue. The driver gives all of them to the one that asked
/// first, until that one has no room left; so each gives itself little, and stands in line again when it is used up.
const TURN_BUFFERS: u16 = 4;
/// Element buffers of one queue. One is with the kernel for the length of a submission, so two do.
const ELEM_BUFFERS_MAX: usize = 8;

/// What a tag's element says beside its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub(super) tag: u16,
    pub(super) command: Command,
    /// Where the next request's bytes go, or come from.
    pub(super) addr: u64,
    /// Where its pages are registered.
    pub(super) buf_index: u16,
}

/// Elements of one command.
#[derive(Debug)]
struct ElemBuffer {
    words: Vec<u64>,
    tags: Vec<u16>,
    commits: bool,
    with_kernel: bool,
}

/// What became of a command with elements.
#[derive(Debug)]
pub(super) struct Handled<'a> {
    /// Tags that the kernel took.
    pub(super) taken: &'a [u16],
    /// The tag it stopped at, and why.
    pub(super) refused: Option<(u16, i32)>,
    /// They were prepared, and not answered.
    pub(super) preparation: bool,
}

/// The batch side of one queue.
#[derive(Debug)]
pub(super) struct Batch {
    queue: u16,
    flags: BatchFlags,
    buffers: Vec<ElemBuffer>,
    filling: Option<usize>,
    fetch: FetchBuffers,
    /// A PREP_IO_CMDS was sent. A fetch before it is refused where the device is being taken over.
    prepared: bool,
    /// The first fetch was sent.
    fetched: bool,
    /// A FETCH_IO_CMDS is with the kernel.
    pub(super) fetching: bool,
    /// The kernel has ended the queue.
    pub(super) ended: bool,
}

impl Batch {
    /// Registers the buffers that tags are delivered in, as a group of that number.
    pub(super) fn new(
        ring: &IoUring,
        queue: u16,
        depth: u16,
        group: u16,
        flags: BatchFlags,
        takes_turns: bool,
    ) -> io::Result<Self> {
        let buffer = || ElemBuffer {
            words: Vec::with_capacity(usize::from(depth) * usize::from(flags.elem_bytes() / 8)),
            tags: Vec::with_capacity(usize::from(depth)),
            commits: false,
            with_kernel: false,
        };
        Ok(Self {
            queue,
            flags,
            buffers: (0..ELEM_BUFFERS_MAX).map(|_| buffer()).collect(),
            filling: None,
            fetch: FetchBuffers::register(ring, group, takes_turns)?,
            prepared: false,
            fetched: false,
            fetching: false,
            ended: false,
        })
    }

    /// Adds a tag to the command that is being filled. Gives the element back where it fits none now:
    /// then what is filled has to be submitted first.
    pub(super) fn add(&mut self, element: Element) -> Result<(), Element> {
        let commits = matches!(element.command, Command::CommitAndFetch { .. });
        let index = match self.filling {
            Some(index) if self.buffers[index].commits == commits => index,
            Some(_) => return Err(element),
            None => {
                let idle = self.buffers.iter().position(|buffer| !buffer.with_kernel);
                let Some(index) = idle else { return Err(element) };
                self.filling = Some(index);
                let buffer = &mut self.buffers[index];
                buffer.words.clear();
                buffer.tags.clear();
                buffer.commits = commits;
                index
            }
        };
        let buffer = &mut self.buffers[index];
        if buffer.tags.len() == buffer.tags.capacity() {
            // A tag is in one element at a time, so this cannot be; and growing would move what the kernel reads.
            return Err(element);
        }
        let (result, append_sector) = match element.command {
            Command::CommitAndFetch { result, append_sector } => (result, append_sector),
            Command::Fetch | Command::GetData => (0, 0),
        };
        let header = ElemHeader { tag: element.tag, buf_index: element.buf_index, result };
        buffer.words.push(zerocopy::transmute!(header));
        if self.flags.contains(BatchFlags::HAS_BUF_ADDR) {
            buffer.words.push(element.addr);
        }
        if self.flags.contains(BatchFlags::HAS_ZONE_LBA) {
            buffer.words.push(append_sector);
        }
        buffer.tags.push(element.tag);
        Ok(())
    }

    /// Whether there is a command to send.
    pub(super) fn is_filled(&self) -> bool {
        self.filling.is_some()
    }

    /// The command for what was added; from now on the kernel has it. Gives the element buffer's number.
    pub(super) fn take_filled(
        &mut self,
        file: u32,
        user_data: impl FnOnce(usize) -> u64,
    ) -> Option<Sqe64> {
        let index = self.filling.take()?;
        let buffer = &mut self.buffers[index];
        buffer.with_kernel = true;
        let op = if buffer.commits { IoCmdOp::CommitIoCmds } else { IoCmdOp::PrepIoCmds };
        self.prepared |= !buffer.commits;
        let batch = BatchIo {
            q_id: self.queue,
            flags: self.flags,
            nr_elem: buffer.tags.len() as u16,
            elem_bytes: self.flags.elem_bytes(),
            ..BatchIo::default()
        };
        let addr = buffer.words.as_ptr().addr() as u64;
        Some(Sqe64::batch(file, op.encoded(), batch, addr, user_data(index)))
    }

    /// FETCH_IO_CMDS, where the tags are prepared, none is with the kernel and the queue has not ended.
    pub(super) fn take_fetch(&mut self, file: u32, user_data: u64) -> Option<Sqe64> {
        if self.fetching || self.ended || !self.prepared {
            return None;
        }
        self.fetching = true;
        self.fetched = true;
        let batch =
            BatchIo { q_id: self.queue, elem_bytes: FETCH_ELEM_BYTES, ..BatchIo::default() };
        let sqe = Sqe64::batch(file, IoCmdOp::FetchIoCmds.encoded(), batch, 0, user_data);
        Some(sqe.multishot(self.fetch.group))
    }

    /// Whether the next fetch is the first, of a ring whose part is prepared.
    pub(super) fn is_first_fetch(&self) -> bool {
        self.prepared && !self.fetched
    }

    /// Whether a fetch was sent before.
    pub(super) fn has_fetched(&self) -> bool {
        self.fetched
    }

    /// A fetch came to its end; the next finds its buffers provided.
    pub(super) fn fetch_ended(&mut self) {
        self.fetching = false;
        self.fetch.provide_spent();
    }

    /// A command with elements came back.
    pub(super) fn handled(&mut self, index: usize, result: i32) -> Handled<'_> {
        let elem_bytes = i32::from(self.flags.elem_bytes());
        let Some(buffer) = self.buffers.get_mut(index) else {
            return Handled { taken: &[], refused: None, preparation: false };
        };
        buffer.with_kernel = false;
        // A preparation is all or nothing, and answers 0 or an error; a commit says how many bytes of elements
        // it took.
        let count = match result {
            0 if !buffer.commits => buffer.tags.len(),
            _ => usize::try_from(result / elem_bytes).unwrap_or(0).min(buffer.tags.len()),
        };
        let (taken, rest) = buffer.tags.split_at(count);
        // A commit that stopped half-way says where and not why; what it did not reach cannot be told
        // from what it refused, so the first of them stands for all.
        let refused = rest.first().map(|tag| (*tag, if result < 0 { result } else { -libc::EIO }));
        Handled { taken, refused, preparation: !buffer.commits }
    }

    /// Whether a tag is in a command that has not come back.
    pub(super) fn is_pending(&self, tag: u16) -> bool {
        let filling = self.filling;
        let pending = |(index, buffer): (usize, &ElemBuffer)| {
            (buffer.with_kernel || filling == Some(index)) && buffer.tags.contains(&tag)
        };
        self.buffers.iter().enumerate().any(pending)
    }

    /// Whether the kernel may still read or write memory of this batch.
    pub(super) fn is_busy(&self) -> bool {
        self.fetching || self.buffers.iter().any(|buffer| buffer.with_kernel)
    }

    /// The tags a fetch brought.
    pub(super) fn delivered(
        &mut self,
        buffer: u16,
        len_bytes: usize,
    ) -> impl Iterator<Item = u16> + use<> {
        self.fetch.take(buffer, len_bytes)
    }
}

/// A ring of provided buffers for tags, in one page: its entries first, then the buffers.
#[derive(Debug)]
struct FetchBuffers {
    page: TagBuffers,
    group: u16,
    tail: u16,
    takes_turns: bool,
    /// Buffers that wait for the next turn.
    spent: Vec<u16>,
}

/// `struct io_uring_buf`.
const ENTRY_BYTES: usize = 16;
/// Where the tail is: in what the first entry does not use.
const TAIL_AT: usize = 14;
const BUFFER_BYTES: usize = MAX_TAGS_PER_FETCH * 2;
const BUFFERS_AT: usize = 256;
const PAGE_BYTES: usize = BUFFERS_AT + FETCH_BUFFERS as usize * BUFFER_BYTES;

const _: () =
    assert!(FETCH_BUFFERS.is_power_of_two() && FETCH_BUFFERS as usize * ENTRY_BYTES <= BUFFERS_AT);

impl FetchBuffers {
    fn register(ring: &IoUring, group: u16, takes_turns: bool) -> io::Result<Self> {
        let page = TagBuffers::map(1, PAGE_BYTES as u32)?;
        let count = if takes_turns { TURN_BUFFERS } else { FETCH_BUFFERS };
        let spent = Vec::with_capacity(usize::from(count));
        let mut buffers = Self { page, group, tail: 0, takes_turns, spent };
        let base = buffers.base()?.as_ptr().addr() as u64;
        // SAFETY: the page is mapped until drop, which comes after the ring's, or never: the ring's owner forgets its
        // batches where commands are left. No reference points into it.
        unsafe { ring.submitter().register_buf_ring_with_flags(base, FETCH_BUFFERS, group, 0)? };
        for buffer in 0..count {
            buffers.provide(buffer);
        }
        Ok(buffers)
    }

    fn provide_spent(&mut self) {
        while let Some(buffer) = self.spent.pop() {
            self.provide(buffer);
        }
    }

    fn base(&self) -> io::Result<NonNull<u8>> {
        let place = self.page.place(0, PAGE_BYTES).map(NonNull::cast);
        place.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    }

    /// Gives a buffer to the kernel.
    fn provide(&mut self, buffer: u16) {
        let Ok(base) = self.base() else { return };
        let entry_at = usize::from(self.tail % FETCH_BUFFERS) * ENTRY_BYTES;
        self.tail = self.tail.wrapping_add(1);
        let at = BUFFERS_AT + usize::from(buffer) * BUFFER_BYTES;
        // SAFETY: all places are inside of the page by the constants' assertion, and aligned to their types. The entry
        // is the kernel's only once the tail has passed it; the tail is the last two bytes of the first entry, which
        // the two stores before it leave alone.
        unsafe {
            let addr = base.as_ptr().add(at).addr() as u64;
            base.add(entry_at).cast::<u64>().write_volatile(addr);
            base.add(entry_at + 8).cast::<u32>().write_volatile(BUFFER_BYTES as u32);
            base.add(entry_at + 12).cast::<u16>().write_volatile(buffer);
            AtomicU16::from_ptr(base.add(TAIL_AT).cast().as_ptr())
                .store(self.tail, Ordering::Release);
        }
    }

    /// Copies the tags out and gives the buffer back.
    fn take(&mut self, buffer: u16, len_bytes: usize) -> impl Iterator<Item = u16> + use<> {
        let count =
            if buffer < FETCH_BUFFERS { (len_bytes / 2).min(MAX_TAGS_PER_FETCH) } else { 0 };
        let mut tags = [0_u16; MAX_TAGS_PER_FETCH];
        if let Ok(base) = self.base()
            && count > 0
        {
            let at = BUFFERS_AT + usize::from(buffer) * BUFFER_BYTES;
            // SAFETY: inside of the page, aligned, and ours: its completion said that the kernel is done with it.
            unsafe {
                base.add(at)
                    .cast::<u16>()
                    .copy_to_nonoverlapping(NonNull::from(&mut tags).cast(), count);
            };
            if self.takes_turns {
                self.spent.push(buffer);
            } else {
                self.provide(buffer);
            }
        }
        tags.into_iter().take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(flags: BatchFlags) -> Option<Batch> {
        let ring = match IoUring::new(8) {
            Ok(ring) => ring,
            Err(error) => {
                eprintln!("skipped: no io_uring here: {error}");
                return None;
            }
        };
        Some(Batch::new(&ring, 2, 4, 0, flags, false).unwrap())
    }

    fn commit(tag: u16) -> Element {
        let command = Command::CommitAndFetch { result: 512, append_sector: 9 };
        Element { tag, command, addr: 0x1000, buf_index: tag }
    }

    #[test]
    fn elements_have_the_layout_their_flags_say() {
        let Some(mut batch) = batch(BatchFlags::HAS_BUF_ADDR | BatchFlags::HAS_ZONE_LBA) else {
            return;
        };
        batch.add(commit(3)).unwrap();
        let words = &batch.buffers[0].words;
        assert_eq!(words[..], [3 | 3 << 16 | 512 << 32, 0x1000, 9]);
        assert!(batch.take_filled(0, |index| index as u64).is_some());
        assert!(!batch.is_filled());
    }

    #[test]
    fn a_buffer_with_the_kernel_is_not_filled_again() {
        let Some(mut batch) = batch(BatchFlags::empty()) else { return };
        for _ in 0..ELEM_BUFFERS_MAX {
            batch.add(commit(0)).unwrap();
            batch.take_filled(0, |index| index as u64).unwrap();
        }
        assert!(batch.add(commit(1)).is_err());
        assert_eq!(batch.handled(5, 8).taken, [0]);
        batch.add(commit(1)).unwrap();
        assert_eq!(batch.filling, Some(5));
        // Another kind of command needs a buffer of its own.
        assert!(batch.add(Element { command: Command::Fetch, ..commit(2) }).is_err());
    }

    #[test]
    fn a_command_that_stopped_half_way_names_the_tag() {
        let Some(mut batch) = batch(BatchFlags::empty()) else { return };
        for tag in 0..3 {
            batch.add(commit(tag)).unwrap();
        }
        batch.take_filled(0, |_| 0).unwrap();
        let handled = batch.handled(0, 16);
        assert_eq!((handled.taken, handled.refused), (&[0, 1][..], Some((2, -libc::EIO))));
        batch.add(commit(0)).unwrap();
        batch.take_filled(0, |_| 0).unwrap();
        assert_eq!(batch.handled(0, -libc::EBUSY).refused, Some((0, -libc::EBUSY)));
    }

    #[test]
    fn a_preparation_is_all_or_nothing() {
        let Some(mut batch) = batch(BatchFlags::empty()) else { return };
        for (result, expected) in [(0, (2, None)), (-libc::EBUSY, (0, Some((0, -libc::EBUSY))))] {
            for tag in 0..2 {
                batch.add(Element { command: Command::Fetch, ..commit(tag) }).unwrap();
            }
            batch.take_filled(0, |_| 0).unwrap();
            let handled = batch.handled(0, result);
            assert_eq!((handled.taken.len(), handled.refused), expected, "{result}");
        }
    }

    #[test]
    fn one_fetch_at_a_time_and_none_after_the_end() {
        let Some(mut batch) = batch(BatchFlags::empty()) else { return };
        assert!(batch.take_fetch(0, 0).is_none(), "nothing is prepared");
        batch.add(Element { command: Command::Fetch, ..commit(0) }).unwrap();
        batch.take_filled(0, |_| 0).unwrap();
        assert!(batch.take_fetch(0, 0).is_some());
        assert!(batch.take_fetch(0, 0).is_none());
        batch.fetching = false;
        batch.ended = true;
        assert!(batch.take_fetch(0, 0).is_none());
    }
}
