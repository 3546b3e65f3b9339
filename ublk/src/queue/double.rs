//! A kernel in memory, to test the queue's logic without one: it keeps the same books as the driver and
//! panics when a queue breaks the protocol.

use std::collections::VecDeque;
use std::io;

use super::{Completion, Port};
use crate::tag::Command;
use crate::uapi::IoDesc;

/// What a request ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) tag: u16,
    pub(super) result: i32,
    /// The buffer at the time of the commit.
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
    buffer: Vec<u8>,
}

/// The double. Each wait delivers as much of its work as there are armed tags, or at most `batch`.
#[derive(Debug)]
pub(super) struct Double {
    slots: Vec<Slot>,
    queued: Vec<(u16, Command)>,
    completions: VecDeque<Completion>,
    pub(super) work: VecDeque<Work>,
    pub(super) answers: Vec<Answer>,
    pub(super) batch: usize,
    /// Refuse commands of this tag with this errno.
    pub(super) refuse: Option<(u16, i32)>,
    /// Cut the switch once the work is done, instead of aborting.
    pub(super) kill_at_end: bool,
    enters: u64,
}

impl Double {
    pub(super) fn new(depth: u16, buffer_len_bytes: usize) -> Self {
        let slot = || Slot {
            armed: false,
            busy: false,
            descriptor: IoDesc::default(),
            buffer: vec![0; buffer_len_bytes],
        };
        Self {
            slots: (0..depth).map(|_| slot()).collect(),
            queued: Vec::new(),
            completions: VecDeque::new(),
            work: VecDeque::new(),
            answers: Vec::new(),
            batch: usize::MAX,
            refuse: None,
            kill_at_end: false,
            enters: 0,
        }
    }

    fn take_commands(&mut self) {
        for (tag, command) in std::mem::take(&mut self.queued) {
            let slot = &mut self.slots[usize::from(tag)];
            if let Some((_, errno)) = self.refuse.filter(|(refused, _)| *refused == tag) {
                slot.armed = false;
                self.completions.push_back(Completion::Tag { tag, result: -errno });
                continue;
            }
            match command {
                Command::Fetch => assert!(!slot.busy, "FETCH of a tag that owes an answer"),
                Command::CommitAndFetch { result } => {
                    assert!(std::mem::take(&mut slot.busy), "COMMIT of a tag without a request");
                    self.answers.push(Answer { tag, result, data: slot.buffer.clone() });
                }
            }
        }
    }

    fn deliver(&mut self) {
        for _ in 0..self.batch {
            if self.work.is_empty() {
                return;
            }
            let free = self.slots.iter().position(|slot| slot.armed && !slot.busy);
            let Some(index) = free else { return };
            let Some(work) = self.work.pop_front() else { return };
            let slot = &mut self.slots[index];
            slot.buffer[..work.data.len()].copy_from_slice(&work.data);
            slot.descriptor = work.descriptor;
            slot.armed = false;
            slot.busy = true;
            self.completions.push_back(Completion::Tag { tag: index as u16, result: 0 });
        }
    }

    fn abort(&mut self) {
        for (tag, slot) in self.slots.iter_mut().enumerate() {
            if std::mem::take(&mut slot.armed) {
                let tag = tag as u16;
                self.completions.push_back(Completion::Tag { tag, result: -libc::ENODEV });
            }
        }
    }
}

impl Port for Double {
    fn push(&mut self, tag: u16, command: Command) -> io::Result<()> {
        let slot = &mut self.slots[usize::from(tag)];
        assert!(!slot.armed, "two commands in flight for tag {tag}");
        slot.armed = true;
        self.queued.push((tag, command));
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
            assert!(!self.completions.is_empty(), "the queue waits for ever");
        }
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    fn descriptor(&mut self, tag: u16) -> IoDesc {
        self.slots[usize::from(tag)].descriptor
    }

    fn buffer(&mut self, tag: u16, len_bytes: usize) -> Option<&mut [u8]> {
        let slot = &mut self.slots[usize::from(tag)];
        if slot.armed { None } else { slot.buffer.get_mut(..len_bytes) }
    }

    fn enters(&self) -> u64 {
        self.enters
    }
}
