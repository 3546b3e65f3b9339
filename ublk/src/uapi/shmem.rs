//! Shared-memory zero copy: registering memory with a device, and the address a matching request carries.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Mask of the byte offset in a [`ShmemAddr`]. Available since Linux 7.1.
pub const SHMEM_ADDR_OFF_MASK: u64 = 0xffff_ffff;
/// First bit of the buffer index in a [`ShmemAddr`]. Available since Linux 7.1.
pub const SHMEM_ADDR_IDX_OFF: u32 = 32;
/// Mask of the buffer index, once shifted down. Available since Linux 7.1.
pub const SHMEM_ADDR_IDX_MASK: u64 = 0xffff;

flag_set! {
    /// Flags of [`ShmemBufReg`].
    pub struct ShmemBufFlags: u32 {
        /// Pins the pages for reading only; such a buffer matches nothing but writes. Available since Linux 7.1.
        const READ_ONLY = 1 << 0;
    }
}

/// Argument of REG_BUF. Available since Linux 7.1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ShmemBufReg {
    /// Page-aligned address in the caller.
    pub addr: u64,
    /// Bytes, a multiple of the page size, at most 4 GiB.
    pub len: u64,
    /// How to pin.
    pub flags: ShmemBufFlags,
    /// Must be zero.
    pub reserved: u32,
}

layout!(ShmemBufReg: 24 { addr @ 0, len @ 8, flags @ 16, reserved @ 20 });

/// `IoDesc::addr` of a request marked [`IoFlags::SHMEM_ZC`](super::IoFlags::SHMEM_ZC).
/// Available since Linux 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShmemAddr {
    /// Index that REG_BUF returned.
    pub index: u16,
    /// Byte offset within that buffer.
    pub offset: u32,
}

impl ShmemAddr {
    /// The number as it stands in a descriptor.
    #[must_use]
    pub const fn encode(self) -> u64 {
        (self.index as u64) << SHMEM_ADDR_IDX_OFF | self.offset as u64
    }

    /// Takes the number of a descriptor; bits 48 and up are ignored, as the header does.
    #[must_use]
    pub const fn decode(addr: u64) -> Self {
        Self {
            index: (addr >> SHMEM_ADDR_IDX_OFF & SHMEM_ADDR_IDX_MASK) as u16,
            offset: (addr & SHMEM_ADDR_OFF_MASK) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_stands_above_the_offset() {
        let addr = ShmemAddr { index: 0xabcd, offset: 0x1234_5678 };
        assert_eq!(addr.encode(), 0xabcd_1234_5678);
        assert_eq!(ShmemAddr::decode(addr.encode()), addr);
    }
}
