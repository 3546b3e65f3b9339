//! Addresses a safe caller may put into a command.

use crate::sys::arena::Arena;
use crate::uapi::AutoBufReg;

/// A number in a field that the kernel may take for an address.
#[derive(Clone, Copy, Debug, Default)]
pub enum Addr<'a> {
    /// Zero.
    #[default]
    Null,
    /// A byte of an arena's body; its end, which faults, is allowed too.
    Arena(&'a Arena, usize),
    /// A page that faults on any access.
    Unmapped(&'a Arena),
    /// A page that faults on writing; fill it with [`Arena::fill_read_only`].
    ReadOnly(&'a Arena),
    /// A small number, such as a buffer index or an LBA. As an address it lies below `vm.mmap_min_addr`, where nothing
    /// of Rust's ever is.
    Small(u16),
    /// A number with the low half given and the high half in the kernel's address range, which every access check
    /// refuses: to see whether a field is truncated to 32 bits.
    KernelHalf(u32),
    /// A number with the low half given that is nobody's address: not canonical on x86, and beyond what a process can map
    /// where the top byte is ignored.
    NonCanonical(u32),
}

impl Addr<'_> {
    /// The number.
    ///
    /// # Panics
    /// When an arena's offset is beyond its end.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        match self {
            Self::Null => 0,
            Self::Arena(arena, offset_bytes) => arena.addr(offset_bytes),
            Self::Unmapped(arena) => arena.unmapped_addr(),
            Self::ReadOnly(arena) => arena.read_only_addr(),
            Self::Small(number) => u64::from(number),
            Self::KernelHalf(low) => 0xffff_ff80_0000_0000 | u64::from(low),
            Self::NonCanonical(low) => 0x8070_0000_0000_0000 | u64::from(low),
        }
    }

    /// Whether the kernel can read bytes there.
    fn is_readable(self) -> bool {
        matches!(self, Self::Arena(..) | Self::ReadOnly(_))
    }
}

/// A number for `sqe.addr`, which carries an [`AutoBufReg`] or the address of batch elements.
#[derive(Clone, Copy, Debug)]
pub enum SqeAddr<'a> {
    /// An address.
    Addr(Addr<'a>),
    /// A registration, reserved fields included.
    AutoBufReg(AutoBufReg),
}

impl SqeAddr<'_> {
    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::Addr(addr) => addr.to_bits(),
            Self::AutoBufReg(reg) => reg.to_sqe_addr(),
        }
    }

    /// Whether the kernel might find bytes there. Batch elements contain addresses of their own, so a batch command
    /// must not point at bytes of the caller's choice.
    pub(crate) fn may_hold_elements(self) -> bool {
        match self {
            Self::Addr(addr) => addr.is_readable(),
            Self::AutoBufReg(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_one_that_rust_does_not_own() {
        let arena = Arena::new(8192).expect("mapped");
        assert_eq!(Addr::Null.to_bits(), 0);
        assert_eq!(Addr::Arena(&arena, 100).to_bits(), arena.addr(0) + 100);
        assert_eq!(Addr::Small(u16::MAX).to_bits(), 65535);
        let high = Addr::KernelHalf(0xdead_beef).to_bits();
        assert_eq!(high & 0xffff_ffff, 0xdead_beef);
        assert!(high >> 39 == (1 << 25) - 1, "kernel half, whatever the page-table depth");
        let nobodys = Addr::NonCanonical(7).to_bits();
        assert!(nobodys >> 63 == 1 && nobodys & (0xf << 52) != 0, "above 52 bits, tag or not");
    }

    #[test]
    #[should_panic(expected = "beyond an arena")]
    fn an_offset_beyond_the_arena_has_no_address() {
        let arena = Arena::new(1).expect("mapped");
        let _ = Addr::Arena(&arena, arena.len_bytes() + 1).to_bits();
    }
}
