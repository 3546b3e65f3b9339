//! I/O commands of `/dev/ublkcN`: fetch a request, commit its result, register its pages.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::BatchIo;
use super::ctrl::{READ_WRITE, encode, ioc_nr};

/// A completion that delivers a request. Available since Linux 6.0.
pub const IO_RES_OK: i32 = 0;

/// A completion that asks for NEED_GET_DATA. Available since Linux 6.0.
pub const IO_RES_NEED_GET_DATA: i32 = 1;

/// A completion that says the tag will not be served any more (`-ENODEV`). Available since Linux 6.0.
pub const IO_RES_ABORT: i32 = -libc::ENODEV;

/// Payload of a per-tag I/O command, at SQE bytes 48 to 63. Available since Linux 6.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct IoCmd {
    /// Queue.
    pub q_id: u16,
    /// Tag within the queue.
    pub tag: u16,
    /// Result of a commit: bytes, or a negative errno.
    pub result: i32,
    /// Buffer address in copy mode, the LBA of a zone append, or a buffer index, by command.
    pub addr: u64,
}

layout!(IoCmd: 16 { q_id @ 0, tag @ 2, result @ 4, addr @ 8 });

macro_rules! io_ops {
    ($( $(#[$meta:meta])* $variant:ident = $name:ident, $nr:literal, $payload:ty, $encoded:literal, $raw:expr; )*) => {
        /// The eight I/O commands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum IoCmdOp {
            $( $(#[$meta])* $variant, )*
        }

        impl IoCmdOp {
            /// All of them, in order of their numbers.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),*];

            /// The ioctl-encoded opcode, as it goes into `sqe.cmd_op`.
            #[must_use]
            pub const fn encoded(self) -> u32 {
                match self { $( Self::$variant => encode(READ_WRITE, $nr, size_of::<$payload>()), )* }
            }

            /// The bare number. Its use as an opcode is legacy: see [`Self::raw`].
            #[must_use]
            pub const fn nr(self) -> u8 {
                match self { $( Self::$variant => $nr, )* }
            }

            /// The legacy, un-encoded opcode, for the commands the kernel header names one for.
            #[must_use]
            pub const fn raw(self) -> Option<u32> {
                match self { $( Self::$variant => $raw, )* }
            }

            /// The kernel's name without its `UBLK_U_IO_` prefix.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($name), )* }
            }
        }

        const _: () = {
            $( assert!(IoCmdOp::$variant.encoded() == $encoded); )*
            $( assert!(ioc_nr(IoCmdOp::$variant.encoded()) == $nr); )*
        };
    };
}

io_ops! {
    /// Arms a tag for the first time. Available since Linux 6.0.
    FetchReq = FETCH_REQ, 0x20, IoCmd, 0xc010_7520, Some(0x20);
    /// Commits a result and arms the tag again. Available since Linux 6.0.
    CommitAndFetchReq = COMMIT_AND_FETCH_REQ, 0x21, IoCmd, 0xc010_7521, Some(0x21);
    /// Supplies the buffer a write is copied to. Available since Linux 6.0.
    NeedGetData = NEED_GET_DATA, 0x22, IoCmd, 0xc010_7522, Some(0x22);
    /// Registers the request's pages in a ring's buffer table. Available since Linux 6.15.
    RegisterIoBuf = REGISTER_IO_BUF, 0x23, IoCmd, 0xc010_7523, None;
    /// Takes them out again. Available since Linux 6.15.
    UnregisterIoBuf = UNREGISTER_IO_BUF, 0x24, IoCmd, 0xc010_7524, None;
    /// Prepares many tags of a batch device. Available since Linux 7.0.
    PrepIoCmds = PREP_IO_CMDS, 0x25, BatchIo, 0xc010_7525, None;
    /// Commits many tags of a batch device; the result is the bytes of elements handled.
    /// Available since Linux 7.0.
    CommitIoCmds = COMMIT_IO_CMDS, 0x26, BatchIo, 0xc010_7526, None;
    /// Fetches many tags of a batch device, multishot. Available since Linux 7.0.
    FetchIoCmds = FETCH_IO_CMDS, 0x27, BatchIo, 0xc010_7527, None;
}

const _: () = assert!(IoCmdOp::ALL.len() == 8);

impl IoCmdOp {
    /// The command with that encoded opcode, or with that legacy number.
    #[must_use]
    pub fn from_opcode(cmd_op: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.encoded() == cmd_op || op.raw() == Some(cmd_op))
    }
}

impl fmt::Display for IoCmdOp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

flag_set! {
    /// Flags of [`AutoBufReg`].
    pub struct AutoBufRegFlags: u8 {
        /// Delivers the request without a buffer when registration fails, marked
        /// [`IoFlags::NEED_REG_BUF`](super::IoFlags::NEED_REG_BUF). Available since Linux 6.16.
        const FALLBACK = 1 << 0;
    }
}

/// Where to register the next request's pages; travels in `sqe.addr`. Available since Linux 6.16.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct AutoBufReg {
    /// Index in the buffer table of the ring that carries the command.
    pub index: u16,
    /// What to do when registration fails.
    pub flags: AutoBufRegFlags,
    /// Must be zero.
    pub reserved0: u8,
    /// Must be zero.
    pub reserved1: u32,
}

layout!(AutoBufReg: 8 { index @ 0, flags @ 2, reserved0 @ 3, reserved1 @ 4 });

impl AutoBufReg {
    /// Packs the struct into the number that goes into `sqe.addr`.
    #[must_use]
    pub const fn to_sqe_addr(self) -> u64 {
        self.index as u64
            | (self.flags.bits() as u64) << 16
            | (self.reserved0 as u64) << 24
            | (self.reserved1 as u64) << 32
    }

    /// Unpacks the number of `sqe.addr`.
    #[must_use]
    pub const fn from_sqe_addr(addr: u64) -> Self {
        Self {
            index: addr as u16,
            flags: AutoBufRegFlags::from_bits((addr >> 16) as u8),
            reserved0: (addr >> 24) as u8,
            reserved1: (addr >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_buf_reg_packs_as_the_kernel_header_does() {
        let reg = AutoBufReg {
            index: 0x1234,
            flags: AutoBufRegFlags::FALLBACK,
            reserved0: 0x56,
            reserved1: 0x89ab_cdef,
        };
        assert_eq!(reg.to_sqe_addr(), 0x89ab_cdef_5601_1234);
        assert_eq!(AutoBufReg::from_sqe_addr(reg.to_sqe_addr()), reg);
    }

    #[test]
    fn every_opcode_is_found_again_by_its_number() {
        for &op in IoCmdOp::ALL {
            assert_eq!(IoCmdOp::from_opcode(op.encoded()), Some(op));
        }
        assert_eq!(IoCmdOp::from_opcode(0x20), Some(IoCmdOp::FetchReq));
        assert_eq!(IoCmdOp::from_opcode(0x25), None);
    }
}
