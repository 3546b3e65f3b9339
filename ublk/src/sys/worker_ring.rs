//! The io_uring of one worker thread, and the only place where a buffer changes hands with the kernel.
//!
//! It serves slots: the tags of one queue, of several, or a share of them, each with its buffer and its
//! gate. A gate says whose turn it is (the kernel's, the queue's, a task's); a command takes the
//! buffer to the kernel, its completion brings it back, and it is given out only in between. With that,
//! everything above is safe code: whatever order it sends commands in, no slice of ours ever overlaps a
//! buffer the kernel may fill.
//!
//! Hot path: 64-byte entries, SINGLE_ISSUER with DEFER_TASKRUN and COOP_TASKRUN (completions come only
//! inside our own wait, no interrupt to another CPU), the character device as a fixed file and the ring
//! itself registered (no descriptor look-up per command and per enter).

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::Timespec;
use io_uring::{IoUring, cqueue};

use super::batch::{Batch, Element};
use super::buffers::TagBuffers;
use super::gate::{Gates, Holder, SharedBuffer};
use super::lane::{Lane, LaneSpec, Transfer};
use super::ring_calls;
use super::sqe64::{Place, Sqe64};
use super::user_data::{Kind, UserData};
use crate::tag::Command;
use crate::uapi::{AutoBufReg, AutoBufRegFlags, BatchFlags, IoCmd, IoCmdOp, UserCopyPos};

/// A kernel out of memory is asked again that many times before the error is passed on.
const ENTER_RETRIES_MAX: u32 = 1000;
/// Slots of one ring: the kernel's limit for registered buffers.
pub(crate) const SLOTS_MAX: usize = 1 << 14;
/// Submission entries at most; above it entries are submitted in between.
const SUBMISSIONS_MAX: u32 = 1 << 14;
const COMPLETIONS_MAX: u32 = 1 << 15;

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The command of a slot, and its result.
    Slot {
        /// The slot.
        slot: u32,
        /// The result.
        result: i32,
    },
    /// A task's operation, and its result.
    Operation {
        /// The slot.
        slot: u32,
        /// Which of its operations.
        index: u8,
        /// The result.
        result: i32,
    },
    /// The watched descriptor became readable or was hung up.
    Watch,
    /// The descriptor that wakes tasks became readable.
    Wake,
}

/// Something a task has the kernel do for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Moves bytes between the request and a file: from the file unless `write`.
    Transfer {
        /// To the file.
        write: bool,
        /// Which of the lane's files.
        file: u32,
        /// Where in the file.
        offset_bytes: u64,
        /// Where in the request.
        start_bytes: u32,
        /// How many bytes.
        len_bytes: u32,
        /// Durable on completion.
        dsync: bool,
        /// Register the request's pages first.
        register: bool,
    },
    /// Registers the request's pages.
    Register,
    /// Makes a file's bytes durable.
    Sync {
        /// Which of the lane's files.
        file: u32,
    },
    /// fallocate(2).
    Allocate {
        /// Which of the lane's files.
        file: u32,
        /// `FALLOC_FL_*`.
        mode: u32,
        /// Where.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
    },
    /// Completes after a while.
    Sleep {
        /// How long.
        duration: Duration,
    },
}

fn errno(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// The ring and the buffers of one worker. Made and used on one thread.
pub(crate) struct WorkerRing {
    ring: IoUring,
    /// Forgotten where the kernel may still write to their memory.
    lanes: ManuallyDrop<Vec<Lane>>,
    /// The lane of each slot.
    lane_of: Box<[u16]>,
    gates: Rc<Gates>,
    /// Completions that came several in one.
    unpacked: VecDeque<Completion>,
    /// What a sleep's entry points to until it is submitted, one per slot.
    timespecs: Box<[Timespec]>,
    /// The character device of each lane. Not in the lanes: what is forgotten must not keep it open.
    char_devices: Vec<OwnedFd>,
    has_batches: bool,
    /// The ring's number among the thread's registered rings, where the kernel gave one.
    registered: Option<u32>,
    enters: u64,
}

impl std::fmt::Debug for WorkerRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerRing")
            .field("slots", &self.lane_of.len())
            .field("with_kernel", &self.gates.total_with_kernel())
            .field("enters", &self.enters)
            .finish_non_exhaustive()
    }
}

impl WorkerRing {
    /// A ring for these lanes, on the calling thread.
    ///
    /// # Errors
    /// EINVAL for no slot or more than a ring can have; else what io_uring_setup(2) and
    /// io_uring_register(2) say. EINVAL from the former is a kernel before 6.1; EPERM one where io_uring
    /// is switched off.
    pub(crate) fn new(specs: &[LaneSpec<'_>]) -> io::Result<Self> {
        let slots: usize = specs.iter().map(|spec| usize::from(spec.tags.count)).sum();
        if slots == 0 || slots > SLOTS_MAX || specs.len() > usize::from(u16::MAX) {
            return Err(errno(libc::EINVAL));
        }
        // One entry more than slots, for the watch. A task's transfers come on top, and are submitted in
        // between when they do not fit.
        let submissions = (slots as u32 + 2).min(SUBMISSIONS_MAX);
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize((submissions * 2).min(COMPLETIONS_MAX))
            .dontfork()
            .build(submissions)?;
        let mut files = Vec::new();
        let mut char_devices = Vec::with_capacity(specs.len());
        let mut lanes = Vec::with_capacity(specs.len());
        let mut lane_of = Vec::with_capacity(slots);
        for (number, spec) in specs.iter().enumerate() {
            let char_device = files.len() as u32;
            char_devices.push(spec.char_device.try_clone_to_owned()?);
            files.push(spec.char_device.as_raw_fd());
            files.extend(spec.files.iter().map(AsRawFd::as_raw_fd));
            let first_slot = lane_of.len() as u32;
            lane_of.resize(lane_of.len() + usize::from(spec.tags.count), number as u16);
            lanes.push(Self::lane(&ring, spec, number as u16, first_slot, char_device)?);
        }
        ring.submitter().register_files(&files)?;
        if specs.iter().any(|spec| matches!(spec.transfer, Transfer::Registered { .. })) {
            ring.submitter().register_buffers_sparse(slots as u32)?;
        }
        Ok(Self {
            registered: ring_calls::register_ring_fd(&ring),
            ring,
            has_batches: specs.iter().any(|spec| spec.batch),
            lanes: ManuallyDrop::new(lanes),
            gates: Rc::new(Gates::new(slots)),
            unpacked: VecDeque::with_capacity(slots),
            timespecs: vec![Timespec::new(); slots].into_boxed_slice(),
            char_devices,
            lane_of: lane_of.into_boxed_slice(),
            enters: 0,
        })
    }

    fn lane(
        ring: &IoUring,
        spec: &LaneSpec<'_>,
        number: u16,
        first_slot: u32,
        char_device: u32,
    ) -> io::Result<Lane> {
        let batch = if spec.batch {
            let mut flags = BatchFlags::empty();
            if spec.transfer == Transfer::Copy {
                flags |= BatchFlags::HAS_BUF_ADDR;
            }
            if spec.zoned {
                flags |= BatchFlags::HAS_ZONE_LBA;
            }
            if matches!(spec.transfer, Transfer::Registered { auto: true, fallback: true, .. }) {
                flags |= BatchFlags::AUTO_BUF_REG_FALLBACK;
            }
            Some(Batch::new(ring, spec.queue, spec.depth, number, flags)?)
        } else {
            None
        };
        Ok(Lane {
            queue: spec.queue,
            tags: spec.tags,
            first_slot,
            buffers: Rc::new(TagBuffers::map(spec.tags.count, spec.buffer_len_bytes)?),
            transfer: spec.transfer,
            char_device,
            files: spec.files.len() as u32,
            batch,
        })
    }

    /// Asks for one [`Completion::Watch`] once `fd` is readable or hung up. The descriptor must stay
    /// open until the next submission.
    ///
    /// # Errors
    /// As [`submit_and_wait`](Self::submit_and_wait).
    pub(crate) fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let data = UserData::new(Kind::Watch, 0, 0).encode();
        self.push_entries(&[Sqe64::poll(fd.as_raw_fd(), data)])
    }

    /// Asks for one [`Completion::Wake`] once `fd` is readable, as [`watch`](Self::watch).
    ///
    /// # Errors
    /// As there.
    pub(crate) fn arm_wake(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let data = UserData::new(Kind::Wake, 0, 0).encode();
        self.push_entries(&[Sqe64::poll(fd.as_raw_fd(), data)])
    }

    fn lane_and_index(&self, slot: u32) -> Option<(usize, u16)> {
        let lane = usize::from(*self.lane_of.get(slot as usize)?);
        Some((lane, (slot - self.lanes.get(lane)?.first_slot) as u16))
    }

    /// Queues a command; it leaves with the next [`submit_and_wait`](Self::submit_and_wait). From now on
    /// the slot's buffer belongs to the kernel.
    ///
    /// # Errors
    /// EBUSY when a command of that slot is in flight or a task has it, EINVAL for no such slot.
    pub(crate) fn push(&mut self, slot: u32, command: Command) -> io::Result<()> {
        let (lane, index) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        if !self.gates.enter_kernel(slot, Holder::Queue) {
            return Err(errno(libc::EBUSY));
        }
        let pushed = if self.lanes[lane].batch.is_some() {
            self.push_element(lane, slot, index, command)
        } else {
            let sqe = Self::command(&self.lanes[lane], slot, index, command);
            self.push_entries(&[sqe])
        };
        if pushed.is_err() {
            self.gates.leave_kernel(slot);
        }
        pushed
    }

    fn command(lane: &Lane, slot: u32, index: u16, command: Command) -> Sqe64 {
        let (operation, result, append_sector) = match command {
            Command::Fetch => (IoCmdOp::FetchReq, 0, 0),
            Command::CommitAndFetch { result, append_sector } => {
                (IoCmdOp::CommitAndFetchReq, result, append_sector)
            }
            Command::GetData => (IoCmdOp::NeedGetData, 0, 0),
        };
        // The field is a buffer in copy mode and a sector otherwise; only without copies are there zones.
        let addr = match lane.transfer {
            Transfer::Copy => lane.address(index),
            Transfer::UserCopy | Transfer::Registered { .. } => append_sector,
        };
        let sqe_addr = match lane.transfer {
            Transfer::Registered { auto: true, fallback, .. } => AutoBufReg {
                index: slot as u16,
                flags: if fallback { AutoBufRegFlags::FALLBACK } else { AutoBufRegFlags::empty() },
                ..AutoBufReg::default()
            }
            .to_sqe_addr(),
            _ => 0,
        };
        let payload = IoCmd { q_id: lane.queue, tag: lane.tags.tag(index), result, addr };
        let data = UserData::new(Kind::Command, slot, 0).encode();
        Sqe64::io_cmd(lane.char_device, operation.encoded(), payload, sqe_addr, data)
    }

    fn push_element(
        &mut self,
        lane: usize,
        slot: u32,
        index: u16,
        command: Command,
    ) -> io::Result<()> {
        let (tag, addr) = (self.lanes[lane].tags.tag(index), self.lanes[lane].address(index));
        let mut element = Element { tag, command, addr, buf_index: slot as u16 };
        for _ in 0..ENTER_RETRIES_MAX {
            let Some(batch) = &mut self.lanes[lane].batch else { return Err(errno(libc::EINVAL)) };
            match batch.add(element) {
                Ok(()) => return Ok(()),
                // What is filled has to go first; its completion makes room.
                Err(back) => element = back,
            }
            self.flush_batches()?;
            self.enter_now()?;
            self.unpack_ready();
        }
        Err(errno(libc::EBUSY))
    }

    /// Starts an operation of the task that has the slot's turn.
    ///
    /// # Errors
    /// EBUSY when it is not a task's turn, EINVAL for a file or bytes that are not there, EOPNOTSUPP to
    /// register pages where the device has no zero copy.
    pub(crate) fn start(&mut self, slot: u32, index: u8, operation: Operation) -> io::Result<()> {
        let (lane, at) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        let data = UserData::new(Kind::Operation, slot, index).encode();
        let entries = self.entries(lane, slot, at, operation, data)?;
        if !self.gates.enter_kernel(slot, Holder::Task) {
            return Err(errno(libc::EBUSY));
        }
        let pushed = match entries {
            (Some(first), then) => self.push_entries(&[first, then]),
            (None, only) => self.push_entries(&[only]),
        };
        if pushed.is_err() {
            self.gates.leave_kernel(slot);
        }
        pushed
    }

    /// An operation's entry, and the one it follows.
    fn entries(
        &mut self,
        lane: usize,
        slot: u32,
        at: u16,
        operation: Operation,
        data: u64,
    ) -> io::Result<(Option<Sqe64>, Sqe64)> {
        let lane = &self.lanes[lane];
        let known = |file| lane.file(file).ok_or_else(|| errno(libc::EINVAL));
        Ok((
            None,
            match operation {
                Operation::Transfer {
                    write,
                    file,
                    offset_bytes,
                    start_bytes,
                    len_bytes,
                    dsync,
                    register,
                } => {
                    let end = u64::from(start_bytes) + u64::from(len_bytes);
                    let place = match lane.transfer {
                        Transfer::Registered { .. } => {
                            Place::Registered { index: slot as u16, offset: u64::from(start_bytes) }
                        }
                        Transfer::Copy | Transfer::UserCopy
                            if end <= lane.buffers.len_bytes() as u64 =>
                        {
                            let base =
                                lane.buffers.address(at).ok_or_else(|| errno(libc::EINVAL))?;
                            Place::Memory(base + u64::from(start_bytes))
                        }
                        Transfer::Copy | Transfer::UserCopy => return Err(errno(libc::EINVAL)),
                    };
                    let transfer = Sqe64::transfer(
                        write,
                        known(file)?,
                        offset_bytes,
                        place,
                        len_bytes,
                        dsync,
                        data,
                    );
                    let first = if register {
                        let quiet = UserData::new(Kind::Quiet, slot, 0).encode();
                        Some(Self::register_cmd(lane, slot, at, true, quiet)?.linked().quiet())
                    } else {
                        None
                    };
                    return Ok((first, transfer));
                }
                Operation::Register => Self::register_cmd(lane, slot, at, true, data)?,
                Operation::Sync { file } => Sqe64::sync(known(file)?, true, data),
                Operation::Allocate { file, mode, offset_bytes, len_bytes } => {
                    Sqe64::allocate(known(file)?, mode, offset_bytes, len_bytes, data)
                }
                Operation::Sleep { duration } => {
                    let timespec = &mut self.timespecs[slot as usize];
                    *timespec = Timespec::from(duration);
                    Sqe64::timeout((&raw const *timespec).addr() as u64, data)
                }
            },
        ))
    }

    fn register_cmd(
        lane: &Lane,
        slot: u32,
        at: u16,
        register: bool,
        data: u64,
    ) -> io::Result<Sqe64> {
        let Transfer::Registered { .. } = lane.transfer else {
            return Err(errno(libc::EOPNOTSUPP));
        };
        let op = if register { IoCmdOp::RegisterIoBuf } else { IoCmdOp::UnregisterIoBuf };
        let cmd =
            IoCmd { q_id: lane.queue, tag: lane.tags.tag(at), result: 0, addr: u64::from(slot) };
        Ok(Sqe64::io_cmd(lane.char_device, op.encoded(), cmd, 0, data))
    }

    /// Takes the request's pages out of the ring's table again. The request can be committed at once:
    /// the kernel ends it when both have happened.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn unregister(&mut self, slot: u32) -> io::Result<()> {
        let (lane, at) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        let data = UserData::new(Kind::Quiet, slot, 0).encode();
        let sqe = Self::register_cmd(&self.lanes[lane], slot, at, false, data)?.quiet();
        self.push_entries(&[sqe])
    }

    /// Pushes entries that belong together into one submission.
    fn push_entries(&mut self, sqes: &[Sqe64]) -> io::Result<()> {
        let room = {
            let submission = self.ring.submission();
            submission.capacity() - submission.len()
        };
        if room < sqes.len() {
            self.enter_now()?;
        }
        for sqe in sqes {
            // SAFETY: the memory an entry may name is: a slot's buffer, which lives until drop or for ever, and whose
            // gate keeps everybody else out until the entry has completed; an element buffer, which is filled again
            // only after that; provided buffers, which no reference points into; a timespec, which is read while
            // submitting. Registered buffers are the kernel's own.
            let pushed = unsafe { self.ring.submission().push(&sqe.entry()) };
            pushed.map_err(|_| errno(libc::EBUSY))?;
        }
        Ok(())
    }

    /// Makes a command of what each batch was filled with, and sees that each has a fetch.
    fn flush_batches(&mut self) -> io::Result<()> {
        for number in 0..self.lanes.len() {
            let lane = &mut self.lanes[number];
            let (file, Some(batch)) = (lane.char_device, &mut lane.batch) else { continue };
            let user_data =
                |index| UserData::new(Kind::Elements, number as u32, index as u8).encode();
            let filled = if batch.is_filled() { batch.take_filled(file, user_data) } else { None };
            let fetch =
                batch.take_fetch(file, UserData::new(Kind::Fetch, number as u32, 0).encode());
            for sqe in [filled, fetch].into_iter().flatten() {
                self.push_entries(&[sqe])?;
            }
        }
        Ok(())
    }

    /// Submits without waiting.
    fn enter_now(&mut self) -> io::Result<()> {
        self.enter_until(0)
    }

    /// Hands over what was queued and waits until `want` completions are there. One system call, unless
    /// a signal or a kernel short of memory wants it repeated.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub(crate) fn submit_and_wait(&mut self, want: u32) -> io::Result<()> {
        if self.has_batches {
            self.flush_batches()?;
        }
        self.enter_until(if self.unpacked.is_empty() { want } else { 0 })
    }

    fn enter_until(&mut self, want: u32) -> io::Result<()> {
        let mut retries = 0;
        loop {
            let queued = self.ring.submission().len();
            let ready = self.ring.completion().len();
            if queued == 0 && want > 0 && ready >= want as usize {
                return Ok(());
            }
            self.enters += 1;
            // SAFETY: the entries keep the promise given in `push_entries`.
            let entered = unsafe {
                ring_calls::enter(&self.ring, self.registered, queued as libc::c_uint, want)
            };
            match entered {
                Ok(()) if self.ring.submission().is_empty() => return Ok(()),
                Ok(()) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY) if retries < ENTER_RETRIES_MAX => {
                        retries += 1;
                        std::thread::yield_now();
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// Takes one completion. With it the slot's buffer is ours again.
    pub(crate) fn next_completion(&mut self) -> Option<Completion> {
        if let Some(unpacked) = self.unpacked.pop_front() {
            return Some(unpacked);
        }
        loop {
            let next = self.ring.completion().next();
            let entry = next?;
            if let Some(completion) = self.take(&entry) {
                return Some(completion);
            }
            if let Some(unpacked) = self.unpacked.pop_front() {
                return Some(unpacked);
            }
        }
    }

    /// Takes in what is there without giving any of it out.
    fn unpack_ready(&mut self) {
        loop {
            let next = self.ring.completion().next();
            let Some(entry) = next else { return };
            if let Some(completion) = self.take(&entry) {
                self.unpacked.push_back(completion);
            }
        }
    }

    fn take(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let UserData { kind, number, index } = UserData::decode(entry.user_data())?;
        let result = entry.result();
        match kind {
            Kind::Command => {
                self.gates.leave_kernel(number);
                Some(Completion::Slot { slot: number, result })
            }
            Kind::Operation => {
                self.gates.leave_kernel(number);
                Some(Completion::Operation { slot: number, index, result })
            }
            Kind::Watch => Some(Completion::Watch),
            Kind::Wake => Some(Completion::Wake),
            Kind::Quiet => None,
            Kind::Fetch => {
                self.take_fetch(number as usize, entry);
                None
            }
            Kind::Elements => {
                self.take_elements(number as usize, index, result);
                None
            }
        }
    }

    fn take_fetch(&mut self, lane: usize, entry: &cqueue::Entry) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let Some(batch) = &mut lane.batch else { return };
        let result = entry.result();
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            for tag in batch.delivered(buffer, usize::try_from(result).unwrap_or(0)) {
                let Some(index) = lane.tags.index(tag) else { continue };
                let slot = lane.first_slot + u32::from(index);
                self.gates.leave_kernel(slot);
                self.unpacked.push_back(Completion::Slot { slot, result: 0 });
            }
        }
        if cqueue::more(entry.flags()) {
            return;
        }
        batch.fetching = false;
        // No buffer was free for a moment; the next submission fetches again.
        if result >= 0 || result == -libc::ENOBUFS {
            return;
        }
        batch.ended = true;
        for index in 0..lane.tags.count {
            let slot = lane.first_slot + u32::from(index);
            // One whose commit is still under way ends when that has come back.
            if self.gates.is_with_kernel(slot) && !batch.is_pending(lane.tags.tag(index)) {
                self.gates.leave_kernel(slot);
                self.unpacked.push_back(Completion::Slot { slot, result });
            }
        }
    }

    fn take_elements(&mut self, lane: usize, buffer: u8, result: i32) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let Some(batch) = &mut lane.batch else { return };
        let ended = batch.ended;
        let handled = batch.handled(usize::from(buffer), result);
        let slot_of = |tag| lane.tags.index(tag).map(|index| lane.first_slot + u32::from(index));
        let aborted = handled.taken.iter().filter(|_| ended).map(|tag| (*tag, -libc::ENODEV));
        for (tag, result) in aborted.chain(handled.refused) {
            let Some(slot) = slot_of(tag) else { continue };
            self.gates.leave_kernel(slot);
            self.unpacked.push_back(Completion::Slot { slot, result });
        }
    }

    /// The first `len_bytes` of a slot's buffer; none while it is not the queue's turn, or where it is
    /// shorter.
    pub(crate) fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]> {
        if !self.gates.is_queues(slot) {
            return None;
        }
        let (lane, index) = self.lane_and_index(slot)?;
        let mut place = self.lanes[lane].buffers.place(index, len_bytes)?;
        // SAFETY: mapped and initialised as long as the ring lives. The gate says that the kernel has no entry that
        // names these bytes and no task may look at them; both can change only through `&mut self`, which the slice
        // borrows.
        Some(unsafe { place.as_mut() })
    }

    /// A task's way to the slot's buffer, which opens in its turn.
    pub(crate) fn shared_buffer(&self, slot: u32) -> Option<SharedBuffer> {
        let (lane, index) = self.lane_and_index(slot)?;
        let buffers = Rc::clone(&self.lanes[lane].buffers);
        Some(SharedBuffer::new(buffers, index, Rc::clone(&self.gates), slot))
    }

    /// Gives the slot's turn to its task, or takes it back; not while anything is under way.
    pub(crate) fn pass_to(&mut self, slot: u32, holder: Holder) -> bool {
        self.gates.pass_to(slot, holder)
    }

    /// Brings a request's bytes into its slot's buffer, or the buffer's into the request, through the
    /// character device.
    ///
    /// # Errors
    /// What pread(2) or pwrite(2) on it says; EBUSY when it is not the queue's turn, EINVAL for bytes
    /// that are not there, EIO for fewer than the request has.
    pub(crate) fn user_copy(
        &mut self,
        slot: u32,
        len_bytes: usize,
        to_request: bool,
    ) -> io::Result<()> {
        let (lane, index) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        let char_device = self.char_devices[lane].as_raw_fd();
        let position = UserCopyPos {
            queue: self.lanes[lane].queue,
            tag: self.lanes[lane].tags.tag(index),
            offset_bytes: 0,
            integrity: false,
        };
        let mut position = position.encode().ok_or_else(|| errno(libc::EINVAL))? as libc::off_t;
        if !self.gates.is_queues(slot) {
            return Err(errno(libc::EBUSY));
        }
        let mut rest = self.buffer(slot, len_bytes).ok_or_else(|| errno(libc::EINVAL))?;
        while !rest.is_empty() {
            let moved = super::retry_eintr(|| {
                // SAFETY: `rest` is a slice of ours for the length of the call, and the descriptor is the lane's.
                let moved = unsafe {
                    let at = rest.as_mut_ptr().cast::<libc::c_void>();
                    if to_request {
                        libc::pwrite(char_device, at, rest.len(), position)
                    } else {
                        libc::pread(char_device, at, rest.len(), position)
                    }
                };
                usize::try_from(moved).map_err(|_| io::Error::last_os_error())
            })?;
            if moved == 0 {
                return Err(errno(libc::EIO));
            }
            rest = &mut rest[moved..];
            position += moved as libc::off_t;
        }
        Ok(())
    }

    /// Completions that can be taken without waiting.
    pub(crate) fn ready(&mut self) -> usize {
        self.ring.completion().len() + self.unpacked.len()
    }

    /// How often the kernel was entered so far.
    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }
}

impl Drop for WorkerRing {
    fn drop(&mut self) {
        if let Some(offset) = self.registered.take() {
            ring_calls::unregister_ring_fd(&self.ring, offset);
        }
        let batches_busy =
            self.lanes.iter().filter_map(|lane| lane.batch.as_ref()).any(Batch::is_busy);
        if self.gates.total_with_kernel() == 0 && !batches_busy {
            // Closing the ring drops its files later, in a worker; DEL_DEV waits for that. With
            // commands in flight older kernels would wait here for them, so then it is left to them.
            let _ = self.ring.submitter().unregister_files();
            // SAFETY: dropped once, here, and not used afterwards. No entry names their memory.
            unsafe { ManuallyDrop::drop(&mut self.lanes) };
        }
        // Otherwise the mappings are forgotten: the kernel cancels commands after the ring was closed, and
        // until then may fill a buffer at an address that by then could be someone else's.
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::queue::KillSwitch;
    use crate::sys::lane::TagSet;

    /// A ring over a file that answers any command at once; none where io_uring is not to be had.
    fn ring(depth: u16, files: Vec<BorrowedFd<'_>>) -> Option<WorkerRing> {
        let file = File::options().read(true).write(true).open("/dev/null").unwrap();
        let spec = LaneSpec {
            char_device: file.as_fd(),
            queue: 0,
            depth,
            tags: TagSet::all(depth),
            buffer_len_bytes: 4096,
            transfer: Transfer::Copy,
            batch: false,
            zoned: false,
            files,
        };
        match WorkerRing::new(&[spec]) {
            Ok(ring) => Some(ring),
            Err(error) => {
                eprintln!("skipped: no io_uring here: {error}");
                None
            }
        }
    }

    const COMMIT: Command = Command::CommitAndFetch { result: 0, append_sector: 0 };

    #[test]
    fn a_buffer_is_ours_except_while_its_command_is_with_the_kernel() {
        let Some(mut ring) = ring(4, vec![]) else { return };
        assert!(ring.registered.is_some());
        ring.buffer(2, 4096).unwrap().fill(7);
        ring.push(2, Command::Fetch).unwrap();
        assert!(ring.buffer(2, 1).is_none());
        assert!(ring.buffer(1, 1).is_some());
        assert_eq!(ring.push(2, Command::Fetch).unwrap_err().raw_os_error(), Some(libc::EBUSY));
        assert_eq!(ring.push(4, Command::Fetch).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        ring.submit_and_wait(1).unwrap();
        assert!(matches!(ring.next_completion(), Some(Completion::Slot { slot: 2, .. })));
        assert_eq!(ring.next_completion(), None);
        assert_eq!(ring.buffer(2, 4096).unwrap(), [7; 4096]);
        assert_eq!(ring.enters(), 1);
    }

    #[test]
    fn a_full_queue_fits_the_ring_and_costs_one_enter() {
        let Some(mut ring) = ring(4096, vec![]) else { return };
        for slot in 0..4096 {
            ring.push(slot, COMMIT).unwrap();
        }
        ring.submit_and_wait(4096).unwrap();
        let mut seen = vec![false; 4096];
        while let Some(completion) = ring.next_completion() {
            let Completion::Slot { slot, .. } = completion else { panic!("{completion:?}") };
            assert!(!std::mem::replace(&mut seen[slot as usize], true), "slot {slot} twice");
        }
        assert!(seen.iter().all(|seen| *seen));
        assert_eq!(ring.enters(), 1);
    }

    #[test]
    fn a_task_moves_its_bytes_between_file_and_buffer() {
        let file = tempfile::tempfile().unwrap();
        let Some(mut ring) = ring(2, vec![file.as_fd()]) else { return };
        let shared = ring.shared_buffer(1).unwrap();
        let transfer = |write, start_bytes, register| Operation::Transfer {
            write,
            file: 0,
            offset_bytes: 512,
            start_bytes,
            len_bytes: 1024,
            dsync: write,
            register,
        };
        // It is not a task's turn yet.
        let early = ring.start(1, 0, transfer(true, 0, false)).unwrap_err();
        assert_eq!(early.raw_os_error(), Some(libc::EBUSY));
        assert!(ring.pass_to(1, Holder::Task));
        shared.look(1024, |bytes| bytes.fill(3)).unwrap();
        ring.start(1, 5, transfer(true, 0, false)).unwrap();
        assert!(shared.look(1, |_| ()).is_none() && ring.buffer(1, 1).is_none());
        ring.submit_and_wait(1).unwrap();
        let done = Completion::Operation { slot: 1, index: 5, result: 1024 };
        assert_eq!(ring.next_completion(), Some(done));
        ring.start(1, 0, transfer(false, 2048, false)).unwrap();
        ring.start(1, 1, Operation::Sync { file: 0 }).unwrap();
        ring.start(1, 2, Operation::Sleep { duration: Duration::from_millis(1) }).unwrap();
        let mut results = [i32::MAX; 3];
        // A timeout that fires ends any wait.
        while results.contains(&i32::MAX) {
            ring.submit_and_wait(1).unwrap();
            while let Some(Completion::Operation { index, result, .. }) = ring.next_completion() {
                results[usize::from(index)] = result;
            }
        }
        assert_eq!(results, [1024, 0, -libc::ETIME]);
        let seen = shared.look(4096, |bytes| (bytes[2047], bytes[2048], bytes[3071], bytes[3072]));
        assert_eq!(seen, Some((0, 3, 3, 0)));
        // What is not there is refused before the kernel sees it, and leaves no count behind.
        for wrong in [
            transfer(false, 4096 - 1023, false),
            transfer(false, 0, true),
            Operation::Sync { file: 1 },
            Operation::Register,
        ] {
            assert!(ring.start(1, 0, wrong).is_err(), "{wrong:?}");
        }
        assert!(ring.pass_to(1, Holder::Queue));
        assert!(ring.buffer(1, 4096).is_some());
    }

    #[test]
    fn a_cut_switch_wakes_a_ring_that_waits() {
        let Some(mut ring) = ring(1, vec![]) else { return };
        let switch = KillSwitch::new().unwrap();
        ring.watch(switch.watched()).unwrap();
        ring.submit_and_wait(0).unwrap();
        assert_eq!(ring.next_completion(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| switch.cut());
            ring.submit_and_wait(1).unwrap();
        });
        assert_eq!(ring.next_completion(), Some(Completion::Watch));
    }

    #[test]
    fn no_slots_and_too_many_are_refused() {
        assert!(WorkerRing::new(&[]).is_err());
    }
}
