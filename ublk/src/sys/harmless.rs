//! SQEs that may be wrong in every way but one: they name no memory that Rust owns.
//!
//! This type carries the safety argument of the `raw` module across to the one place that pushes. Two commands find
//! further addresses in the memory they are pointed at: batch elements, which are refused here, and REG_BUF's argument,
//! which is let through because the driver only pins the pages it names and moves no data.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::addr::{Addr, SqeAddr};
use super::sqe::SqeBytes;
use crate::uapi::{CtrlCmd, IoCmd, IoCmdOp, ioc_nr};

/// Bytes of an SQE, and the file whose descriptor they contain.
#[derive(Clone, Debug)]
pub(crate) struct HarmlessSqe {
    bytes: SqeBytes,
    /// Keeps the descriptor number ours until the kernel took the SQE.
    file: Option<Arc<File>>,
    may_hold_elements: bool,
}

impl HarmlessSqe {
    /// All zeros, a NOP.
    pub(crate) fn zeroed() -> Self {
        Self { bytes: SqeBytes::zeroed(), file: None, may_hold_elements: false }
    }

    fn new(file: &Arc<File>, cmd_op: u32) -> Self {
        let bytes = SqeBytes::uring_cmd(file.as_raw_fd(), cmd_op, 0);
        Self { bytes, file: Some(Arc::clone(file)), may_hold_elements: false }
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

    pub(crate) fn set_sqe_addr(&mut self, addr: SqeAddr<'_>) {
        self.bytes.set_addr(addr.to_bits());
        self.may_hold_elements = addr.may_hold_elements();
    }

    pub(crate) fn set_iosqe_flags(&mut self, flags: u8) {
        self.bytes.set_iosqe_flags(flags);
    }

    pub(crate) fn set_ioprio(&mut self, ioprio: u16) {
        self.bytes.set_ioprio(ioprio);
    }

    pub(crate) fn set_pad1(&mut self, pad1: u32) {
        self.bytes.set_pad1(pad1);
    }

    pub(crate) fn set_len(&mut self, len: u32) {
        self.bytes.set_len(len);
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
        if self.may_hold_elements && takes_elements.contains(&ioc_nr(self.bytes.cmd_op())) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "batch elements contain addresses and cannot be sent raw: leave sqe.addr null or unmapped",
            ));
        }
        Ok(())
    }
}
