//! Buffers and gates without a ring: what a double of the driver plays on, under the same rules.

use std::rc::Rc;
use std::sync::Arc;

use super::buffers::TagBuffers;
use super::gate::{Gates, Holder, SharedBuffer};

/// The buffers of slots, and whose turn it is with each.
#[derive(Debug)]
pub(crate) struct Memory {
    buffers: Arc<TagBuffers>,
    pub(crate) gates: Rc<Gates>,
}

impl Memory {
    pub(crate) fn new(slots: u16, len_bytes: u32) -> std::io::Result<Self> {
        let gates = Rc::new(Gates::new(usize::from(slots)));
        // As much room for metadata as for bytes: more than any shape of it wants.
        let buffers = TagBuffers::map_with_metadata(slots, len_bytes, len_bytes)?;
        Ok(Self { buffers: Arc::new(buffers), gates })
    }

    /// A slot's bytes in the queue's turn.
    pub(crate) fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]> {
        if !self.gates.is_queues(slot) {
            return None;
        }
        let mut place = self.buffers.place(u16::try_from(slot).ok()?, len_bytes)?;
        // SAFETY: mapped and initialised. The queue's turn ends only through `&mut self`, which the slice borrows: a
        // task cannot look before it, and the copies below want `&mut self` too.
        Some(unsafe { place.as_mut() })
    }

    /// A slot's bytes and metadata in the queue's turn.
    pub(crate) fn buffers(
        &mut self,
        slot: u32,
        len_bytes: usize,
        metadata_len_bytes: usize,
    ) -> Option<(&mut [u8], &mut [u8])> {
        if !self.gates.is_queues(slot) {
            return None;
        }
        let index = u16::try_from(slot).ok()?;
        let mut data = self.buffers.place(index, len_bytes)?;
        let mut metadata = self.buffers.metadata_place(index, metadata_len_bytes)?;
        // SAFETY: as in `buffer`; the two do not overlap.
        Some(unsafe { (data.as_mut(), metadata.as_mut()) })
    }

    /// Copies into a slot's buffer as the kernel would. False where it is a task's turn, or too long.
    #[must_use]
    pub(crate) fn copy_in(&mut self, slot: u32, start: usize, bytes: &[u8]) -> bool {
        self.with(slot, start + bytes.len(), |buffer| buffer[start..].copy_from_slice(bytes))
    }

    /// Copies out of a slot's buffer as the kernel would.
    #[must_use]
    pub(crate) fn copy_out(&mut self, slot: u32, start: usize, bytes: &mut [u8]) -> bool {
        self.with(slot, start + bytes.len(), |buffer| bytes.copy_from_slice(&buffer[start..]))
    }

    /// Shows a slot's first bytes to the kernel, which is whoever calls this. False where it is a task's turn, or
    /// there are not so many.
    pub(crate) fn with(
        &mut self,
        slot: u32,
        len_bytes: usize,
        see: impl FnOnce(&mut [u8]),
    ) -> bool {
        if !self.gates.is_with_kernel(slot) && !self.gates.is_queues(slot) {
            return false;
        }
        let Ok(index) = u16::try_from(slot) else { return false };
        let Some(mut place) = self.buffers.place(index, len_bytes) else { return false };
        // SAFETY: mapped and initialised. With the kernel, which is whoever calls this, or with the queue: in both turns
        // no task looks. A slice of `buffer` would borrow `self`, and so does this one; `see` cannot keep it.
        see(unsafe { place.as_mut() });
        true
    }

    /// A task's way to its slot's buffer.
    pub(crate) fn shared(&self, slot: u32) -> Option<SharedBuffer> {
        let index = u16::try_from(slot).ok()?;
        Some(SharedBuffer::new(Arc::clone(&self.buffers), index, Rc::clone(&self.gates), slot))
    }

    /// Gives a slot's turn away, or back.
    pub(crate) fn pass_to(&mut self, slot: u32, holder: Holder) -> bool {
        self.gates.pass_to(slot, holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_copies_in_its_turn_and_not_in_a_tasks() {
        let mut memory = Memory::new(2, 4096).unwrap();
        assert!(memory.copy_in(1, 8, &[1, 2, 3]));
        assert!(memory.gates.enter_kernel(1, Holder::Queue));
        assert!(memory.buffer(1, 1).is_none());
        let mut back = [0; 3];
        assert!(memory.copy_out(1, 8, &mut back));
        assert_eq!(back, [1, 2, 3]);
        memory.gates.leave_kernel(1);
        assert!(memory.pass_to(1, Holder::Task));
        assert!(!memory.copy_in(1, 0, &[0]));
        assert_eq!(memory.shared(1).unwrap().look(9, |bytes| bytes[8]), Some(1));
        assert!(!memory.copy_in(0, 4096, &[0]) && !memory.copy_in(2, 0, &[0]));
    }
}
