//! gcov's counter files, added up. Each scenario of each boot brings one, all of the same object; what differs
//! between them are the counts.

/// Tag of the counts of one function.
const ARCS: u32 = 0x01a1_0000;
const MAGIC: u32 = 0x6763_6461;

/// Why counters cannot be added.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum CountersError {
    /// It is no such file.
    #[error(
        "the guest's counters are no gcov file of gcc 12 or newer: use the kernel that this machine built"
    )]
    NotCounters,
    /// It is of another object.
    #[error("the guest's counters are of two different kernels")]
    Differ,
}

/// Counters of one object, as gcov's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counters {
    bytes: Vec<u8>,
    /// Where counts begin, eight bytes each.
    counts: Vec<usize>,
}

impl Counters {
    /// Finds the counts in a file.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, CountersError> {
        // Lengths are in bytes from gcc 12 on, before it in words; only the right one ends where the file does.
        // gcc 12 also has a checksum in the header.
        let counts = [(16, 1), (12, 4)]
            .into_iter()
            .find_map(|(header_bytes, unit_bytes)| counts(&bytes, header_bytes, unit_bytes));
        let counts = counts.ok_or(CountersError::NotCounters)?;
        Ok(Self { bytes, counts })
    }

    /// Adds another file's counts.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), CountersError> {
        if self.frame() != other.frame() {
            return Err(CountersError::Differ);
        }
        for at in self.counts.clone() {
            let sum = self.count(at).saturating_add(other.count(at));
            if let Some(place) = self.bytes.get_mut(at..at + 8) {
                place.copy_from_slice(&sum.to_le_bytes());
            }
        }
        Ok(())
    }

    /// The file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn count(&self, at: usize) -> u64 {
        let bytes = self.bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    /// Everything but the counts.
    fn frame(&self) -> Vec<u8> {
        let mut frame = self.bytes.clone();
        for at in &self.counts {
            if let Some(place) = frame.get_mut(*at..at + 8) {
                place.fill(0);
            }
        }
        frame
    }
}

/// The places of all counts, if the file is whole under this reading of it.
fn counts(bytes: &[u8], header_bytes: usize, unit_bytes: usize) -> Option<Vec<usize>> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if word(0)? != MAGIC {
        return None;
    }
    let mut places = Vec::new();
    let mut at = header_bytes;
    while at < bytes.len() {
        let (tag, length) = (word(at)?, usize::try_from(word(at + 4)?).ok()?);
        // The file may end with a zero tag.
        if tag == 0 {
            break;
        }
        let (begin, end) =
            (at + 8, at.checked_add(8)?.checked_add(length.checked_mul(unit_bytes)?)?);
        if end > bytes.len() {
            return None;
        }
        if tag == ARCS {
            if !(end - begin).is_multiple_of(8) {
                return None;
            }
            places.extend((begin..end).step_by(8));
        }
        at = end;
    }
    (!places.is_empty()).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stamp: u32, counts: &[u64]) -> Vec<u8> {
        let mut words = vec![MAGIC, 0x4232_322a, stamp, 0];
        words.extend([0x0100_0000, 12, 1, 2, 3]);
        words.extend([ARCS, u32::try_from(counts.len() * 8).unwrap()]);
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
        bytes
    }

    #[test]
    fn counts_are_added_and_everything_else_stays() {
        let mut sum = Counters::parse(file(7, &[1, 0, u64::MAX])).unwrap();
        sum.add(&Counters::parse(file(7, &[2, 0, 5])).unwrap()).unwrap();
        assert_eq!(sum.bytes(), file(7, &[3, 0, u64::MAX]));
    }

    #[test]
    fn another_object_and_another_file_are_refused() {
        let mut sum = Counters::parse(file(7, &[1])).unwrap();
        let other = Counters::parse(file(8, &[1])).unwrap();
        assert_eq!(sum.add(&other), Err(CountersError::Differ));
        assert_eq!(Counters::parse(b"adcg".to_vec()), Err(CountersError::NotCounters));
        let mut cut = file(7, &[1, 2]);
        cut.pop();
        assert_eq!(Counters::parse(cut), Err(CountersError::NotCounters));
    }
}
