//! Reads and writes that come with metadata.

use std::io;

use super::Descriptor;
use crate::target::{IntegrityOptions, Op, Target};

/// As [`execute`](super::execute), which has checked the range and the data.
pub(super) fn execute<T: Target + ?Sized>(
    target: &T,
    descriptor: &Descriptor,
    offset: u64,
    data: &mut [u8],
    metadata: &mut [u8],
) -> io::Result<()> {
    let read = descriptor.op == Op::Read;
    let Some(integrity) = target.integrity() else {
        // Whoever does not look at bytes has no use for their metadata either. Anybody else would lose it.
        return match target.capabilities().ignores_data {
            true if read => target.read_hinted(offset, data, descriptor.hints),
            true => target.write_hinted(offset, data, descriptor.fua, descriptor.hints),
            false => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        };
    };
    if !matches(&integrity.options(), data.len(), metadata.len()) {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    if read {
        integrity.read_with_metadata(offset, data, metadata)
    } else {
        integrity.write_with_metadata(offset, data, metadata, descriptor.fua)
    }
}

/// Whether so much metadata is for so much data. It is not where the device's parameters are not the target's.
fn matches(options: &IntegrityOptions, data_len: usize, metadata_len: usize) -> bool {
    let each = usize::from(options.metadata_bytes);
    if each == 0 || metadata_len == 0 || !metadata_len.is_multiple_of(each) {
        return false;
    }
    let pieces = metadata_len / each;
    match options.interval_bytes {
        // The logical block then, which only the device knows.
        None => data_len.is_multiple_of(pieces),
        Some(interval) => pieces.checked_mul(interval as usize) == Some(data_len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_another_shape_is_not_given_to_a_target() {
        let options = IntegrityOptions {
            metadata_bytes: 8,
            interval_bytes: Some(512),
            ..IntegrityOptions::default()
        };
        assert!(matches(&options, 4096, 64));
        for metadata_len in [0, 8, 63, 72, 128] {
            assert!(!matches(&options, 4096, metadata_len), "{metadata_len}");
        }
        let of_a_block = IntegrityOptions { interval_bytes: None, ..options };
        assert!(matches(&of_a_block, 4096, 8) && matches(&of_a_block, 4096, 64));
        assert!(!matches(&of_a_block, 4096, 24));
        assert!(!matches(&IntegrityOptions::default(), 4096, 8));
    }
}
