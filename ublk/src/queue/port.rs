//! The seam between the logic of a worker and what carries it: the kernel, or a double in tests.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::linger::Linger;
use super::{Completion, MetadataShape};
use crate::sys::desc::DescArea;
use crate::sys::gate::{Holder, SharedBuffer};
use crate::sys::lane::TagSet;
use crate::sys::worker_ring::{Operation, WorkerRing};
use crate::tag::Command;
use crate::uapi::{IoDesc, ShmemAddr};

/// What a [`Worker`](super::Worker) needs below it. A slot is a tag of one of the queues it serves.
pub trait Port {
    /// Queues a command for the next submission.
    ///
    /// # Errors
    /// As the ring says.
    fn push(&mut self, slot: u32, command: Command) -> io::Result<()>;

    /// Submits what is queued and waits for `want` completions.
    ///
    /// # Errors
    /// As the ring says.
    fn submit_and_wait(&mut self, want: u32) -> io::Result<()>;

    /// The next completion that is there.
    fn next_completion(&mut self) -> Option<Completion>;

    /// A copy of a slot's descriptor. Meant only between its completion and its commit.
    fn descriptor(&mut self, slot: u32) -> IoDesc;

    /// A slot's buffer; none while somebody else has it, or where it is shorter than `len_bytes`.
    fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]>;

    /// Moves bytes between a slot's buffer and its request, where the kernel does not.
    ///
    /// # Errors
    /// As the character device says.
    fn user_copy(&mut self, slot: u32, len_bytes: usize, to_request: bool) -> io::Result<()>;

    /// Whether a request of that length can be reached in shared memory. Never, unless the port has some.
    fn reaches_shared(&self, slot: u32, at: ShmemAddr, len_bytes: u64) -> bool {
        let _ = (slot, at, len_bytes);
        false
    }

    /// Copies between a slot's buffer and shared memory.
    ///
    /// # Errors
    /// EFAULT for memory that is not there.
    fn shared_copy(
        &mut self,
        slot: u32,
        at: ShmemAddr,
        len_bytes: usize,
        to_request: bool,
    ) -> io::Result<()> {
        let _ = (slot, at, len_bytes, to_request);
        Err(io::Error::from_raw_os_error(libc::EFAULT))
    }

    /// The metadata of a slot's device; none without.
    fn metadata_shape(&self, slot: u32) -> Option<MetadataShape> {
        let _ = slot;
        None
    }

    /// A slot's buffer, and the place for its metadata; none while somebody else has them, or where one is shorter.
    fn buffers(
        &mut self,
        slot: u32,
        len_bytes: usize,
        metadata_len_bytes: usize,
    ) -> Option<(&mut [u8], &mut [u8])> {
        let buffer = self.buffer(slot, len_bytes)?;
        (metadata_len_bytes == 0).then_some((buffer, &mut []))
    }

    /// Moves metadata between its place beside a slot's buffer and its request, which only this does.
    ///
    /// # Errors
    /// As the character device says; EOPNOTSUPP from a port that knows no metadata.
    fn metadata_copy(&mut self, slot: u32, len_bytes: usize, to_request: bool) -> io::Result<()> {
        let _ = (slot, len_bytes, to_request);
        Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }

    /// Completions that are there.
    fn ready(&mut self) -> usize;

    /// How often the kernel was entered.
    fn enters(&self) -> u64;

    /// Starts an operation of a slot's task.
    ///
    /// # Errors
    /// As the ring says.
    fn start(&mut self, slot: u32, index: u8, operation: Operation) -> io::Result<()>;

    /// Takes a request's pages out of the ring's table.
    ///
    /// # Errors
    /// As the ring says.
    fn unregister(&mut self, slot: u32) -> io::Result<()>;

    /// A task's way to its slot's buffer.
    fn shared_buffer(&mut self, slot: u32) -> Option<SharedBuffer>;

    /// Gives a slot's turn to its task or takes it back; not while something is under way.
    fn pass_to(&mut self, slot: u32, holder: Holder) -> bool;

    /// Asks for one [`Completion::Wake`] when the descriptor is readable.
    ///
    /// # Errors
    /// As the ring says.
    fn arm_wake(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;
}

/// The descriptors of one lane.
#[derive(Debug)]
pub(super) struct LaneDescriptors {
    pub(super) area: DescArea,
    pub(super) tags: TagSet,
    pub(super) first_slot: u32,
    pub(super) metadata: Option<MetadataShape>,
}

/// Queues of real devices.
#[derive(Debug)]
pub struct KernelPort {
    pub(super) ring: WorkerRing,
    pub(super) lanes: Vec<LaneDescriptors>,
    /// The lane of each slot.
    pub(super) lane_of: Box<[u16]>,
    pub(super) linger: Linger,
}

impl KernelPort {
    /// Submits, lets others run once where nothing came, and sleeps where nothing comes then.
    fn submit_and_linger(&mut self, want: u32) -> io::Result<()> {
        self.ring.submit_and_wait(0)?;
        if self.ring.ready() > 0 {
            self.linger.paid();
            return Ok(());
        }
        if self.ring.has_pending() {
            self.linger.paid();
            return self.ring.submit_and_wait(want);
        }
        let begin = self.linger.looks().then(Instant::now);
        std::thread::yield_now();
        let elapsed = begin.map(|begin| begin.elapsed());
        let paid = self.ring.has_pending();
        if paid {
            self.linger.paid();
        } else {
            self.linger.was_in_vain();
        }
        self.ring.submit_and_wait(want)?;
        if let (true, Some(elapsed)) = (paid, elapsed) {
            self.linger.took(elapsed, self.ring.ready());
        }
        Ok(())
    }
}

impl Port for KernelPort {
    fn push(&mut self, slot: u32, command: Command) -> io::Result<()> {
        self.ring.push(slot, command)
    }

    fn submit_and_wait(&mut self, want: u32) -> io::Result<()> {
        if want > 0 && self.linger.is_due() {
            return self.submit_and_linger(want);
        }
        self.ring.submit_and_wait(want)
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.ring.next_completion()
    }

    fn descriptor(&mut self, slot: u32) -> IoDesc {
        let lane = &self.lanes[usize::from(self.lane_of[slot as usize])];
        lane.area.copy_out(lane.tags.tag((slot - lane.first_slot) as u16))
    }

    fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]> {
        self.ring.buffer(slot, len_bytes)
    }

    fn user_copy(&mut self, slot: u32, len_bytes: usize, to_request: bool) -> io::Result<()> {
        self.ring.user_copy(slot, len_bytes, to_request)
    }

    fn reaches_shared(&self, slot: u32, at: ShmemAddr, len_bytes: u64) -> bool {
        self.ring.reaches_shared(slot, at, len_bytes)
    }

    fn shared_copy(
        &mut self,
        slot: u32,
        at: ShmemAddr,
        len_bytes: usize,
        to_request: bool,
    ) -> io::Result<()> {
        self.ring.shared_copy(slot, at, len_bytes, to_request)
    }

    fn metadata_shape(&self, slot: u32) -> Option<MetadataShape> {
        self.lanes[usize::from(self.lane_of[slot as usize])].metadata
    }

    fn buffers(
        &mut self,
        slot: u32,
        len_bytes: usize,
        metadata_len_bytes: usize,
    ) -> Option<(&mut [u8], &mut [u8])> {
        self.ring.buffers(slot, len_bytes, metadata_len_bytes)
    }

    fn metadata_copy(&mut self, slot: u32, len_bytes: usize, to_request: bool) -> io::Result<()> {
        self.ring.metadata_copy(slot, len_bytes, to_request)
    }

    fn ready(&mut self) -> usize {
        self.ring.ready()
    }

    fn enters(&self) -> u64 {
        self.ring.enters()
    }

    fn start(&mut self, slot: u32, index: u8, operation: Operation) -> io::Result<()> {
        self.ring.start(slot, index, operation)
    }

    fn unregister(&mut self, slot: u32) -> io::Result<()> {
        self.ring.unregister(slot)
    }

    fn shared_buffer(&mut self, slot: u32) -> Option<SharedBuffer> {
        self.ring.shared_buffer(slot)
    }

    fn pass_to(&mut self, slot: u32, holder: Holder) -> bool {
        self.ring.pass_to(slot, holder)
    }

    fn arm_wake(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.arm_wake(fd)
    }
}
