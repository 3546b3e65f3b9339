//! SQEs that may be wrong in every way but one: they name no memory that Rust owns.
//!
//! This type carries the safety argument of the `raw` module across to the one place that pushes. Two commands find
//! further addresses in the memory they are pointed at: batch elements, which must lie in an [`ElementBuffer`] and be read
//! in its layout, and REG_BUF's argument, which is let through because the driver only pins the pages it names and moves no
//! data.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::addr::{Addr, SqeAddr};
use super::elements::ElementBuffer;
use super::metadata_attr::MetadataAttr;
use super::sqe::{
    OP_CLOSE, OP_NOP, OP_READ, OP_READ_FIXED, OP_URING_CMD, OP_URING_CMD128, OP_WRITE,
    OP_WRITE_FIXED, SqeBytes,
};
use crate::uapi::{BatchFlags, BatchIo, CtrlCmd, IoCmd, IoCmdOp, ioc_nr};

/// What the kernel could find at `sqe.addr` if it took it for batch elements.
#[derive(Clone, Copy, Debug)]
enum Elements {
    /// Nothing: it faults.
    None,
    /// Bytes of a safe caller's choice.
    Foreign,
    /// Elements of an [`ElementBuffer`] with this layout.
    Typed(BatchFlags),
}

/// Operations that are not commands, on files that may be anything. Of their numbers only the address of a read or a write
/// is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordinary {
    /// `IORING_OP_READ`. Available since Linux 5.6.
    Read,
    /// `IORING_OP_WRITE`. Available since Linux 5.6.
    Write,
    /// `IORING_OP_POLL_ADD`. Available since Linux 5.1.
    Poll,
    /// `IORING_OP_FSYNC`. Available since Linux 5.1.
    Fsync,
    /// `IORING_OP_SPLICE`, from the file to itself. Available since Linux 5.7.
    Splice,
    /// `IORING_OP_NOP`. Available since Linux 5.1.
    Nop,
}

impl Ordinary {
    fn opcode(self) -> u8 {
        match self {
            Self::Read => OP_READ,
            Self::Write => OP_WRITE,
            Self::Poll => 6,
            Self::Fsync => 3,
            Self::Splice => 30,
            Self::Nop => OP_NOP,
        }
    }
}

/// `IOSQE_FIXED_FILE`.
const FIXED_FILE: u8 = 1;

/// A descriptor that no process has: the limit of a process is below it.
const NO_FILE: i32 = i32::MAX;

/// Bytes of an SQE, and the file whose descriptor they contain.
#[derive(Clone, Debug)]
pub(crate) struct HarmlessSqe {
    bytes: SqeBytes,
    /// Keeps the descriptor number ours until the kernel took the SQE.
    file: Option<Arc<File>>,
    elements: Elements,
    /// Whether all bytes of the payload are the caller's, the place of a control command's address among them.
    batch: bool,
    /// The file is named by a slot of the ring's table.
    slot: bool,
}

impl HarmlessSqe {
    /// These bytes, which are no batch command and name no slot, and point at no elements.
    fn of(bytes: SqeBytes, file: Option<&Arc<File>>) -> Self {
        Self { bytes, file: file.cloned(), elements: Elements::None, batch: false, slot: false }
    }

    /// All zeros, a NOP.
    pub(crate) fn zeroed() -> Self {
        Self::of(SqeBytes::zeroed(), None)
    }

    fn new(file: &Arc<File>, cmd_op: u32) -> Self {
        Self::of(SqeBytes::uring_cmd(file.as_raw_fd(), cmd_op, 0), Some(file))
    }

    /// A command with a control payload, whose `addr` is replaced.
    ///
    /// The file must be a ublk node or one without commands: other drivers find addresses in other places.
    pub(crate) fn control(file: &Arc<File>, cmd_op: u32, cmd: CtrlCmd, addr: Addr<'_>) -> Self {
        let mut sqe = Self::new(file, cmd_op);
        sqe.bytes.set_ctrl_cmd(&CtrlCmd { addr: addr.to_bits(), ..cmd });
        sqe
    }

    /// A command with an I/O payload, whose `addr` is replaced. For the file see [`HarmlessSqe::control`].
    pub(crate) fn io(file: &Arc<File>, cmd_op: u32, cmd: IoCmd, addr: Addr<'_>) -> Self {
        let mut sqe = Self::new(file, cmd_op);
        sqe.bytes.set_io_cmd(&IoCmd { addr: addr.to_bits(), ..cmd });
        sqe
    }

    /// A command with a batch payload, pointed at elements from the one called `first` on. For the file see
    /// [`HarmlessSqe::control`].
    pub(crate) fn batch(
        file: &Arc<File>,
        cmd_op: u32,
        batch: &BatchIo,
        elements: &ElementBuffer,
        first: usize,
    ) -> Self {
        let mut sqe = Self::new(file, cmd_op);
        sqe.bytes.set_batch_io(batch);
        sqe.bytes.set_addr(elements.addr(first));
        sqe.elements = Elements::Typed(elements.layout());
        sqe.batch = true;
        sqe
    }

    /// The same without elements.
    pub(crate) fn batch_without_elements(file: &Arc<File>, cmd_op: u32, batch: &BatchIo) -> Self {
        let mut sqe = Self::new(file, cmd_op);
        sqe.bytes.set_batch_io(batch);
        sqe.batch = true;
        sqe
    }

    /// A read into, or write from, a buffer of the ring's table. Whatever file, position and offset: the bytes moved lie
    /// in that table's buffers, which are arenas and pages of requests.
    pub(crate) fn fixed(file: &Arc<File>, write: bool, position: u64) -> Self {
        let opcode = if write { OP_WRITE_FIXED } else { OP_READ_FIXED };
        let bytes = SqeBytes::fixed(opcode, file.as_raw_fd(), position);
        Self::of(bytes, Some(file))
    }

    /// A command to nobody.
    pub(crate) fn nowhere(cmd_op: u32, cmd: CtrlCmd, addr: Addr<'_>) -> Self {
        let mut bytes = SqeBytes::uring_cmd(NO_FILE, cmd_op, 0);
        bytes.set_ctrl_cmd(&CtrlCmd { addr: addr.to_bits(), ..cmd });
        Self::of(bytes, None)
    }

    /// An operation that is no command. The length is 16 bits wide, and an arena's fence is longer: what begins in an arena
    /// cannot get beyond it.
    pub(crate) fn ordinary(
        op: Ordinary,
        file: &Arc<File>,
        position: u64,
        addr: Addr<'_>,
        len_bytes: u16,
    ) -> Self {
        let mut bytes = SqeBytes::fixed(op.opcode(), file.as_raw_fd(), position);
        bytes.set_addr(addr.to_bits());
        bytes.set_len(u32::from(len_bytes));
        if op == Ordinary::Splice {
            bytes.set_splice_from(file.as_raw_fd());
        }
        Self::of(bytes, Some(file))
    }

    /// Closes a slot of the ring's file table; the slot that is not there is 0, which names no slot.
    pub(crate) fn close_slot(slot: u16) -> Self {
        let mut bytes = SqeBytes::fixed(OP_CLOSE, 0, 0);
        bytes.set_file_index(u32::from(slot) + 1);
        Self::of(bytes, None)
    }

    /// Names a slot of the ring's file table in the place of a descriptor; for a command only.
    pub(crate) fn set_slot(&mut self, slot: u16) {
        if self.is_command() {
            self.bytes.set_fd(i32::from(slot));
            self.slot = true;
            self.bytes.set_iosqe_flags(self.bytes.iosqe_flags() | FIXED_FILE);
        }
    }

    /// Makes a command the wide one of rings with mixed entries.
    pub(crate) fn set_wide(&mut self) {
        if self.bytes.opcode() == OP_URING_CMD {
            self.bytes.set_opcode(OP_URING_CMD128);
        }
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.bytes.opcode() == OP_URING_CMD128
    }

    pub(crate) fn is_batch(&self) -> bool {
        self.batch
    }

    fn is_command(&self) -> bool {
        matches!(self.bytes.opcode(), OP_URING_CMD | OP_URING_CMD128)
    }

    /// Whether its numbers may change while the kernel reads them: a command's that finds no addresses beside its own.
    pub(crate) fn may_change(&self) -> bool {
        self.is_command() && matches!(self.elements, Elements::None) && !self.batch
    }

    /// Sets the place within a buffer of the ring's table, for [`HarmlessSqe::fixed`].
    pub(crate) fn set_fixed_offset(&mut self, offset_bytes: u64) {
        if matches!(self.bytes.opcode(), OP_READ_FIXED | OP_WRITE_FIXED) {
            self.bytes.set_addr(offset_bytes);
        }
    }

    /// Points a read or a write at metadata; nothing for a command, which has its payload there.
    pub(crate) fn set_metadata(&mut self, attr: &MetadataAttr) {
        if matches!(self.bytes.opcode(), OP_READ_FIXED | OP_WRITE_FIXED) {
            self.bytes.set_metadata_attr(attr.addr());
        }
    }

    pub(crate) fn set_sqe_addr(&mut self, addr: SqeAddr<'_>) {
        // A registration is a number of the caller's choice, which a read would take for an address.
        if matches!(self.bytes.opcode(), OP_READ | OP_WRITE) && !matches!(addr, SqeAddr::Addr(_)) {
            return;
        }
        self.bytes.set_addr(addr.to_bits());
        self.elements = if addr.may_hold_elements() { Elements::Foreign } else { Elements::None };
    }

    pub(crate) fn set_iosqe_flags(&mut self, flags: u8) {
        // A slot that is taken for a descriptor would be somebody else's file.
        let slot = if self.slot { FIXED_FILE } else { 0 };
        self.bytes.set_iosqe_flags(flags | slot);
    }

    pub(crate) fn set_ioprio(&mut self, ioprio: u16) {
        self.bytes.set_ioprio(ioprio);
    }

    pub(crate) fn set_pad1(&mut self, pad1: u32) {
        self.bytes.set_pad1(pad1);
    }

    pub(crate) fn set_len(&mut self, len: u32) {
        let reaches = matches!(self.bytes.opcode(), OP_READ | OP_WRITE);
        self.bytes.set_len(if reaches { len & 0xffff } else { len });
    }

    pub(crate) fn set_uring_cmd_flags(&mut self, flags: u32) {
        self.bytes.set_uring_cmd_flags(flags);
    }

    pub(crate) fn set_user_data(&mut self, user_data: u64) {
        self.bytes.set_user_data(user_data);
    }

    pub(crate) fn set_buf_index(&mut self, index: u16) {
        self.bytes.set_buf_index(index);
    }

    pub(crate) fn set_personality(&mut self, personality: u16) {
        self.bytes.set_personality(personality);
    }

    pub(crate) fn bytes(&self) -> &SqeBytes {
        &self.bytes
    }

    pub(crate) fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// Refuses what would make the kernel read batch elements, addresses included, of a safe caller's making.
    ///
    /// Only the number part of the opcode is compared, so that a kernel that looks at no more is covered as well.
    pub(crate) fn check(&self) -> io::Result<()> {
        let takes_elements = [IoCmdOp::PrepIoCmds.nr(), IoCmdOp::CommitIoCmds.nr()];
        if !self.is_command() || !takes_elements.contains(&ioc_nr(self.bytes.cmd_op())) {
            return Ok(());
        }
        let why = match self.elements {
            Elements::None => return Ok(()),
            Elements::Foreign => {
                "batch elements contain addresses: put them into an ElementBuffer, or leave sqe.addr null or unmapped"
            }
            Elements::Typed(layout) if reads_as(self.bytes.batch_io(), layout) => return Ok(()),
            Elements::Typed(_) => {
                "the command would read addresses where this ElementBuffer has none: make one with its flags"
            }
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

/// Whether every word a command takes for an address is one in a buffer of that layout: it takes none without
/// HAS_BUF_ADDR, and else its own stride and order have to be the buffer's.
fn reads_as(batch: BatchIo, layout: BatchFlags) -> bool {
    let laid_out = batch.flags & (BatchFlags::HAS_BUF_ADDR | BatchFlags::HAS_ZONE_LBA);
    !laid_out.contains(BatchFlags::HAS_BUF_ADDR)
        || (laid_out == layout && batch.elem_bytes == layout.elem_bytes())
}
