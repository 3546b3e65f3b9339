//! Who may touch the buffer of a slot at a moment: the kernel, the queue, or the task that serves its
//! request. All three live on one thread and take turns; the gates are where a turn is checked, so that
//! neither a command sent too early nor a request kept too long can make two of them meet in one buffer.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::buffers::TagBuffers;

/// Whose turn it is where the kernel has no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The queue, through `&mut` of its ring.
    Queue,
    /// A task, through its [`SharedBuffer`].
    Task,
    /// A task that is looking at the bytes right now.
    TaskLooking,
    /// Nobody here, and never again: another ring may have it.
    Gone,
}

#[derive(Debug)]
struct Gate {
    /// Entries with the kernel that name this slot's buffer, or will make it do so.
    with_kernel: Cell<u8>,
    holder: Cell<Holder>,
}

/// The gates of all slots of a ring.
#[derive(Debug)]
pub(crate) struct Gates {
    gates: Box<[Gate]>,
    total: Cell<usize>,
}

impl Gates {
    pub(crate) fn new(slots: usize) -> Self {
        let gate = |_| Gate { with_kernel: Cell::new(0), holder: Cell::new(Holder::Queue) };
        Self { gates: (0..slots).map(gate).collect(), total: Cell::new(0) }
    }

    /// How many entries are with the kernel, of all slots.
    pub(crate) fn total_with_kernel(&self) -> usize {
        self.total.get()
    }

    /// Whether the kernel has an entry of this slot.
    pub(crate) fn is_with_kernel(&self, slot: u32) -> bool {
        self.gates.get(slot as usize).is_some_and(|gate| gate.with_kernel.get() > 0)
    }

    /// Notes an entry that goes to the kernel, if it is the holder's to send.
    pub(crate) fn enter_kernel(&self, slot: u32, holder: Holder) -> bool {
        let Some(gate) = self.gates.get(slot as usize) else { return false };
        let Some(more) = gate.with_kernel.get().checked_add(1) else { return false };
        // A task may have several transfers under way; a command is alone.
        if gate.holder.get() != holder || (holder == Holder::Queue && more > 1) {
            return false;
        }
        gate.with_kernel.set(more);
        self.total.set(self.total.get() + 1);
        true
    }

    /// Notes that an entry has come back.
    pub(crate) fn leave_kernel(&self, slot: u32) {
        if let Some(gate) = self.gates.get(slot as usize)
            && let Some(less) = gate.with_kernel.get().checked_sub(1)
        {
            gate.with_kernel.set(less);
            self.total.set(self.total.get() - 1);
        }
    }

    /// Notes that the kernel has, or another ring, what no entry of this ring's took there.
    pub(crate) fn begin_with_kernel(&self, slot: u32) {
        if let Some(gate) = self.gates.get(slot as usize)
            && gate.with_kernel.get() == 0
        {
            gate.with_kernel.set(1);
            self.total.set(self.total.get() + 1);
        }
    }

    /// Notes that an entry has come back, of a slot that is not this ring's for it and never will be.
    pub(crate) fn retire(&self, slot: u32) {
        self.leave_kernel(slot);
        if let Some(gate) = self.gates.get(slot as usize) {
            gate.holder.set(Holder::Gone);
        }
    }

    /// Whether the queue may touch the buffer.
    pub(crate) fn is_queues(&self, slot: u32) -> bool {
        self.gates
            .get(slot as usize)
            .is_some_and(|gate| gate.with_kernel.get() == 0 && gate.holder.get() == Holder::Queue)
    }

    /// Gives the turn to the task, or back to the queue; not while the kernel has it or a task looks.
    pub(crate) fn pass_to(&self, slot: u32, holder: Holder) -> bool {
        let Some(gate) = self.gates.get(slot as usize) else { return false };
        let fixed = matches!(gate.holder.get(), Holder::TaskLooking | Holder::Gone);
        if gate.with_kernel.get() > 0 || fixed {
            return false;
        }
        gate.holder.set(holder);
        true
    }
}

/// A task's way to the buffer of its slot. It can be kept for ever: it opens only while it is the task's
/// turn.
#[derive(Debug)]
pub struct SharedBuffer {
    buffers: Arc<TagBuffers>,
    /// Which of them.
    index: u16,
    gates: Rc<Gates>,
    slot: u32,
}

/// Ends a look even if it panics.
struct Looking<'a>(&'a Gate);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.holder.set(Holder::Task);
    }
}

impl SharedBuffer {
    pub(crate) fn new(buffers: Arc<TagBuffers>, index: u16, gates: Rc<Gates>, slot: u32) -> Self {
        Self { buffers, index, gates, slot }
    }

    /// Shows the first `len_bytes`; none while it is not the task's turn, a transfer is under way, or
    /// the buffer is shorter.
    pub(crate) fn look<R>(&self, len_bytes: usize, see: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        self.look_at_both(len_bytes, 0, |bytes, _| see(bytes))
    }

    /// Shows the first bytes of the buffer and of its metadata, under the same conditions.
    pub(crate) fn look_at_both<R>(
        &self,
        len_bytes: usize,
        metadata_len_bytes: usize,
        see: impl FnOnce(&mut [u8], &mut [u8]) -> R,
    ) -> Option<R> {
        let gate = self.gates.gates.get(self.slot as usize)?;
        if gate.with_kernel.get() > 0 || gate.holder.get() != Holder::Task {
            return None;
        }
        let mut place = self.buffers.place(self.index, len_bytes)?;
        let mut metadata = self.buffers.metadata_place(self.index, metadata_len_bytes)?;
        gate.holder.set(Holder::TaskLooking);
        let _looking = Looking(gate);
        // SAFETY: the bytes are mapped and initialised as long as `buffers` lives. Nobody else refers to them until
        // `_looking` goes: the kernel has no entry that names them and gets none, for `enter_kernel` wants another
        // holder; the queue gives them out only while it is the holder itself, and cannot become it, for `pass_to`
        // refuses; and a second look is refused above. The two places do not overlap.
        Some(unsafe { see(place.as_mut(), metadata.as_mut()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> (Rc<Gates>, SharedBuffer) {
        let gates = Rc::new(Gates::new(2));
        let buffers = Arc::new(TagBuffers::map(2, 4096).unwrap());
        (Rc::clone(&gates), SharedBuffer::new(buffers, 1, gates, 1))
    }

    #[test]
    fn a_task_sees_its_bytes_in_its_turn_only() {
        let (gates, buffer) = shared();
        assert!(buffer.look(1, |_| ()).is_none());
        assert!(gates.pass_to(1, Holder::Task));
        assert!(!gates.is_queues(1) && gates.is_queues(0));
        assert_eq!(buffer.look(4096, |bytes| bytes.fill(7)), Some(()));
        assert!(buffer.look(4097, |_| ()).is_none());
        assert!(gates.enter_kernel(1, Holder::Task) && gates.enter_kernel(1, Holder::Task));
        assert!(!gates.enter_kernel(1, Holder::Queue));
        gates.leave_kernel(1);
        assert!(buffer.look(1, |_| ()).is_none());
        assert!(!gates.pass_to(1, Holder::Queue));
        gates.leave_kernel(1);
        assert_eq!(buffer.look(1, |bytes| bytes[0]), Some(7));
        assert!(gates.pass_to(1, Holder::Queue));
        assert!(buffer.look(1, |_| ()).is_none());
        assert!(gates.enter_kernel(1, Holder::Queue) && !gates.enter_kernel(1, Holder::Queue));
        assert_eq!(gates.total_with_kernel(), 1);
    }

    #[test]
    fn nothing_moves_while_a_task_looks() {
        let (gates, buffer) = shared();
        gates.pass_to(1, Holder::Task);
        buffer.look(8, |_| {
            assert!(buffer.look(8, |_| ()).is_none());
            assert!(!gates.pass_to(1, Holder::Queue));
            assert!(!gates.enter_kernel(1, Holder::Task));
            assert!(!gates.is_queues(1));
        });
        // A look that panicked has ended too.
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            buffer.look(8, |_| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert!(buffer.look(8, |_| ()).is_some());
    }

    #[test]
    fn what_is_retired_stays_shut() {
        let (gates, buffer) = shared();
        gates.begin_with_kernel(1);
        gates.begin_with_kernel(1);
        assert_eq!(gates.total_with_kernel(), 1);
        assert!(!gates.is_queues(1) && gates.is_with_kernel(1));
        gates.retire(1);
        assert_eq!(gates.total_with_kernel(), 0);
        assert!(!gates.is_queues(1) && !gates.pass_to(1, Holder::Task));
        assert!(!gates.enter_kernel(1, Holder::Queue) && !gates.enter_kernel(1, Holder::Task));
        assert!(buffer.look(1, |_| ()).is_none());
    }

    #[test]
    fn a_slot_that_is_not_there_is_nobodys() {
        let gates = Gates::new(1);
        assert!(!gates.is_queues(1) && !gates.pass_to(1, Holder::Task));
        assert!(!gates.enter_kernel(1, Holder::Queue));
        gates.leave_kernel(1);
        gates.leave_kernel(0);
        assert_eq!(gates.total_with_kernel(), 0);
    }
}
