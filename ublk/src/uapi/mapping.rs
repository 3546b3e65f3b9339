//! Where things lie in `/dev/ublkcN`: the descriptor areas for mmap and the request buffers for pread and pwrite.
//!
//! The stride between two queues' descriptor areas does not depend on the queue depth. A smaller stride does not
//! fail: the kernel divides, and silently maps queue 0.

use super::{MAX_QUEUE_DEPTH, Op};

/// Offset of queue 0's descriptor area. Available since Linux 6.0.
pub const CMD_BUF_OFFSET: u64 = 0;
/// Offset of the first request buffer. Available since Linux 6.5.
pub const IO_BUF_OFFSET: u64 = 0x8000_0000;
/// First bit of the byte offset in a user-copy position. Available since Linux 6.5.
pub const IO_BUF_OFF: u32 = 0;
/// Bits of byte offset in a user-copy position: 32 MiB per request. Available since Linux 6.5.
pub const IO_BUF_BITS: u32 = 25;
/// Mask of the byte offset. Available since Linux 6.5.
pub const IO_BUF_BITS_MASK: u64 = (1 << IO_BUF_BITS) - 1;
/// First bit of the tag. Available since Linux 6.5.
pub const TAG_OFF: u32 = IO_BUF_BITS;
/// Bits of tag. Available since Linux 6.5.
pub const TAG_BITS: u32 = 16;
/// Mask of the tag, once shifted down. Available since Linux 6.5.
pub const TAG_BITS_MASK: u64 = (1 << TAG_BITS) - 1;
/// First bit of the queue. Available since Linux 6.5.
pub const QID_OFF: u32 = TAG_OFF + TAG_BITS;
/// Bits of queue. Available since Linux 6.5.
pub const QID_BITS: u32 = 12;
/// Mask of the queue, once shifted down. Available since Linux 6.5.
pub const QID_BITS_MASK: u64 = (1 << QID_BITS) - 1;
/// Bits of a user-copy position above [`IO_BUF_OFFSET`]. Available since Linux 6.5.
pub const IO_BUF_TOTAL_BITS: u32 = QID_OFF + QID_BITS;
/// Bytes all request buffers span. Available since Linux 6.5.
pub const IO_BUF_TOTAL_SIZE_BYTES: u64 = 1 << IO_BUF_TOTAL_BITS;
/// Bit that selects the integrity buffer. Available since Linux 7.0.
pub const IO_INTEGRITY_FLAG_OFF: u32 = 62;
/// Flag that selects the integrity buffer. Available since Linux 7.0.
pub const IO_INTEGRITY_FLAG: u64 = 1 << IO_INTEGRITY_FLAG_OFF;

const _: () = {
    assert!(IO_BUF_TOTAL_BITS == 53);
    assert!(desc_area_stride_bytes(24, 4096) == 0x18000);
    assert!(Op::ReportZones.code() == 18);
};

const fn round_up(bytes: u64, page_bytes: u64) -> u64 {
    bytes.div_ceil(page_bytes) * page_bytes
}

/// Distance between the descriptor areas of two queues, in bytes. Available since Linux 6.0.
#[must_use]
pub const fn desc_area_stride_bytes(io_desc_size_bytes: u16, page_bytes: u64) -> u64 {
    round_up(MAX_QUEUE_DEPTH as u64 * io_desc_size_bytes as u64, page_bytes)
}

/// Offset of a queue's descriptor area for mmap, in bytes. Available since Linux 6.0.
#[must_use]
pub const fn desc_area_offset(queue: u16, io_desc_size_bytes: u16, page_bytes: u64) -> u64 {
    CMD_BUF_OFFSET + queue as u64 * desc_area_stride_bytes(io_desc_size_bytes, page_bytes)
}

/// Length of a queue's descriptor area for mmap, in bytes; the driver accepts no other. Available since Linux 6.0.
#[must_use]
pub const fn desc_area_len_bytes(depth: u16, io_desc_size_bytes: u16, page_bytes: u64) -> u64 {
    round_up(depth as u64 * io_desc_size_bytes as u64, page_bytes)
}

/// A place in a request's buffer, as pread and pwrite on `/dev/ublkcN` take it.
/// Available since Linux 6.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserCopyPos {
    /// Queue, below 4096.
    pub queue: u16,
    /// Tag within the queue.
    pub tag: u16,
    /// Byte offset within the request, below 32 MiB.
    pub offset_bytes: u32,
    /// Whether the integrity buffer is meant. Available since Linux 7.0.
    pub integrity: bool,
}

impl UserCopyPos {
    /// The file position, or `None` when queue or offset do not fit their bits.
    #[must_use]
    pub const fn encode(self) -> Option<u64> {
        if self.queue as u64 > QID_BITS_MASK || self.offset_bytes as u64 > IO_BUF_BITS_MASK {
            return None;
        }
        let place = (self.queue as u64) << QID_OFF
            | (self.tag as u64) << TAG_OFF
            | (self.offset_bytes as u64) << IO_BUF_OFF;
        let flag = if self.integrity { IO_INTEGRITY_FLAG } else { 0 };
        // An addition, as in the kernel: the sum may carry into bit 53.
        Some((IO_BUF_OFFSET + place) | flag)
    }

    /// Takes a file position as the driver does; `None` below [`IO_BUF_OFFSET`]. Bits 53 to 61 are not looked at.
    #[must_use]
    pub const fn decode(pos: u64) -> Option<Self> {
        let integrity = pos & IO_INTEGRITY_FLAG != 0;
        let Some(place) = (pos & !IO_INTEGRITY_FLAG).checked_sub(IO_BUF_OFFSET) else {
            return None;
        };
        Some(Self {
            queue: (place >> QID_OFF & QID_BITS_MASK) as u16,
            tag: (place >> TAG_OFF & TAG_BITS_MASK) as u16,
            offset_bytes: (place & IO_BUF_BITS_MASK) as u32,
            integrity,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_area_length_depends_on_the_depth_and_the_stride_does_not() {
        assert_eq!(desc_area_len_bytes(1, 24, 4096), 4096);
        assert_eq!(desc_area_len_bytes(171, 24, 4096), 8192);
        assert_eq!(desc_area_len_bytes(4096, 24, 4096), 98304);
        assert_eq!(desc_area_offset(3, 24, 4096), 3 * 98304);
        assert_eq!(desc_area_offset(1, 256, 4096), 1 << 20);
        assert_eq!(desc_area_stride_bytes(24, 65536), 131_072);
    }

    #[test]
    fn a_position_that_does_not_fit_has_no_encoding() {
        let pos = UserCopyPos { queue: 4096, tag: 0, offset_bytes: 0, integrity: false };
        assert_eq!(pos.encode(), None);
        let pos = UserCopyPos { queue: 0, tag: 0, offset_bytes: 1 << 25, integrity: false };
        assert_eq!(pos.encode(), None);
        assert_eq!(UserCopyPos::decode(IO_BUF_OFFSET - 1), None);
    }

    #[test]
    fn bits_53_to_61_alias() {
        let pos = UserCopyPos { queue: 2, tag: 7, offset_bytes: 512, integrity: false };
        let place = pos.encode().expect("fits");
        assert_eq!(place, 0x8000_0000 + (2 << 41) + (7 << 25) + 512);
        assert_eq!(UserCopyPos::decode(place + (1 << 57)), Some(pos));
    }

    proptest! {
        #[test]
        fn positions_round_trip(queue in 0u16..4096, tag: u16, offset_bytes in 0u32..1 << 25, integrity: bool) {
            let pos = UserCopyPos { queue, tag, offset_bytes, integrity };
            prop_assert_eq!(pos.encode().and_then(UserCopyPos::decode), Some(pos));
        }
    }
}
