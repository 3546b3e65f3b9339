//! The bytes of an SQE, built by offset and turned into the ring's entry type in one place.
//!
//! The io-uring crate builds correct commands only; a conformance suite must also be able to build wrong ones.

use io_uring::squeue::{Entry, Entry128};
use zerocopy::{FromBytes, IntoBytes};

use crate::uapi::{BatchIo, CtrlCmd, IoCmd};

/// Offset of `ioprio`.
const IOPRIO: usize = 2;
/// Offset of `fd`.
const FD: usize = 4;
/// Offset of `cmd_op`, the low half of `off`.
const CMD_OP: usize = 8;
/// Offset of `__pad1`, the high half of `off`.
const PAD1: usize = 12;
/// Offset of `addr`.
const ADDR: usize = 16;
/// Offset of `len`.
const LEN: usize = 24;
/// Offset of `uring_cmd_flags`.
const URING_CMD_FLAGS: usize = 28;
/// Offset of `user_data`.
const USER_DATA: usize = 32;
/// Offset of `buf_index` and `buf_group`.
const BUF_INDEX: usize = 40;
/// Offset of `personality`.
const PERSONALITY: usize = 42;
/// Offset of `file_index` and `splice_fd_in`.
const FILE_INDEX: usize = 44;
/// Offset of `cmd[]`, the command's payload.
pub(crate) const CMD: usize = 48;

/// Offset of `attr_ptr` of a read or a write, where a command has its payload.
const ATTR_PTR: usize = 48;
/// Offset of `attr_type_mask`.
const ATTR_TYPE_MASK: usize = 56;
/// `IORING_RW_ATTR_FLAG_PI`.
const ATTR_FLAG_PI: u64 = 1;

/// `IORING_OP_READ_FIXED`.
pub(crate) const OP_READ_FIXED: u8 = 4;
/// `IORING_OP_WRITE_FIXED`.
pub(crate) const OP_WRITE_FIXED: u8 = 5;
/// `IORING_OP_CLOSE`.
pub(crate) const OP_CLOSE: u8 = 19;
/// `IORING_OP_READ`.
pub(crate) const OP_READ: u8 = 22;
/// `IORING_OP_WRITE`.
pub(crate) const OP_WRITE: u8 = 23;
/// `IORING_OP_NOP`.
pub(crate) const OP_NOP: u8 = 0;
/// `IORING_OP_URING_CMD`.
pub(crate) const OP_URING_CMD: u8 = 46;
/// `IORING_OP_URING_CMD128`: the same in 128 bytes of a ring with mixed entries.
pub(crate) const OP_URING_CMD128: u8 = 64;

const _: () = {
    assert!(io_uring::opcode::UringCmd16::CODE == OP_URING_CMD);
    assert!(io_uring::opcode::UringCmd80::CODE == OP_URING_CMD);
    assert!(io_uring::opcode::Nop::CODE == OP_NOP);
    assert!(io_uring::opcode::Close::CODE == OP_CLOSE);
    assert!(io_uring::opcode::Read::CODE == OP_READ);
    assert!(io_uring::opcode::Write::CODE == OP_WRITE);
    assert!(io_uring::opcode::ReadFixed::CODE == OP_READ_FIXED);
    assert!(io_uring::opcode::WriteFixed::CODE == OP_WRITE_FIXED);
    assert!(size_of::<Entry>() == 64);
    assert!(size_of::<Entry128>() == 128);
    assert!(CMD + size_of::<CtrlCmd>() == 80);
    assert!(CMD + size_of::<IoCmd>() == 64);
};

/// An SQE as it lies in the submission queue; the second half exists only on rings with 128-byte entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SqeBytes([u8; 128]);

impl SqeBytes {
    /// All zeros, which is a NOP.
    pub(crate) const fn zeroed() -> Self {
        Self([0; 128])
    }

    /// A command for the file behind `fd`.
    pub(crate) fn uring_cmd(fd: i32, cmd_op: u32, user_data: u64) -> Self {
        let mut sqe = Self::zeroed();
        sqe.0[0] = OP_URING_CMD;
        sqe.put(FD, &fd);
        sqe.put(CMD_OP, &cmd_op);
        sqe.put(USER_DATA, &user_data);
        sqe
    }

    /// A read or write of the file behind `fd` at a position, with a buffer of the ring's table.
    pub(crate) fn fixed(opcode: u8, fd: i32, position: u64) -> Self {
        let mut sqe = Self::zeroed();
        sqe.0[0] = opcode;
        sqe.put(FD, &fd);
        sqe.put(CMD_OP, &position);
        sqe
    }

    fn put<T: IntoBytes + zerocopy::Immutable>(&mut self, offset: usize, value: &T) {
        let bytes = value.as_bytes();
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Makes it another operation.
    pub(crate) fn set_opcode(&mut self, opcode: u8) {
        self.0[0] = opcode;
    }

    pub(crate) fn set_ctrl_cmd(&mut self, cmd: &CtrlCmd) {
        self.put(CMD, cmd);
    }

    pub(crate) fn set_io_cmd(&mut self, cmd: &IoCmd) {
        self.put(CMD, cmd);
    }

    pub(crate) fn set_batch_io(&mut self, batch: &BatchIo) {
        self.put(CMD, batch);
    }

    /// The payload as a batch command reads it.
    pub(crate) fn batch_io(&self) -> BatchIo {
        let (batch, _) = BatchIo::read_from_prefix(&self.0[CMD..]).unwrap_or_default();
        batch
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.0[0]
    }

    pub(crate) fn iosqe_flags(&self) -> u8 {
        self.0[1]
    }

    pub(crate) fn set_fd(&mut self, fd: i32) {
        self.put(FD, &fd);
    }

    /// Of a splice: where the bytes come from.
    pub(crate) fn set_splice_from(&mut self, fd: i32) {
        self.put(FILE_INDEX, &fd);
    }

    /// Of a close: which slot of the file table, counted from 1.
    pub(crate) fn set_file_index(&mut self, index: u32) {
        self.put(FILE_INDEX, &index);
    }

    pub(crate) fn set_iosqe_flags(&mut self, flags: u8) {
        self.0[1] = flags;
    }

    pub(crate) fn set_ioprio(&mut self, ioprio: u16) {
        self.put(IOPRIO, &ioprio);
    }

    pub(crate) fn set_pad1(&mut self, pad1: u32) {
        self.put(PAD1, &pad1);
    }

    pub(crate) fn set_addr(&mut self, addr: u64) {
        self.put(ADDR, &addr);
    }

    pub(crate) fn set_len(&mut self, len: u32) {
        self.put(LEN, &len);
    }

    pub(crate) fn set_uring_cmd_flags(&mut self, flags: u32) {
        self.put(URING_CMD_FLAGS, &flags);
    }

    /// Of a read or a write: where its metadata's attributes are.
    pub(crate) fn set_metadata_attr(&mut self, addr: u64) {
        self.put(ATTR_PTR, &addr);
        self.put(ATTR_TYPE_MASK, &ATTR_FLAG_PI);
    }

    pub(crate) fn set_user_data(&mut self, user_data: u64) {
        self.put(USER_DATA, &user_data);
    }

    pub(crate) fn set_buf_index(&mut self, index: u16) {
        self.put(BUF_INDEX, &index);
    }

    pub(crate) fn set_personality(&mut self, personality: u16) {
        self.put(PERSONALITY, &personality);
    }

    pub(crate) fn cmd_op(&self) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[CMD_OP..CMD_OP + 4]);
        u32::from_ne_bytes(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 128] {
        &self.0
    }

    /// The first half, as an entry of a ring with 64-byte entries.
    pub(crate) fn to_entry(self) -> Entry {
        let mut half = [0; 64];
        half.copy_from_slice(&self.0[..64]);
        // SAFETY: `Entry` is `repr(C)` around the kernel's `io_uring_sqe`, 64 bytes (asserted above) of integers and
        // unions of integers, for which every bit pattern is a value. What the kernel does with it is the concern of
        // whoever pushes it, which is `unsafe` for that reason.
        unsafe { std::mem::transmute::<[u8; 64], Entry>(half) }
    }

    /// The whole, as an entry of a ring with 128-byte entries.
    pub(crate) fn to_entry128(self) -> Entry128 {
        // SAFETY: `Entry128` is `repr(C)`, an `Entry` followed by 64 bytes, 128 in all (asserted above); see `to_entry`.
        unsafe { std::mem::transmute::<[u8; 128], Entry128>(self.0) }
    }
}

impl std::fmt::Debug for SqeBytes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SqeBytes({})", hex(&self.0))
    }
}

/// Lowercase hexadecimal without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}"); // Writing to a String cannot fail.
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::{CtrlOp, IoCmdOp};

    /// 128 bytes from hexadecimal with spaces; the rest is zeros.
    fn golden(text: &str) -> [u8; 128] {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut bytes = [0; 128];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).expect("ascii");
            *byte = u8::from_str_radix(pair, 16).expect("hexadecimal");
        }
        bytes
    }

    #[test]
    fn add_dev_lies_in_bytes_48_to_79() {
        let mut sqe = SqeBytes::uring_cmd(5, CtrlOp::AddDev.encoded(), 0x1122_3344_5566_7788);
        sqe.set_ctrl_cmd(&CtrlCmd {
            dev_id: u32::MAX,
            queue_id: 0xffff,
            len: 64,
            addr: 0x7fff_1234_5000,
            ..CtrlCmd::default()
        });
        let expected = golden(
            "2e 00 0000 05000000 047520c0 00000000 0000000000000000 00000000 00000000
             8877665544332211 0000 0000 00000000
             ffffffff ffff 4000 00503412ff7f0000 0000000000000000 0000 0000 00000000",
        );
        assert_eq!(hex(sqe.as_bytes()), hex(&expected));
    }

    #[test]
    fn start_dev_has_its_pid_in_bytes_64_to_71() {
        let mut sqe = SqeBytes::uring_cmd(5, CtrlOp::StartDev.encoded(), 1);
        sqe.set_ctrl_cmd(&CtrlCmd {
            dev_id: 3,
            queue_id: 0xffff,
            data: [4242],
            ..CtrlCmd::default()
        });
        let expected = golden(
            "2e 00 0000 05000000 067520c0 00000000 0000000000000000 00000000 00000000
             0100000000000000 0000 0000 00000000
             03000000 ffff 0000 0000000000000000 9210000000000000 0000 0000 00000000",
        );
        assert_eq!(hex(sqe.as_bytes()), hex(&expected));
    }

    #[test]
    fn fetch_fits_the_first_64_bytes() {
        let mut sqe = SqeBytes::uring_cmd(9, IoCmdOp::FetchReq.encoded(), 2);
        sqe.set_io_cmd(&IoCmd { q_id: 1, tag: 0x203, result: -5, addr: 0x7f00_0000_1000 });
        let expected = golden(
            "2e 00 0000 09000000 207510c0 00000000 0000000000000000 00000000 00000000
             0200000000000000 0000 0000 00000000
             0100 0302 fbffffff 00100000007f0000",
        );
        assert_eq!(hex(sqe.as_bytes()), hex(&expected));
        assert_eq!(sqe.cmd_op(), 0xc010_7520);
    }

    #[test]
    fn the_rings_entries_hold_the_same_bytes() {
        // The crate's own accessors find what was put there by offset.
        let sqe = SqeBytes::uring_cmd(9, IoCmdOp::FetchReq.encoded(), 77);
        assert_eq!(sqe.to_entry().get_user_data(), 77);
        assert_eq!(sqe.to_entry().get_opcode(), 46);
        assert_eq!(sqe.to_entry128().get_user_data(), 77);
        assert_eq!(sqe.to_entry128().get_opcode(), 46);
    }
}
