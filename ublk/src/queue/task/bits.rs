//! The hand-over of an inbox, without its bell: threads set bits, one thread takes them, and exactly the
//! first of those who set one since the last taking is told to ring. Small enough for loom to try every
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

    /// Adds a slot. Whether the taker has to be told.
    #[must_use]
    pub(super) fn set(&self, slot: u32) -> bool {
        let Some(word) = self.words.get(slot as usize / 64) else { return false };
        word.fetch_or(1 << (slot % 64), Ordering::Release);
        // After the bit: whoever takes and clears the flag before this swap is told again.
        !self.rung.swap(true, Ordering::AcqRel)
    }

    /// Takes every slot out.
    pub(super) fn take_all(&self, mut look: impl FnMut(u32)) {
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
        assert!(bits.set(64) && !bits.set(0) && !bits.set(64));
        let mut seen = vec![];
        bits.take_all(|slot| seen.push(slot));
        bits.take_all(|slot| seen.push(slot));
        assert_eq!(seen, [0, 64]);
        assert!(bits.set(1));
        assert!(!bits.set(1000));
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p ublk --lib --release bits`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;
    use loom::thread;

    use super::*;

    /// However a setter and the taker interleave: a slot that was not taken out has rung, and that ring
    /// is still to be answered.
    #[test]
    fn no_word_is_lost() {
        loom::model(|| {
            let bits = Arc::new(Bits::new(2));
            let rings = Arc::new(AtomicU32::new(0));
            let setters: Vec<_> = (0..2)
                .map(|slot| {
                    let (bits, rings) = (Arc::clone(&bits), Arc::clone(&rings));
                    thread::spawn(move || {
                        if bits.set(slot) {
                            rings.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            let mut taken = 0_u32;
            bits.take_all(|slot| taken |= 1 << slot);
            for setter in setters {
                setter.join().unwrap();
            }
            let rung = rings.load(Ordering::SeqCst);
            if taken != 3 {
                assert!(rung > 0, "a slot is left and nobody rang");
                bits.take_all(|slot| taken |= 1 << slot);
            }
            assert_eq!(taken, 3);
        });
    }
}
