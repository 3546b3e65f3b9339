//! The hand-over of an inbox, whatever its bell is: threads set bits, one thread takes them, and exactly the
//! first of those who set one since the last taking rings. Small enough for loom to try every
//! interleaving of it.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A set of slot numbers that threads add to and one thread empties.
#[derive(Debug)]
pub(super) struct Bits {
    words: Box<[AtomicU64]>,
    rung: AtomicBool,
}

impl Bits {
    pub(super) fn new(slots: u32) -> Self {
        let words = (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { words, rung: AtomicBool::new(false) }
    }

    /// Adds a slot, and rings unless somebody else has since the last taking.
    pub(super) fn leave(&self, slot: u32, ring: impl FnOnce()) {
        let Some(word) = self.words.get(slot as usize / 64) else { return };
        word.fetch_or(1 << (slot % 64), Ordering::Release);
        // After the bit: whoever takes and clears the flag before this swap is told again.
        if !self.rung.swap(true, Ordering::AcqRel) {
            ring();
        }
    }

    /// Takes every slot out, once the bell is silent.
    pub(super) fn take_all(&self, hush: impl FnOnce(), mut look: impl FnMut(u32)) {
        // First the bell: a slot that is added after the look rings it again.
        hush();
        // Before the bits: one that is set behind our back then rings anew.
        self.rung.swap(false, Ordering::AcqRel);
        for (index, word) in self.words.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                look(index as u32 * 64 + bit);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_slot_comes_out_once_and_only_the_first_rings() {
        let bits = Bits::new(65);
        let rings = std::cell::Cell::new(0);
        let leave = |slot| bits.leave(slot, || rings.set(rings.get() + 1));
        leave(64);
        leave(0);
        leave(64);
        assert_eq!(rings.get(), 1);
        let mut seen = vec![];
        bits.take_all(|| rings.set(0), |slot| seen.push(slot));
        bits.take_all(|| (), |slot| seen.push(slot));
        assert_eq!(seen, [0, 64]);
        leave(1);
        leave(1000);
        assert_eq!(rings.get(), 1);
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p ublk --lib loom_tests`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// However setters and the taker interleave: what was not taken out has rung, and the bell still
    /// rings.
    #[test]
    fn no_word_is_lost() {
        loom::model(|| {
            let bits = Arc::new(Bits::new(2));
            // An eventfd: written it rings, read it is silent.
            let bell = Arc::new(AtomicBool::new(false));
            let setters: Vec<_> = (0..2)
                .map(|slot| {
                    let (bits, bell) = (Arc::clone(&bits), Arc::clone(&bell));
                    thread::spawn(move || {
                        bits.leave(slot, || bell.store(true, Ordering::SeqCst));
                    })
                })
                .collect();
            let hush = || bell.store(false, Ordering::SeqCst);
            let mut taken = 0_u32;
            bits.take_all(hush, |slot| taken |= 1 << slot);
            for setter in setters {
                setter.join().unwrap();
            }
            if taken != 3 {
                assert!(bell.load(Ordering::SeqCst), "a slot is left and the bell is silent");
                bits.take_all(hush, |slot| taken |= 1 << slot);
            }
            assert_eq!(taken, 3);
        });
    }
}
