//! Content that says where it belongs.
//!
//! Each 512-byte sector that a workload writes carries its own sector number, the generation of the
//! write and the seed of the run, so that a wrong byte can be told apart: a stale generation, a
//! neighbour's sector, another run's leftover, or plain damage.

/// Bytes of a sector; the unit of `start_sector` in ublk, whatever the logical block is.
pub const SECTOR_BYTES: usize = 512;

const MAGIC: u64 = 0x4b4c_4255_5347_4953;
const HEADER_BYTES: usize = 32;

/// What a written sector says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Sector number on the device.
    pub sector: u64,
    /// Number of the write that put it there, from 1.
    pub generation: u64,
    /// Seed of the run.
    pub seed: u64,
}

impl Signature {
    /// Fills one sector: a header that names the signature, then bytes that follow from it.
    ///
    /// # Panics
    /// When `sector` is not [`SECTOR_BYTES`] long.
    pub fn fill(self, sector: &mut [u8]) {
        assert_eq!(sector.len(), SECTOR_BYTES, "a signature fills exactly one sector");
        let words = [MAGIC, self.sector, self.generation, self.seed];
        for (bytes, word) in sector.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut state = self.sector ^ self.generation.rotate_left(24) ^ self.seed.rotate_left(48);
        for bytes in sector[HEADER_BYTES..].chunks_exact_mut(8) {
            // splitmix64: every bit of the state reaches every output word.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
    }

    /// Reads a sector's own claim, if it carries one.
    #[must_use]
    pub fn read(sector: &[u8]) -> Option<Self> {
        let word = |index: usize| {
            let bytes = sector.get(index * 8..index * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        (word(0)? == MAGIC).then_some(Self {
            sector: word(1)?,
            generation: word(2)?,
            seed: word(3)?,
        })
    }
}

/// Fills a buffer that belongs at `start_sector` with signatures of `generation`.
pub fn fill(buffer: &mut [u8], start_sector: u64, generation: u64, seed: u64) {
    for (sector, bytes) in (start_sector..).zip(buffer.chunks_exact_mut(SECTOR_BYTES)) {
        Signature { sector, generation, seed }.fill(bytes);
    }
}

/// The first difference between what was read from `start_sector` on and what should be there, told so
/// that the sort of damage is visible; `None` when both are equal.
#[must_use]
pub fn first_difference(start_sector: u64, observed: &[u8], expected: &[u8]) -> Option<String> {
    if observed.len() != expected.len() {
        return Some(format!("{} bytes instead of {}", observed.len(), expected.len()));
    }
    let sectors = observed.chunks(SECTOR_BYTES).zip(expected.chunks(SECTOR_BYTES));
    for (sector, (got, want)) in (start_sector..).zip(sectors) {
        if got == want {
            continue;
        }
        let byte = got.iter().zip(want).position(|(g, w)| g != w).unwrap_or(0);
        let differing = got.iter().zip(want).filter(|(g, w)| g != w).count();
        return Some(format!(
            "sector {sector}: {differing} bytes differ, first at byte {byte} ({:#04x} instead of \
             {:#04x}); holds {}, should hold {}",
            got[byte],
            want[byte],
            tell(got),
            tell(want)
        ));
    }
    None
}

fn tell(sector: &[u8]) -> String {
    match Signature::read(sector) {
        Some(s) => {
            let mut whole = vec![0; sector.len()];
            let intact = sector.len() == SECTOR_BYTES && {
                s.fill(&mut whole);
                whole == sector
            };
            let damage = if intact { "" } else { " (damaged)" };
            format!(
                "generation {} of sector {}, seed {:#x}{damage}",
                s.generation, s.sector, s.seed
            )
        }
        None if sector.iter().all(|b| *b == 0) => "zeros".into(),
        None => "bytes without a signature".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sectors(start: u64, count: usize, generation: u64) -> Vec<u8> {
        let mut buffer = vec![0; count * SECTOR_BYTES];
        fill(&mut buffer, start, generation, 7);
        buffer
    }

    #[test]
    fn a_sector_tells_where_it_belongs() {
        let buffer = sectors(40, 3, 9);
        let third = Signature::read(&buffer[2 * SECTOR_BYTES..]).unwrap();
        assert_eq!(third, Signature { sector: 42, generation: 9, seed: 7 });
        assert_eq!(Signature::read(&[0; SECTOR_BYTES]), None);
    }

    #[test]
    fn a_stale_generation_is_told() {
        let text = first_difference(8, &sectors(8, 4, 1), &sectors(8, 4, 2)).unwrap();
        assert!(text.contains("sector 8"), "{text}");
        assert!(text.contains("holds generation 1 of sector 8"), "{text}");
        assert!(text.contains("should hold generation 2 of sector 8"), "{text}");
    }

    #[test]
    fn a_neighbours_sector_is_told() {
        let mut observed = sectors(8, 2, 1);
        let (first, second) = observed.split_at_mut(SECTOR_BYTES);
        first.copy_from_slice(second);
        let text = first_difference(8, &observed, &sectors(8, 2, 1)).unwrap();
        assert!(text.contains("holds generation 1 of sector 9"), "{text}");
    }

    #[test]
    fn one_flipped_bit_anywhere_is_found() {
        let expected = sectors(0, 2, 3);
        for position in [0, 100, 511, 512, 1023] {
            let mut observed = expected.clone();
            observed[position] ^= 0x10;
            let text = first_difference(0, &observed, &expected).unwrap();
            assert!(text.contains("1 bytes differ"), "{text}");
        }
        assert_eq!(first_difference(0, &expected, &expected), None);
    }
}
