//! How often this run was told to end: by Ctrl-C, SIGTERM or a terminal that is closed.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{SIGHUP, SIGINT, SIGTERM};

/// Counts them for who looks often; two that come between two looks are one.
#[derive(Debug)]
pub(super) struct Interrupts {
    pending: Arc<AtomicBool>,
    seen: Cell<u32>,
}

impl Interrupts {
    /// From now on those signals are counted, and end nothing by themselves.
    pub(super) fn watch() -> io::Result<Self> {
        let pending = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&pending))?;
        }
        Ok(Self { pending, seen: Cell::new(0) })
    }

    pub(super) fn count(&self) -> u32 {
        if self.pending.swap(false, Ordering::Relaxed) {
            self.seen.set(self.seen.get() + 1);
        }
        self.seen.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_between_two_looks_is_one() {
        let interrupts = Interrupts { pending: Arc::default(), seen: Cell::new(0) };
        assert_eq!(interrupts.count(), 0);
        interrupts.pending.store(true, Ordering::Relaxed);
        assert_eq!((interrupts.count(), interrupts.count()), (1, 1));
        interrupts.pending.store(true, Ordering::Relaxed);
        assert_eq!(interrupts.count(), 2);
    }
}
