//! What a ring brings: one thing at a time, whatever the kernel made one completion of. With it a slot's
//! buffer is ours again.

use io_uring::cqueue;

use super::WorkerRing;
use crate::sys::gate::Gates;
use crate::sys::user_data::{Kind, UserData};

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

impl WorkerRing {
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
    pub(super) fn unpack_ready(&mut self) {
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
        let is_common = lane.common.is_some();
        let Some(batch) = &mut lane.batch else { return };
        let result = entry.result();
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            for tag in batch.delivered(buffer, usize::try_from(result).unwrap_or(0)) {
                let Some(index) = lane.tags.index(tag) else { continue };
                let slot = lane.first_slot + u32::from(index);
                if lane.common.as_ref().is_some_and(|common| !common.take(tag)) {
                    // Another ring has it: the worker is told that the kernel made no sense.
                    self.unpacked.push_back(Completion::Slot { slot, result: -libc::EEXIST });
                    continue;
                }
                self.gates.leave_kernel(slot);
                self.unpacked.push_back(Completion::Slot { slot, result: 0 });
            }
        }
        if cqueue::more(entry.flags()) {
            return;
        }
        batch.fetch_ended();
        // No buffer was free for a moment; the next submission fetches again.
        if result >= 0 || result == -libc::ENOBUFS {
            return;
        }
        batch.ended = true;
        for index in 0..lane.tags.count {
            let slot = lane.first_slot + u32::from(index);
            // One whose commit is still under way ends when that has come back.
            if self.gates.is_with_kernel(slot) && !batch.is_pending(lane.tags.tag(index)) {
                Self::come_back(&self.gates, is_common, slot);
                self.unpacked.push_back(Completion::Slot { slot, result });
            }
        }
    }

    /// A tag comes back without a request. Where it is several rings' it is not ours by that.
    fn come_back(gates: &Gates, is_common: bool, slot: u32) {
        if is_common { gates.retire(slot) } else { gates.leave_kernel(slot) }
    }

    fn take_elements(&mut self, lane: usize, buffer: u8, result: i32) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let is_common = lane.common.is_some();
        let Some(batch) = &mut lane.batch else { return };
        let ended = batch.ended;
        let handled = batch.handled(usize::from(buffer), result);
        if let Some(common) = lane.common.as_ref().filter(|_| handled.preparation) {
            common.note_prepared(handled.taken.len());
        }
        let slot_of = |tag| lane.tags.index(tag).map(|index| lane.first_slot + u32::from(index));
        let aborted = handled.taken.iter().filter(|_| ended).map(|tag| (*tag, -libc::ENODEV));
        for (tag, result) in aborted.chain(handled.refused) {
            let Some(slot) = slot_of(tag) else { continue };
            Self::come_back(&self.gates, is_common, slot);
            self.unpacked.push_back(Completion::Slot { slot, result });
        }
    }
}
