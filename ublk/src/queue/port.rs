//! The seam between the logic of a worker and what carries it: the kernel, or a double in tests.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::Completion;
use super::linger::Linger;
use crate::sys::desc::DescArea;
use crate::sys::gate::{Holder, SharedBuffer};
use crate::sys::lane::TagSet;
use crate::sys::worker_ring::{Operation, WorkerRing};
use crate::tag::Command;
use crate::uapi::IoDesc;

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
