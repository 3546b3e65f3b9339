//! A driver in memory: the other [`Port`], for testing a queue or a target without a kernel. It keeps the
//! same books as the driver and panics when a queue breaks the protocol; what it cannot know is asked of
//! it by whoever gives it work.

mod backing;
mod books;
mod operations;
mod waiting;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use backing::Backing;
use waiting::{Bell, Sleeper};

use super::worker::Lane;
use super::{Completion, Port, QueueCounters, QueueError, TagSet, Transfer, Worker};
use crate::sys::gate::{Holder, SharedBuffer};
use crate::sys::memory::Memory;
use crate::sys::worker_ring::Operation;
use crate::tag::Command;
use crate::uapi::IoDesc;

/// What the pages of a read hold before anybody fills them: not zeroes, which would look right.
pub(crate) const UNFILLED: u8 = 0xee;

/// What a request ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Which of the work it was.
    pub(crate) number: usize,
    pub(crate) tag: u16,
    pub(crate) result: i32,
    pub(crate) append_sector: u64,
    /// The request's bytes at the time of the commit.
    pub(crate) data: Vec<u8>,
}

/// A request to deliver: the descriptor, and the bytes it brings.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) descriptor: IoDesc,
    pub(crate) data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Slot {
    /// With the kernel since the last submission.
    armed: bool,
    busy: bool,
    descriptor: IoDesc,
    number: usize,
    /// The request's pages are in the ring's table, by hand.
    registered: bool,
}

/// The double. Each wait delivers as much of its work as there are armed tags, so that at most `batch`
/// requests are with the server. With the last answer it stops the device.
#[derive(Debug)]
pub(crate) struct Double {
    slots: Vec<Slot>,
    /// The server's buffers, and whose turn it is with each.
    memory: Memory,
    /// The requests' own pages, which nobody but the kernel sees.
    pages: Memory,
    buffer_len_bytes: usize,
    pub(crate) transfer: Transfer,
    /// Announces each write before it delivers it.
    pub(crate) get_data: bool,
    /// What transfers read and write.
    pub(crate) files: Vec<Backing>,
    /// The most that one transfer moves.
    pub(crate) transfer_max_bytes: usize,
    queued: Vec<(u32, Command)>,
    completions: VecDeque<Completion>,
    pub(crate) work: VecDeque<Work>,
    delivered: usize,
    pub(crate) answers: Vec<Answered>,
    pub(crate) batch: usize,
    /// Refuse commands of this slot with this errno.
    pub(crate) refuse: Option<(u32, i32)>,
    /// Cut the switch once the work is done, instead of stopping the device.
    pub(crate) kill_at_end: bool,
    sleepers: Vec<Sleeper>,
    bell: Option<Bell>,
    /// How long it waits for a task to go on; then it cuts the switch.
    pub(crate) patience: Duration,
    /// Operations that were carried out.
    #[cfg(test)]
    pub(crate) operations: Vec<Operation>,
    enters: u64,
}

impl Double {
    /// A device with one queue, whose buffers are as long as its largest request.
    ///
    /// # Errors
    /// As mmap(2).
    pub(crate) fn new(depth: u16, buffer_len_bytes: u32) -> io::Result<Self> {
        Ok(Self {
            slots: (0..depth).map(|_| Slot::default()).collect(),
            memory: Memory::new(depth, buffer_len_bytes)?,
            pages: Memory::new(depth, buffer_len_bytes)?,
            buffer_len_bytes: buffer_len_bytes as usize,
            transfer: Transfer::Copy,
            get_data: false,
            files: Vec::new(),
            transfer_max_bytes: usize::MAX,
            queued: Vec::new(),
            completions: VecDeque::new(),
            work: VecDeque::new(),
            delivered: 0,
            answers: Vec::new(),
            batch: usize::MAX,
            refuse: None,
            kill_at_end: false,
            sleepers: Vec::new(),
            bell: None,
            patience: Duration::from_secs(10),
            #[cfg(test)]
            operations: Vec::new(),
            enters: 0,
        })
    }

    /// A worker that serves this device, with nothing fetched.
    pub(crate) fn worker(self, queue: u16, counters: Arc<QueueCounters>) -> Worker<Self> {
        let transfer = self.transfer;
        let tags = TagSet::all(self.slots.len() as u16);
        let lane = Lane {
            queue,
            tags,
            fetches: tags,
            first_slot: 0,
            transfer,
            counters,
            ignores_data: false,
            extents: false,
        };
        Worker::with_port(self, vec![lane])
    }

    /// Lets a worker serve all of the work, and gives the answers in the order in which they came. Work
    /// that is not among them was never answered.
    ///
    /// # Errors
    /// [`QueueError`] other than the kill that ends a wait without hope.
    pub(crate) fn run(
        self,
        counters: Arc<QueueCounters>,
        serve: impl FnOnce(&mut Worker<Self>) -> Result<(), QueueError>,
    ) -> Result<Vec<Answered>, QueueError> {
        let mut worker = self.worker(0, counters);
        match worker.fetch_all().and_then(|()| serve(&mut worker)) {
            Ok(()) | Err(QueueError::Killed { .. }) => Ok(std::mem::take(&mut worker.port.answers)),
            Err(error) => Err(error),
        }
    }

    fn complete(&mut self, slot: usize, result: i32) {
        self.slots[slot].armed = false;
        self.memory.gates.leave_kernel(slot as u32);
        self.completions.push_back(Completion::Slot { slot: slot as u32, result });
    }
}

impl Port for Double {
    fn push(&mut self, slot: u32, command: Command) -> io::Result<()> {
        assert!(
            self.memory.gates.enter_kernel(slot, Holder::Queue),
            "two commands in flight for slot {slot}"
        );
        self.slots[slot as usize].armed = true;
        self.queued.push((slot, command));
        Ok(())
    }

    fn submit_and_wait(&mut self, want: u32) -> io::Result<()> {
        self.enters += 1;
        self.take_commands();
        if want > 0 && self.completions.is_empty() {
            self.deliver();
            if self.completions.is_empty() {
                self.wait()?;
            }
            assert!(!self.completions.is_empty(), "the worker waits for ever");
        }
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    fn descriptor(&mut self, slot: u32) -> IoDesc {
        self.slots[slot as usize].descriptor
    }

    fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]> {
        self.memory.buffer(slot, len_bytes)
    }

    fn buffers(
        &mut self,
        slot: u32,
        len_bytes: usize,
        metadata_len_bytes: usize,
    ) -> Option<(&mut [u8], &mut [u8])> {
        self.memory.buffers(slot, len_bytes, metadata_len_bytes)
    }

    fn user_copy(&mut self, slot: u32, len_bytes: usize, to_request: bool) -> io::Result<()> {
        assert!(self.memory.gates.is_queues(slot) && self.slots[slot as usize].busy);
        assert_eq!(to_request, !self.brings_data(slot as usize), "the wrong direction is EACCES");
        if to_request {
            self.unmap(slot as usize, len_bytes);
        } else {
            self.map(slot as usize, len_bytes);
        }
        Ok(())
    }

    fn ready(&mut self) -> usize {
        self.completions.len()
    }

    fn enters(&self) -> u64 {
        self.enters
    }

    fn start(&mut self, slot: u32, index: u8, operation: Operation) -> io::Result<()> {
        self.check_operation(operation)?;
        assert!(self.memory.gates.enter_kernel(slot, Holder::Task), "an operation out of turn");
        #[cfg(test)]
        self.operations.push(operation);
        if let Operation::Sleep { duration } = operation {
            self.sleepers.push(Sleeper::new(slot, index, duration));
            return Ok(());
        }
        let result = match self.operate(slot as usize, operation) {
            Ok(moved) => i32::try_from(moved).unwrap_or(i32::MAX),
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        };
        self.memory.gates.leave_kernel(slot);
        self.completions.push_back(Completion::Operation { slot, index, result });
        Ok(())
    }

    fn unregister(&mut self, slot: u32) -> io::Result<()> {
        assert!(std::mem::take(&mut self.slots[slot as usize].registered), "nothing is registered");
        Ok(())
    }

    fn shared_buffer(&mut self, slot: u32) -> Option<SharedBuffer> {
        self.memory.shared(slot)
    }

    fn pass_to(&mut self, slot: u32, holder: Holder) -> bool {
        self.memory.pass_to(slot, holder)
    }

    fn arm_wake(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Bell::arm(&mut self.bell, fd)
    }
}
