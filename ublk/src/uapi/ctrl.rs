//! Control commands, sent to `/dev/ublk-control` in the 80 bytes of a 128-byte SQE that matter to the driver.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `queue_id` of a command that is not about one queue. ADD_DEV refuses anything else.
/// Available since Linux 6.0.
pub const QUEUE_ID_NONE: u16 = u16::MAX;

/// `dev_id` that lets ADD_DEV pick a free id. Available since Linux 6.0.
pub const DEV_ID_AUTO: u32 = u32::MAX;

/// Largest device id ADD_DEV accepts (20 minor bits). Available since Linux 6.0.
pub const MAX_DEV_ID: u32 = (1 << 20) - 1;

/// `len` that GET_FEATURES demands, exactly. Available since Linux 6.5.
pub const FEATURES_LEN_BYTES: u16 = 8;

/// Longest `dev_path_len` (the kernel's `PATH_MAX`). Available since Linux 6.3.
pub const MAX_DEV_PATH_LEN_BYTES: u16 = 4096;

/// Payload of a control command, at SQE bytes 48 to 79. Available since Linux 6.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct CtrlCmd {
    /// The device the command is about; [`DEV_ID_AUTO`] lets ADD_DEV choose.
    pub dev_id: u32,
    /// Only ADD_DEV looks at it, and wants [`QUEUE_ID_NONE`]; GET_QUEUE_AFFINITY takes its queue in `data`.
    pub queue_id: u16,
    /// Bytes at `addr`, device path included.
    pub len: u16,
    /// Address of the command's buffer.
    pub addr: u64,
    /// The inline argument: queue, pid, sectors, milliseconds or buffer index, by command.
    pub data: [u64; 1],
    /// Bytes of device path at the front of the buffer; for unprivileged devices and GET_DEV_INFO2.
    /// Available since Linux 6.3.
    pub dev_path_len: u16,
    /// Never read by the driver.
    pub pad: u16,
    /// Never read by the driver.
    pub reserved: u32,
}

layout!(CtrlCmd: 32 {
    dev_id @ 0, queue_id @ 4, len @ 6, addr @ 8, data @ 16, dev_path_len @ 24, pad @ 26,
    reserved @ 28,
});

/// `_IOC(dir, 'u', nr, size)`: direction in the top two bits, then 14 bits of size, type, number.
pub(super) const fn encode(direction: u32, nr: u8, size_bytes: usize) -> u32 {
    assert!(size_bytes < 1 << 14);
    direction << 30 | (size_bytes as u32) << 16 | (b'u' as u32) << 8 | nr as u32
}

/// Direction bits of `_IOR`.
pub(super) const READ: u32 = 2;
/// Direction bits of `_IOWR`.
pub(super) const READ_WRITE: u32 = 3;

/// Number part of an opcode (`_IOC_NR`); the only part the driver switches on for most commands.
#[must_use]
pub const fn ioc_nr(cmd_op: u32) -> u8 {
    (cmd_op & 0xff) as u8
}

/// Type part of an opcode (`_IOC_TYPE`): `b'u'` when encoded, 0 when raw.
#[must_use]
pub const fn ioc_type(cmd_op: u32) -> u8 {
    (cmd_op >> 8 & 0xff) as u8
}

macro_rules! ctrl_ops {
    ($( $(#[$meta:meta])* $variant:ident = $name:ident, $nr:literal, $dir:ident, $encoded:literal, $raw:expr; )*) => {
        /// The eighteen control commands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CtrlOp {
            $( $(#[$meta])* $variant, )*
        }

        impl CtrlOp {
            /// All of them, in order of their numbers.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),*];

            /// The ioctl-encoded opcode, as it goes into `sqe.cmd_op`.
            #[must_use]
            pub const fn encoded(self) -> u32 {
                match self { $( Self::$variant => encode($dir, $nr, size_of::<CtrlCmd>()), )* }
            }

            /// The bare number. Its use as an opcode is legacy: see [`Self::raw`].
            #[must_use]
            pub const fn nr(self) -> u8 {
                match self { $( Self::$variant => $nr, )* }
            }

            /// The legacy, un-encoded opcode, for the commands the kernel header names one for. Kernels built
            /// without `CONFIG_BLKDEV_UBLK_LEGACY_OPCODES` answer `EOPNOTSUPP`.
            #[must_use]
            pub const fn raw(self) -> Option<u32> {
                match self { $( Self::$variant => $raw, )* }
            }

            /// The kernel's name without its `UBLK_U_CMD_` prefix.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($name), )* }
            }
        }

        const _: () = {
            $( assert!(CtrlOp::$variant.encoded() == $encoded); )*
            $( assert!(ioc_nr(CtrlOp::$variant.encoded()) == $nr); )*
        };
    };
}

ctrl_ops! {
    /// Which CPUs a queue serves; queue in `data[0]`, cpumask out. Available since Linux 6.0.
    GetQueueAffinity = GET_QUEUE_AFFINITY, 0x01, READ, 0x8020_7501, Some(0x01);
    /// Reads [`DevInfo`](super::DevInfo). Available since Linux 6.0.
    GetDevInfo = GET_DEV_INFO, 0x02, READ, 0x8020_7502, Some(0x02);
    /// Creates `/dev/ublkcN` from a [`DevInfo`](super::DevInfo), which comes back with the effective values.
    /// Available since Linux 6.0.
    AddDev = ADD_DEV, 0x04, READ_WRITE, 0xc020_7504, Some(0x04);
    /// Stops and deletes, and waits until the id is free. Available since Linux 6.0.
    DelDev = DEL_DEV, 0x05, READ_WRITE, 0xc020_7505, Some(0x05);
    /// Waits for every tag to be fetched, then creates `/dev/ublkbN`; pid of the opener in `data[0]`.
    /// Available since Linux 6.0.
    StartDev = START_DEV, 0x06, READ_WRITE, 0xc020_7506, Some(0x06);
    /// Removes `/dev/ublkbN` and cancels idle tags; waits for I/O in flight. Available since Linux 6.0.
    StopDev = STOP_DEV, 0x07, READ_WRITE, 0xc020_7507, Some(0x07);
    /// Overlays the stored [`Params`](super::Params). Available since Linux 6.0.
    SetParams = SET_PARAMS, 0x08, READ_WRITE, 0xc020_7508, Some(0x08);
    /// Reads the stored [`Params`](super::Params) and the device numbers. Available since Linux 6.0.
    GetParams = GET_PARAMS, 0x09, READ, 0x8020_7509, Some(0x09);
    /// Asks whether a new server may take over. Available since Linux 6.1.
    StartUserRecovery = START_USER_RECOVERY, 0x10, READ_WRITE, 0xc020_7510, Some(0x10);
    /// Waits for every tag to be fetched again, then goes live; pid of the opener in `data[0]`.
    /// Available since Linux 6.1.
    EndUserRecovery = END_USER_RECOVERY, 0x11, READ_WRITE, 0xc020_7511, Some(0x11);
    /// As GET_DEV_INFO, with a mandatory device path. Available since Linux 6.3.
    GetDevInfo2 = GET_DEV_INFO2, 0x12, READ, 0x8020_7512, Some(0x12);
    /// Reads the driver's [`Features`](super::Features); needs no device. Available since Linux 6.5.
    GetFeatures = GET_FEATURES, 0x13, READ, 0x8020_7513, None;
    /// As DEL_DEV without the wait. Available since Linux 6.9.
    DelDevAsync = DEL_DEV_ASYNC, 0x14, READ, 0x8020_7514, None;
    /// Sets the capacity of a live device; 512-byte sectors in `data[0]`. Available since Linux 6.16.
    UpdateSize = UPDATE_SIZE, 0x15, READ_WRITE, 0xc020_7515, None;
    /// Cancels idle tags so that the server may be replaced; milliseconds in `data[0]`, 0 for no limit.
    /// Available since Linux 6.16.
    QuiesceDev = QUIESCE_DEV, 0x16, READ_WRITE, 0xc020_7516, None;
    /// As STOP_DEV, refused while somebody has `/dev/ublkbN` open. Available since Linux 7.0.
    TryStopDev = TRY_STOP_DEV, 0x17, READ_WRITE, 0xc020_7517, None;
    /// Registers shared memory with a device; the index is the result. Available since Linux 7.1.
    RegBuf = REG_BUF, 0x18, READ_WRITE, 0xc020_7518, None;
    /// Takes a registration back; index in `data[0]`. Available since Linux 7.1.
    UnregBuf = UNREG_BUF, 0x19, READ_WRITE, 0xc020_7519, None;
}

const _: () = assert!(CtrlOp::ALL.len() == 18);

impl CtrlOp {
    /// The command with that encoded opcode, or with that legacy number.
    #[must_use]
    pub fn from_opcode(cmd_op: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.encoded() == cmd_op || op.raw() == Some(cmd_op))
    }
}

impl fmt::Display for CtrlOp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_is_found_again_by_its_number() {
        for &op in CtrlOp::ALL {
            assert_eq!(CtrlOp::from_opcode(op.encoded()), Some(op));
            assert_eq!(ioc_type(op.encoded()), b'u');
        }
        assert_eq!(CtrlOp::from_opcode(0x04), Some(CtrlOp::AddDev));
        assert_eq!(CtrlOp::from_opcode(0x13), None, "GET_FEATURES has no legacy number");
    }
}
