//! Where other threads leave word that a task should be looked at: one bit per slot, and a descriptor
//! that the worker's ring watches, written once however many bits are set.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::Wake;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::bits::Bits;

/// The inbox of one worker.
#[derive(Debug)]
pub(super) struct Inbox {
    bits: Bits,
    bell: EventFd,
}

impl Inbox {
    pub(super) fn new(slots: u32) -> io::Result<Arc<Self>> {
        let bell =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Arc::new(Self { bits: Bits::new(slots), bell }))
    }

    /// What the ring is to watch.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Gives every slot that was left word of since the last time.
    pub(super) fn empty(&self, look: impl FnMut(u32)) {
        let hush = || {
            let _ = self.bell.read();
        };
        self.bits.take_all(hush, look);
    }

    fn leave(&self, slot: u32) {
        self.bits.leave(slot, || {
            // A counter that is full is one that rings already.
            let _ = self.bell.write(1);
        });
    }
}

/// The waker of one slot, made once.
#[derive(Debug)]
pub(super) struct SlotWaker {
    pub(super) inbox: Arc<Inbox>,
    pub(super) slot: u32,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.inbox.leave(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn word_left_twice_rings_once_and_again_after_it_was_read() {
        let inbox = Inbox::new(130).unwrap();
        let waker = |slot| Waker::from(Arc::new(SlotWaker { inbox: Arc::clone(&inbox), slot }));
        let (first, last) = (waker(3), waker(129));
        first.wake_by_ref();
        first.wake_by_ref();
        last.wake_by_ref();
        assert_eq!(inbox.bell.read().unwrap(), 1);
        let mut seen = vec![];
        inbox.empty(|slot| seen.push(slot));
        assert_eq!(seen, [3, 129]);
        assert!(inbox.bell.read().is_err());
        first.wake();
        assert_eq!(inbox.bell.read().unwrap(), 1);
    }
}
