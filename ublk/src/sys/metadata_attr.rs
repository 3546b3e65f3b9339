//! What points a read or a write at metadata (`struct io_uring_attr_pi`): it holds an address itself, which the kernel
//! reads when it gets to the command. So it lies in memory of its own, which nobody can write to as bytes and which is
//! never unmapped, and the address in it is an [`Addr`], whenever it is read.

use std::io;

use super::addr::Addr;
use super::arena::Arena;
use crate::uapi::macros::flag_set;

/// `sizeof(struct io_uring_attr_pi)`.
const LEN_BYTES: usize = 32;

flag_set! {
    /// What of a checksum's tuple the device is asked to check, `IO_INTEGRITY_CHK_*`.
    pub struct MetadataChecks: u16 {
        /// The checksum. Available since Linux 6.14.
        const GUARD = 1 << 0;
        /// The reference tag. Available since Linux 6.14.
        const REFTAG = 1 << 1;
        /// The application's tag. Available since Linux 6.14.
        const APPTAG = 1 << 2;
    }
}

/// Metadata of a read or a write, for [`RawSqe::metadata`](crate::raw::RawSqe::metadata). Like an arena it is never
/// given back: make few. Available since Linux 6.14.
#[derive(Debug)]
pub struct MetadataAttr(Arena);

impl MetadataAttr {
    /// `len_bytes` of metadata at `metadata`. `seed` is the first reference tag, as the application counts; `app_tag`
    /// what the device compares the application's tags with, where `checks` say so.
    ///
    /// # Errors
    /// What mmap says.
    pub fn new(
        metadata: Addr<'_>,
        len_bytes: u16,
        seed: u64,
        checks: MetadataChecks,
        app_tag: u16,
    ) -> io::Result<Self> {
        let arena = Arena::new(LEN_BYTES)?;
        let mut bytes = [0; LEN_BYTES];
        bytes[..2].copy_from_slice(&checks.bits().to_ne_bytes());
        bytes[2..4].copy_from_slice(&app_tag.to_ne_bytes());
        // No longer than an arena's fence is, wherever in the arena it begins.
        bytes[4..8].copy_from_slice(&u32::from(len_bytes).to_ne_bytes());
        bytes[8..16].copy_from_slice(&metadata.to_bits().to_ne_bytes());
        bytes[16..24].copy_from_slice(&seed.to_ne_bytes());
        arena.write(0, &bytes);
        Ok(Self(arena))
    }

    pub(crate) fn addr(&self) -> u64 {
        self.0.addr(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_lands_at_its_offset() {
        let metadata = Arena::new(4096).expect("mapped");
        let checks = MetadataChecks::GUARD | MetadataChecks::APPTAG;
        let at = Addr::Arena(&metadata, 8);
        let attr = MetadataAttr::new(at, 0x0807, 0x1817_1615_1413_1211, checks, 0x0403);
        let mut bytes = [0; LEN_BYTES];
        attr.expect("mapped").0.read(0, &mut bytes);
        assert_eq!(bytes[..8], [5, 0, 3, 4, 7, 8, 0, 0]);
        assert_eq!(bytes[8..16], metadata.addr(8).to_ne_bytes());
        assert_eq!(bytes[16..24], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(bytes[24..], [0; 8]);
    }
}
