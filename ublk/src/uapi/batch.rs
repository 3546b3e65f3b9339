//! Batch commands: many tags of a queue in one SQE.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `elem_bytes` of FETCH_IO_CMDS: tags arrive as packed `u16`. Available since Linux 7.0.
pub const FETCH_ELEM_BYTES: u8 = 2;

/// Most tags one completion of FETCH_IO_CMDS delivers. Available since Linux 7.0.
pub const MAX_TAGS_PER_FETCH: usize = 128;

flag_set! {
    /// Flags of [`BatchIo`], which also decide the length of each element.
    pub struct BatchFlags: u16 {
        /// Each element ends with the LBA of a zone append. Available since Linux 7.0.
        const HAS_ZONE_LBA = 1 << 0;
        /// Each element has a buffer address after its header. Available since Linux 7.0.
        const HAS_BUF_ADDR = 1 << 1;
        /// As [`AutoBufRegFlags::FALLBACK`](super::AutoBufRegFlags::FALLBACK), for all elements.
        /// Available since Linux 7.0.
        const AUTO_BUF_REG_FALLBACK = 1 << 2;
    }
}

impl BatchFlags {
    /// The one `elem_bytes` PREP_IO_CMDS and COMMIT_IO_CMDS accept with these flags.
    #[must_use]
    pub const fn elem_bytes(self) -> u8 {
        let words =
            self.contains(Self::HAS_ZONE_LBA) as u8 + self.contains(Self::HAS_BUF_ADDR) as u8;
        size_of::<ElemHeader>() as u8 + 8 * words
    }
}

/// Payload of a batch command, at SQE bytes 48 to 63; the element buffer's address is in `sqe.addr`.
/// Available since Linux 7.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct BatchIo {
    /// Queue.
    pub q_id: u16,
    /// What an element holds.
    pub flags: BatchFlags,
    /// Elements in the buffer, at most the queue depth.
    pub nr_elem: u16,
    /// Bytes per element: [`BatchFlags::elem_bytes`] or [`FETCH_ELEM_BYTES`].
    pub elem_bytes: u8,
    /// Never read by the driver.
    pub reserved: u8,
    /// Never read by the driver.
    pub reserved2: u64,
}

layout!(BatchIo: 16 {
    q_id @ 0, flags @ 2, nr_elem @ 4, elem_bytes @ 6, reserved @ 7, reserved2 @ 8,
});

/// Start of each element of PREP_IO_CMDS and COMMIT_IO_CMDS; a buffer address and a zone LBA may follow.
/// Available since Linux 7.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ElemHeader {
    /// Tag within the queue.
    pub tag: u16,
    /// Index for automatic buffer registration.
    pub buf_index: u16,
    /// Result of a commit: bytes, or a negative errno.
    pub result: i32,
}

layout!(ElemHeader: 8 { tag @ 0, buf_index @ 2, result @ 4 });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_optional_word_adds_eight_bytes() {
        assert_eq!(BatchFlags::empty().elem_bytes(), 8);
        assert_eq!(BatchFlags::HAS_ZONE_LBA.elem_bytes(), 16);
        assert_eq!(BatchFlags::AUTO_BUF_REG_FALLBACK.elem_bytes(), 8);
        assert_eq!((BatchFlags::HAS_ZONE_LBA | BatchFlags::HAS_BUF_ADDR).elem_bytes(), 24);
    }
}
