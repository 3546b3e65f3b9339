//! The io_uring of one worker thread, and the only place where a buffer changes hands with the kernel.
//!
//! It serves slots: the tags of one queue, of several, or a share of them, each with its buffer and its
//! gate. A gate says whose turn it is (the kernel's, the queue's, a task's); a command takes the
//! buffer to the kernel, its completion brings it back, and it is given out only in between. With that,
//! everything above is safe code: whatever order it sends commands in, no slice of ours ever overlaps a
//! buffer the kernel may fill.
//!
//! Hot path: 64-byte entries, SINGLE_ISSUER with DEFER_TASKRUN and COOP_TASKRUN (completions come only
//! inside our own wait, no interrupt to another CPU) and a flag for those that wait for us, the character device as a fixed file and the ring
//! itself registered (no descriptor look-up per command and per enter).

mod bytes;
mod commands;
mod completions;
mod operation;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use io_uring::IoUring;
use io_uring::types::Timespec;

pub use completions::Completion;
pub(crate) use operation::Operation;

use super::batch::Batch;
use super::buffers::TagBuffers;
use super::common::CommonTags;
use super::gate::Gates;
use super::lane::{Lane, LaneSpec, TagSet, Transfer};
use super::ring_calls;
use super::sqe64::Sqe64;
use super::user_data::{Kind, UserData};
use crate::uapi::BatchFlags;

/// A kernel out of memory is asked again that many times before the error is passed on.
const ENTER_RETRIES_MAX: u32 = 1000;
/// How long rings that share a queue wait for each other's part of it to be prepared.
const PREPARE_LIMIT: Duration = Duration::from_secs(5);
/// Slots of one ring: the kernel's limit for registered buffers.
pub(crate) const SLOTS_MAX: usize = 1 << 14;
/// Submission entries at most; above it entries are submitted in between.
const SUBMISSIONS_MAX: u32 = 1 << 14;
const COMPLETIONS_MAX: u32 = 1 << 15;

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
    /// The count of enters when each was last written: until the next one it must stay as it is.
    timespecs_at: Box<[u64]>,
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
            .setup_taskrun_flag()
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
            let places = if specs.iter().any(|spec| spec.rotate) { 2 } else { 1 };
            ring.submitter().register_buffers_sparse(slots as u32 * places)?;
        }
        let gates = Rc::new(Gates::new(slots));
        for (spec, lane) in specs.iter().zip(&lanes) {
            let Some((common, own)) = &spec.common else { continue };
            Self::share_tags(common, *own, lane, &gates)?;
        }
        Ok(Self {
            registered: ring_calls::register_ring_fd(&ring),
            ring,
            has_batches: specs.iter().any(|spec| spec.batch),
            lanes: ManuallyDrop::new(lanes),
            gates,
            unpacked: VecDeque::with_capacity(slots),
            timespecs: vec![Timespec::new(); slots].into_boxed_slice(),
            timespecs_at: vec![u64::MAX; slots].into_boxed_slice(),
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
            let takes_turns = spec.common.is_some();
            Some(Batch::new(ring, spec.queue, spec.depth, number, flags, takes_turns)?)
        } else {
            None
        };
        let buffers = match &spec.common {
            Some((common, _)) => common.buffers(spec.buffer_len_bytes, spec.metadata_len_bytes)?,
            None => Arc::new(TagBuffers::map_with_metadata(
                spec.tags.count,
                spec.buffer_len_bytes,
                spec.metadata_len_bytes,
            )?),
        };
        let places = if spec.rotate { usize::from(spec.tags.count) } else { 0 };
        Ok(Lane {
            queue: spec.queue,
            tags: spec.tags,
            first_slot,
            buffers,
            common: spec.common.as_ref().map(|(common, _)| Arc::clone(common)),
            second_place: vec![false; places],
            transfer: spec.transfer,
            char_device,
            files: spec.files.len() as u32,
            shared: Arc::clone(&spec.shared),
            batch,
        })
    }

    /// Takes the tags that this ring is to prepare. All others are the kernel's or another ring's.
    fn share_tags(common: &CommonTags, own: TagSet, lane: &Lane, gates: &Gates) -> io::Result<()> {
        for index in 0..lane.tags.count {
            let tag = lane.tags.tag(index);
            if own.index(tag).is_none() {
                gates.begin_with_kernel(lane.first_slot + u32::from(index));
            } else if !common.take(tag) {
                return Err(errno(libc::EBUSY));
            }
        }
        Ok(())
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

    /// Pushes entries that belong together into one submission.
    fn push_entries(&mut self, sqes: &[Sqe64]) -> io::Result<()> {
        if self.room() < sqes.len() {
            self.enter_now()?;
        }
        let mut submission = self.ring.submission();
        for sqe in sqes {
            // SAFETY: the memory an entry may name is: a slot's buffer, which lives until drop or for ever, and whose
            // gate keeps everybody else out until the entry has completed; shared memory, which lives as long and which
            // nothing in this process refers into; an element buffer, which is filled again
            // only after that; provided buffers, which no reference points into; a timespec, which is read while
            // submitting. Registered buffers are the kernel's own.
            let pushed = unsafe { submission.push(&sqe.entry()) };
            pushed.map_err(|_| errno(libc::EBUSY))?;
        }
        Ok(())
    }

    /// Entries that fit before the next submission.
    fn room(&mut self) -> usize {
        let submission = self.ring.submission();
        submission.capacity() - submission.len()
    }

    /// Makes a command of what each batch was filled with, and sees that each has a fetch. How many
    /// completions that alone will bring: a command with elements completes while it is submitted.
    fn flush_batches(&mut self, about_to_wait: bool) -> io::Result<u32> {
        let mut at_once = 0;
        for number in 0..self.lanes.len() {
            let lane = &mut self.lanes[number];
            let (file, Some(batch)) = (lane.char_device, &mut lane.batch) else { continue };
            let user_data =
                |index| UserData::new(Kind::Elements, number as u32, index as u8).encode();
            // Where rings share a queue, a fetch has to come after what all of them prepare.
            let may_fetch = match &lane.common {
                Some(common) if batch.is_first_fetch() && about_to_wait => {
                    common.wait_prepared(PREPARE_LIMIT);
                    true
                }
                Some(_) => batch.has_fetched(),
                None => true,
            };
            let filled = if batch.is_filled() { batch.take_filled(file, user_data) } else { None };
            let fetch_data = UserData::new(Kind::Fetch, number as u32, 0).encode();
            let fetch = if may_fetch { batch.take_fetch(file, fetch_data) } else { None };
            at_once += u32::from(filled.is_some());
            for sqe in [filled, fetch].into_iter().flatten() {
                self.push_entries(&[sqe])?;
            }
        }
        Ok(at_once)
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
        let at_once = if self.has_batches { self.flush_batches(want > 0)? } else { 0 };
        let waits = want > 0 && self.unpacked.is_empty();
        self.enter_until(if waits { want + at_once } else { 0 })
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
                // What was not taken goes again: an entry that failed ends a submission early.
                Ok(taken) if taken >= queued => return Ok(()),
                Ok(_) => {}
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

    /// Completions that can be taken without waiting.
    pub(crate) fn ready(&mut self) -> usize {
        if self.has_batches {
            // Not each of the kernel's is one of ours.
            self.unpack_ready();
        }
        self.ring.completion().len() + self.unpacked.len()
    }

    /// Whether the kernel has something that it will only complete when it is entered.
    pub(crate) fn has_pending(&mut self) -> bool {
        self.ring.submission().taskrun()
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
mod tests;
