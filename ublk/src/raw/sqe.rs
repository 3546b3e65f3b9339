//! SQEs with every field in the caller's hand.

use std::fs::File;
use std::sync::Arc;

use super::{Addr, CharFile, ControlFile, DecoyFile, ElementBuffer, SqeAddr};
use crate::sys::harmless::HarmlessSqe;
use crate::sys::metadata_attr::MetadataAttr;
use crate::uapi::macros::flag_set;
use crate::uapi::{BatchIo, CtrlCmd, CtrlOp, IoCmd, IoCmdOp, QUEUE_ID_NONE};

flag_set! {
    /// `IOSQE_*` flags.
    pub struct SqeFlags: u8 {
        /// The descriptor is an index of the ring's file table, which is empty here. Available since Linux 5.1.
        const FIXED_FILE = 1 << 0;
        /// Starts after everything before it is done. Available since Linux 5.2.
        const IO_DRAIN = 1 << 1;
        /// The next SQE waits for this one. Available since Linux 5.3.
        const IO_LINK = 1 << 2;
        /// As `IO_LINK`, failures included. Available since Linux 5.5.
        const IO_HARDLINK = 1 << 3;
        /// Handed to a worker at once. Available since Linux 5.6.
        const ASYNC = 1 << 4;
        /// Takes a buffer of a group, of which there are none here. Available since Linux 5.7.
        const BUFFER_SELECT = 1 << 5;
        /// No completion on success. Available since Linux 5.17.
        const CQE_SKIP_SUCCESS = 1 << 6;
    }
}

/// Every field of `struct ublksrv_ctrl_cmd`.
#[derive(Clone, Copy, Debug)]
pub struct CtrlPayload<'a> {
    /// Device id.
    pub dev_id: u32,
    /// Queue id, 0xffff in a right command.
    pub queue_id: u16,
    /// Bytes at `addr`.
    pub len: u16,
    /// The command's buffer.
    pub addr: Addr<'a>,
    /// The inline argument.
    pub data: u64,
    /// Bytes of device path at the front of the buffer.
    pub dev_path_len: u16,
    /// Never read by the driver.
    pub pad: u16,
    /// Never read by the driver.
    pub reserved: u32,
}

impl CtrlPayload<'_> {
    /// A payload without buffer and argument.
    #[must_use]
    pub fn new(dev_id: u32) -> Self {
        Self {
            dev_id,
            queue_id: QUEUE_ID_NONE,
            len: 0,
            addr: Addr::Null,
            data: 0,
            dev_path_len: 0,
            pad: 0,
            reserved: 0,
        }
    }

    /// Without the address, which goes its own way.
    pub(super) fn to_cmd(self) -> CtrlCmd {
        CtrlCmd {
            dev_id: self.dev_id,
            queue_id: self.queue_id,
            len: self.len,
            addr: 0,
            data: [self.data],
            dev_path_len: self.dev_path_len,
            pad: self.pad,
            reserved: self.reserved,
        }
    }
}

/// Every field of `struct ublksrv_io_cmd`.
#[derive(Clone, Copy, Debug, Default)]
pub struct IoPayload<'a> {
    /// Queue.
    pub queue: u16,
    /// Tag.
    pub tag: u16,
    /// Result of a commit: bytes, or a negative errno.
    pub result: i32,
    /// Buffer address, buffer index or LBA.
    pub addr: Addr<'a>,
}

impl IoPayload<'_> {
    /// Without the address, which goes its own way.
    pub(super) fn to_cmd(self) -> IoCmd {
        IoCmd { q_id: self.queue, tag: self.tag, result: self.result, addr: 0 }
    }
}

/// An SQE for [`RawRing::push`](super::RawRing::push). Setters take and return it, later ones win.
#[derive(Clone, Debug)]
pub struct RawSqe(pub(super) HarmlessSqe);

impl RawSqe {
    /// All zeros, which the kernel takes for a NOP and completes with 0.
    #[must_use]
    pub fn zeroed() -> Self {
        Self(HarmlessSqe::zeroed())
    }

    /// `IORING_OP_URING_CMD` to the control node, with any opcode.
    #[must_use]
    pub fn control(file: &ControlFile, cmd_op: u32, payload: &CtrlPayload<'_>) -> Self {
        Self(HarmlessSqe::control(&file.0, cmd_op, payload.to_cmd(), payload.addr))
    }

    /// `IORING_OP_URING_CMD` to a device's character node, with any opcode.
    #[must_use]
    pub fn io(file: &CharFile, cmd_op: u32, payload: &IoPayload<'_>) -> Self {
        Self(HarmlessSqe::io(&file.0, cmd_op, payload.to_cmd(), payload.addr))
    }

    /// `IORING_OP_URING_CMD` to a file that takes none.
    #[must_use]
    pub fn decoy(file: &DecoyFile, cmd_op: u32, payload: &CtrlPayload<'_>) -> Self {
        Self(HarmlessSqe::control(&file.0, cmd_op, payload.to_cmd(), payload.addr))
    }

    /// A batch command to a device's character node, with any opcode, without elements: their address is null.
    #[must_use]
    pub fn batch_fetch(file: &CharFile, cmd_op: u32, batch: &BatchIo) -> Self {
        Self(HarmlessSqe::batch_without_elements(&file.0, cmd_op, batch))
    }

    /// A batch command to a device's character node, with any opcode, and with elements from the one called `first` on.
    ///
    /// # Panics
    /// When `first` is beyond the buffer's end; the end itself, which faults, is allowed.
    #[must_use]
    pub fn batch(
        file: &CharFile,
        cmd_op: u32,
        batch: &BatchIo,
        elements: &ElementBuffer,
        first: usize,
    ) -> Self {
        Self(HarmlessSqe::batch(&file.0, cmd_op, batch, elements, first))
    }

    /// As [`RawSqe::batch`], to a file that takes none.
    #[must_use]
    pub fn decoy_batch(
        file: &DecoyFile,
        cmd_op: u32,
        batch: &BatchIo,
        elements: &ElementBuffer,
        first: usize,
    ) -> Self {
        Self(HarmlessSqe::batch(&file.0, cmd_op, batch, elements, first))
    }

    /// `IORING_OP_READ_FIXED`: from a file into a slot of the ring's buffer table, see [`RawSqe::buf_index`].
    #[must_use]
    pub fn read_fixed(file: &Arc<File>, position: u64, len_bytes: u32) -> Self {
        let mut sqe = HarmlessSqe::fixed(file, false, position);
        sqe.set_len(len_bytes);
        Self(sqe)
    }

    /// `IORING_OP_WRITE_FIXED`: from a slot of the ring's buffer table to a file, see [`RawSqe::buf_index`].
    #[must_use]
    pub fn write_fixed(file: &Arc<File>, position: u64, len_bytes: u32) -> Self {
        let mut sqe = HarmlessSqe::fixed(file, true, position);
        sqe.set_len(len_bytes);
        Self(sqe)
    }

    /// Sets where in a slot [`RawSqe::read_fixed`] and [`RawSqe::write_fixed`] start: an offset for pages of a request, an
    /// address for an arena. Nothing for commands.
    #[must_use]
    pub fn fixed_addr(mut self, addr: Addr<'_>) -> Self {
        self.0.set_fixed_offset(addr.to_bits());
        self
    }

    /// Points [`RawSqe::read_fixed`] and [`RawSqe::write_fixed`] at metadata; the file is a block device opened with
    /// O_DIRECT. Nothing for commands. Available since Linux 6.14.
    #[must_use]
    pub fn metadata(mut self, attr: &MetadataAttr) -> Self {
        self.0.set_metadata(attr);
        self
    }

    /// Sets the number the completion will carry.
    #[must_use]
    pub fn user_data(mut self, user_data: u64) -> Self {
        self.0.set_user_data(user_data);
        self
    }

    /// Sets `IOSQE_*` flags.
    #[must_use]
    pub fn flags(mut self, flags: SqeFlags) -> Self {
        self.0.set_iosqe_flags(flags.bits());
        self
    }

    /// Sets `sqe.ioprio`, which must be 0.
    #[must_use]
    pub fn ioprio(mut self, ioprio: u16) -> Self {
        self.0.set_ioprio(ioprio);
        self
    }

    /// Sets `sqe.__pad1`, which must be 0.
    #[must_use]
    pub fn pad1(mut self, pad1: u32) -> Self {
        self.0.set_pad1(pad1);
        self
    }

    /// Sets `sqe.addr`.
    #[must_use]
    pub fn sqe_addr(mut self, addr: SqeAddr<'_>) -> Self {
        self.0.set_sqe_addr(addr);
        self
    }

    /// Sets `sqe.len`, which nobody looks at.
    #[must_use]
    pub fn sqe_len(mut self, len: u32) -> Self {
        self.0.set_len(len);
        self
    }

    /// Sets `sqe.uring_cmd_flags`: 1 is FIXED, 2 MULTISHOT.
    #[must_use]
    pub fn uring_cmd_flags(mut self, flags: u32) -> Self {
        self.0.set_uring_cmd_flags(flags);
        self
    }

    /// Sets `sqe.buf_index`, the buffer group with [`SqeFlags::BUFFER_SELECT`].
    #[must_use]
    pub fn buf_index(mut self, index: u16) -> Self {
        self.0.set_buf_index(index);
        self
    }

    /// Sets `sqe.personality`, which must be registered unless 0.
    #[must_use]
    pub fn personality(mut self, personality: u16) -> Self {
        self.0.set_personality(personality);
        self
    }

    /// The 128 bytes; on a ring with 64-byte entries only the first half is sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 128] {
        self.0.bytes().as_bytes()
    }

    pub(super) fn harmless(&self) -> &HarmlessSqe {
        &self.0
    }

    /// A name for the dump.
    pub(super) fn name(&self) -> String {
        let cmd_op = self.0.bytes().cmd_op();
        let known = CtrlOp::from_opcode(cmd_op)
            .map(CtrlOp::name)
            .or_else(|| IoCmdOp::from_opcode(cmd_op).map(IoCmdOp::name));
        match known {
            _ if self.0.file().is_none() => "RAW:NOP".to_owned(),
            Some(name) => format!("RAW:{name}"),
            None => format!("RAW:{cmd_op:#010x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::sys::arena::Arena;
    use crate::uapi::{AutoBufReg, AutoBufRegFlags};

    fn u64_at(sqe: &RawSqe, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&sqe.as_bytes()[at..at + 8]);
        u64::from_ne_bytes(bytes)
    }

    #[test]
    fn every_control_field_lands_at_its_offset() {
        let arena = Arena::new(4096).expect("mapped");
        let payload = CtrlPayload {
            dev_id: 0x0403_0201,
            queue_id: 0x0605,
            len: 0x0807,
            addr: Addr::Arena(&arena, 64),
            data: 0x1817_1615_1413_1211,
            dev_path_len: 0x1a19,
            pad: 0x1c1b,
            reserved: 0x201f_1e1d,
        };
        let decoy = DecoyFile::new().expect("pipe");
        let sqe = RawSqe::decoy(&decoy, 0xc020_7504, &payload);
        let bytes = sqe.as_bytes();
        assert_eq!(bytes[0], 46);
        assert_eq!(bytes[4..8], decoy.0.as_raw_fd().to_ne_bytes());
        assert_eq!(bytes[48..56], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(u64_at(&sqe, 56), arena.addr(64));
        assert_eq!(bytes[64..72], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(bytes[72..80], [0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20]);
        assert_eq!(bytes[80..], [0; 48]);
    }

    #[test]
    fn every_sqe_field_lands_at_its_offset() {
        let reg =
            AutoBufReg { index: 0x1211, flags: AutoBufRegFlags::FALLBACK, ..AutoBufReg::default() };
        let sqe = RawSqe::zeroed()
            .flags(SqeFlags::ASYNC)
            .ioprio(0x0302)
            .pad1(0x0f0e_0d0c)
            .sqe_addr(SqeAddr::AutoBufReg(reg))
            .sqe_len(0x1b1a_1918)
            .uring_cmd_flags(0x1f1e_1d1c)
            .user_data(0x2726_2524_2322_2120)
            .buf_index(0x2928)
            .personality(0x2b2a);
        let mut expected = [0; 128];
        expected[1..4].copy_from_slice(&[0x10, 2, 3]);
        expected[12..16].copy_from_slice(&[0x0c, 0x0d, 0x0e, 0x0f]);
        expected[16..19].copy_from_slice(&[0x11, 0x12, 1]);
        for (byte, number) in expected[0x18..0x2c].iter_mut().zip(0x18..) {
            *byte = number;
        }
        assert_eq!(sqe.as_bytes(), &expected);
    }
}
