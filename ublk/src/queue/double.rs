//! A kernel in memory, to test the queue's logic without one: it keeps the same books as the driver and
//! panics when a queue breaks the protocol.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;

use super::{Completion, Port};
use crate::sys::gate::{Holder, SharedBuffer};
use crate::sys::lane::Transfer;
use crate::sys::memory::Memory;
use crate::sys::worker_ring::Operation;
use crate::tag::Command;
use crate::uapi::IoDesc;

/// What a request ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) tag: u16,
    pub(super) result: i32,
    pub(super) append_sector: u64,
    /// The request's bytes at the time of the commit.
    pub(super) data: Vec<u8>,
}

/// A request to deliver: the descriptor, and the bytes the kernel copies in before.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) descriptor: IoDesc,
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    /// With the kernel since the last submission.
    armed: bool,
    busy: bool,
    descriptor: IoDesc,
    /// The request's own bytes, where they do not go through the buffer by themselves.
    data: Vec<u8>,
    /// They are in the ring's table.
    registered: bool,
}

/// The double. Each wait delivers as much of its work as there are armed tags, or at most `batch`.
#[derive(Debug)]
pub(super) struct Double {
    slots: Vec<Slot>,
    memory: Memory,
    buffer_len_bytes: usize,
    pub(super) transfer: Transfer,
    /// Announces each write before it delivers it.
    pub(super) get_data: bool,
    /// What transfers read and write.
    pub(super) files: Vec<Vec<u8>>,
    /// The most that one transfer moves.
    pub(super) transfer_max_bytes: usize,
    queued: Vec<(u32, Command)>,
    completions: VecDeque<Completion>,
    pub(super) work: VecDeque<Work>,
    pub(super) answers: Vec<Answered>,
    pub(super) batch: usize,
    /// Refuse commands of this tag with this errno.
    pub(super) refuse: Option<(u32, i32)>,
    /// Cut the switch once the work is done, instead of aborting.
    pub(super) kill_at_end: bool,
    /// Operations that the kernel carried out.
    pub(super) operations: Vec<Operation>,
    enters: u64,
}

impl Double {
    pub(super) fn new(depth: u16, buffer_len_bytes: usize) -> Self {
        let slot = || Slot {
            armed: false,
            busy: false,
            descriptor: IoDesc::default(),
            data: Vec::new(),
            registered: false,
        };
        Self {
            slots: (0..depth).map(|_| slot()).collect(),
            memory: Memory::new(depth, buffer_len_bytes as u32).unwrap(),
            buffer_len_bytes,
            transfer: Transfer::Copy,
            get_data: false,
            files: Vec::new(),
            transfer_max_bytes: usize::MAX,
            queued: Vec::new(),
            completions: VecDeque::new(),
            work: VecDeque::new(),
            answers: Vec::new(),
            batch: usize::MAX,
            refuse: None,
            kill_at_end: false,
            operations: Vec::new(),
            enters: 0,
        }
    }

    /// The kernel's own access to a buffer: whole, for the double may copy more than a request needs.
    fn fill(&mut self, slot: usize, start: usize, bytes: &[u8]) {
        assert!(
            self.memory.copy_in(slot as u32, start, bytes),
            "the buffer of slot {slot} is not to be had"
        );
    }

    fn see(&mut self, slot: usize, start: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(
            self.memory.copy_out(slot as u32, start, &mut bytes),
            "the buffer of slot {slot} is not to be had"
        );
        bytes
    }

    fn is_write(&self, slot: usize) -> bool {
        self.slots[slot].descriptor.op_flags & 0xff == 1
    }

    fn complete(&mut self, slot: usize, result: i32) {
        self.slots[slot].armed = false;
        self.memory.gates.leave_kernel(slot as u32);
        self.completions.push_back(Completion::Slot { slot: slot as u32, result });
    }

    fn take_commands(&mut self) {
        for (slot, command) in std::mem::take(&mut self.queued) {
            let index = slot as usize;
            if let Some((_, errno)) = self.refuse.filter(|(refused, _)| *refused == slot) {
                self.complete(index, -errno);
                continue;
            }
            match command {
                Command::Fetch => {
                    assert!(!self.slots[index].busy, "FETCH of a tag that owes an answer");
                }
                Command::GetData => {
                    assert!(self.get_data && self.is_write(index), "nobody asked for a buffer");
                    let data = self.slots[index].data.clone();
                    self.fill(index, 0, &data);
                    self.complete(index, 0);
                }
                Command::CommitAndFetch { result, append_sector } => {
                    let slot = &mut self.slots[index];
                    assert!(std::mem::take(&mut slot.busy), "COMMIT of a tag without a request");
                    assert!(!slot.registered, "COMMIT while the pages are registered");
                    let data = match self.transfer {
                        Transfer::Copy => self.see(index, 0, self.buffer_len_bytes),
                        _ => std::mem::take(&mut slot.data),
                    };
                    let tag = index as u16;
                    self.answers.push(Answered { tag, result, append_sector, data });
                }
            }
        }
    }

    fn deliver(&mut self) {
        for _ in 0..self.batch {
            let free = self.slots.iter().position(|slot| slot.armed && !slot.busy);
            let Some(index) = free else { return };
            let Some(work) = self.work.pop_front() else { return };
            let slot = &mut self.slots[index];
            slot.descriptor = work.descriptor;
            slot.busy = true;
            let is_write = work.descriptor.op_flags & 0xff == 1;
            let announced = self.get_data && is_write;
            if self.transfer == Transfer::Copy && !announced {
                self.fill(index, 0, &work.data);
            } else {
                let len = if is_write { 0 } else { (work.descriptor.nr_sectors as usize) << 9 };
                slot.data = work.data;
                slot.data.resize(slot.data.len().max(len.min(self.buffer_len_bytes)), 0xee);
            }
            self.complete(index, i32::from(announced));
        }
    }

    fn abort(&mut self) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].armed {
                self.complete(slot, -libc::ENODEV);
            }
        }
    }

    /// Carries an operation out.
    fn operate(&mut self, slot: usize, operation: Operation) -> i32 {
        self.operations.push(operation);
        let Operation::Transfer {
            write, file, offset_bytes, start_bytes, len_bytes, register, ..
        } = operation
        else {
            if operation == Operation::Register {
                assert!(!self.slots[slot].registered, "registered twice");
                self.slots[slot].registered = true;
            }
            return if matches!(operation, Operation::Sleep { .. }) { -libc::ETIME } else { 0 };
        };
        let registered = matches!(self.transfer, Transfer::Registered { .. });
        if register {
            assert!(registered && !self.slots[slot].registered, "registered twice");
            self.slots[slot].registered = true;
        }
        if matches!(self.transfer, Transfer::Registered { auto: false, .. })
            && !self.slots[slot].registered
        {
            return -libc::EFAULT;
        }
        let mut file_bytes = std::mem::take(&mut self.files[file as usize]);
        let offset = (offset_bytes as usize).min(file_bytes.len());
        let start = start_bytes as usize;
        let len = (len_bytes as usize).min(self.transfer_max_bytes).min(file_bytes.len() - offset);
        let in_file = &mut file_bytes[offset..offset + len];
        match (write, registered) {
            (true, true) => in_file.copy_from_slice(&self.slots[slot].data[start..start + len]),
            (true, false) => in_file.copy_from_slice(&self.see(slot, start, len)),
            (false, true) => self.slots[slot].data[start..start + len].copy_from_slice(in_file),
            (false, false) => self.fill(slot, start, in_file),
        }
        self.files[file as usize] = file_bytes;
        len as i32
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
            if self.work.is_empty() {
                if self.kill_at_end {
                    self.completions.push_back(Completion::Watch);
                } else {
                    self.abort();
                }
            } else {
                self.deliver();
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
        let index = slot as usize;
        let mut data = std::mem::take(&mut self.slots[index].data);
        assert_eq!(to_request, !self.is_write(index), "the wrong direction is EACCES");
        if to_request {
            data[..len_bytes].copy_from_slice(&self.see(index, 0, len_bytes));
        } else {
            self.fill(index, 0, &data[..len_bytes]);
        }
        self.slots[index].data = data;
        Ok(())
    }

    fn ready(&mut self) -> usize {
        self.completions.len()
    }

    fn enters(&self) -> u64 {
        self.enters
    }

    fn start(&mut self, slot: u32, index: u8, operation: Operation) -> io::Result<()> {
        assert!(self.memory.gates.enter_kernel(slot, Holder::Task), "an operation out of turn");
        let result = self.operate(slot as usize, operation);
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

    fn arm_wake(&mut self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
}
