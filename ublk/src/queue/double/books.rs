//! The driver's books about its tags: which has a command, which a request, and where the bytes of each
//! are when it is delivered and when it is committed.

use super::{Answered, Double, UNFILLED};
use crate::queue::{Completion, Descriptor, Transfer};
use crate::tag::Command;

impl Double {
    fn decoded(&self, slot: usize) -> Option<Descriptor> {
        Descriptor::from_wire(&self.slots[slot].descriptor)
    }

    pub(super) fn brings_data(&self, slot: usize) -> bool {
        self.decoded(slot).is_some_and(|descriptor| descriptor.brings_data())
    }

    /// How many of a request's bytes there is room for. A request that is longer is one that no driver
    /// sends, and is for the queue to refuse.
    fn data_len(&self, slot: usize) -> usize {
        let len = self.decoded(slot).map_or(0, |descriptor| descriptor.data_len_bytes());
        usize::try_from(len).unwrap_or(usize::MAX).min(self.buffer_len_bytes)
    }

    /// Copies a request's bytes into the server's buffer.
    pub(super) fn map(&mut self, slot: usize, len: usize) {
        let mut bytes = vec![0; len];
        let seen = self.pages.copy_out(slot as u32, 0, &mut bytes)
            && self.memory.copy_in(slot as u32, 0, &bytes);
        assert!(seen, "the buffer of slot {slot} is not to be had");
    }

    /// Copies the server's buffer into a request.
    pub(super) fn unmap(&mut self, slot: usize, len: usize) {
        let mut bytes = vec![0; len];
        let seen = self.memory.copy_out(slot as u32, 0, &mut bytes)
            && self.pages.copy_in(slot as u32, 0, &bytes);
        assert!(seen, "the buffer of slot {slot} is not to be had");
    }

    pub(super) fn take_commands(&mut self) {
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
                    let asked = self.get_data && self.brings_data(index);
                    assert!(asked, "nobody asked for a buffer");
                    self.map(index, self.data_len(index));
                    self.complete(index, 0);
                }
                Command::CommitAndFetch { result, append_sector } => {
                    self.take_answer(index, result, append_sector);
                }
            }
        }
    }

    fn take_answer(&mut self, index: usize, result: i32, append_sector: u64) {
        let len = self.data_len(index);
        let wants_data = self.decoded(index).is_some_and(|descriptor| descriptor.wants_data());
        if self.transfer == Transfer::Copy && wants_data {
            self.unmap(index, usize::try_from(result).unwrap_or(0).min(len));
        }
        let mut data = vec![0; len];
        assert!(self.pages.copy_out(index as u32, 0, &mut data), "pages are the kernel's");
        let slot = &mut self.slots[index];
        assert!(std::mem::take(&mut slot.busy), "COMMIT of a tag without a request");
        assert!(!slot.registered, "COMMIT while the pages are registered");
        let number = slot.number;
        self.answers.push(Answered { number, tag: index as u16, result, append_sector, data });
    }

    pub(super) fn deliver(&mut self) {
        let busy = self.slots.iter().filter(|slot| slot.busy).count();
        for _ in busy..self.batch {
            let free = self.slots.iter().position(|slot| slot.armed && !slot.busy);
            let Some(index) = free else { return };
            let Some(work) = self.work.pop_front() else { return };
            let slot = &mut self.slots[index];
            slot.descriptor = work.descriptor;
            slot.busy = true;
            slot.number = self.delivered;
            self.delivered += 1;
            let brings_data = self.brings_data(index);
            let mut data = vec![UNFILLED; self.data_len(index)];
            let brought = work.data.len().min(data.len());
            data[..brought].copy_from_slice(&work.data[..brought]);
            assert!(self.pages.copy_in(index as u32, 0, &data), "pages are the kernel's");
            let announced = self.get_data && brings_data;
            if self.transfer == Transfer::Copy && !announced {
                self.map(index, data.len());
            }
            self.complete(index, i32::from(announced));
        }
    }

    /// Nothing will happen any more: the device is stopped, or its server told to end.
    pub(super) fn end(&mut self) {
        if self.kill_at_end || !self.slots.iter().any(|slot| slot.armed) {
            self.completions.push_back(Completion::Watch);
            return;
        }
        for slot in 0..self.slots.len() {
            if self.slots[slot].armed {
                self.complete(slot, -libc::ENODEV);
            }
        }
    }
}
