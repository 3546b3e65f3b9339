//! Commands that go astray: to the wrong node, to no file, through a ring's file table; and operations that are no commands.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::{Addr, BlockFile, CharFile, ControlFile, CtrlPayload, DecoyFile, IoPayload, RawSqe};
use crate::sys::harmless::{HarmlessSqe, Ordinary};
use crate::sys::wild_ring::{Table, WildRing};

/// A file of any sort that there is here.
#[derive(Clone, Copy, Debug)]
pub enum AnyFile<'a> {
    /// The control node.
    Control(&'a ControlFile),
    /// A device's character node.
    Char(&'a CharFile),
    /// A device's block node.
    Block(&'a BlockFile),
    /// A pipe.
    Decoy(&'a DecoyFile),
}

impl AnyFile<'_> {
    fn file(&self) -> &Arc<File> {
        match self {
            Self::Control(file) => &file.0,
            Self::Char(file) => &file.0,
            Self::Block(file) => &file.0,
            Self::Decoy(file) => &file.0,
        }
    }
}

impl RawSqe {
    /// A control command to a character node, which reads its address in the same place.
    #[must_use]
    pub fn control_to_char(file: &CharFile, cmd_op: u32, payload: &CtrlPayload<'_>) -> Self {
        Self(HarmlessSqe::control(&file.0, cmd_op, payload.to_cmd(), payload.addr))
    }

    /// An I/O command to the control node, which reads its address in the same place.
    #[must_use]
    pub fn io_to_control(file: &ControlFile, cmd_op: u32, payload: &IoPayload<'_>) -> Self {
        Self(HarmlessSqe::io(&file.0, cmd_op, payload.to_cmd(), payload.addr))
    }

    /// An I/O command to a file that takes none.
    #[must_use]
    pub fn io_to_decoy(file: &DecoyFile, cmd_op: u32, payload: &IoPayload<'_>) -> Self {
        Self(HarmlessSqe::io(&file.0, cmd_op, payload.to_cmd(), payload.addr))
    }

    /// A command with a descriptor that nobody has.
    #[must_use]
    pub fn to_nobody(cmd_op: u32, payload: &CtrlPayload<'_>) -> Self {
        Self(HarmlessSqe::nowhere(cmd_op, payload.to_cmd(), payload.addr))
    }

    /// An operation that is no command. `position` and `len_bytes` mean what they mean to it.
    #[must_use]
    pub fn ordinary(
        op: Ordinary,
        file: AnyFile<'_>,
        position: u64,
        addr: Addr<'_>,
        len_bytes: u16,
    ) -> Self {
        Self(HarmlessSqe::ordinary(op, file.file(), position, addr, len_bytes))
    }

    /// `IORING_OP_CLOSE` of a slot of the ring's file table. Available since Linux 5.15.
    #[must_use]
    pub fn close_slot(slot: u16) -> Self {
        Self(HarmlessSqe::close_slot(slot))
    }

    /// Names a slot of the ring's file table in the place of a command's descriptor.
    #[must_use]
    pub fn slot(mut self, slot: u16) -> Self {
        self.0.set_slot(slot);
        self
    }

    /// Makes a command `IORING_OP_URING_CMD128`, the wide one of rings with mixed entries. Available since Linux 6.19.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.0.set_wide();
        self
    }
}

impl WildRing {
    /// Queues a command; the kernel sees it with [`WildRing::submit`].
    ///
    /// # Errors
    /// `WouldBlock` when the submission queue is full; `InvalidInput` for a batch command that would read addresses from
    /// elsewhere than an [`ElementBuffer`](super::ElementBuffer) of its layout.
    pub fn push_sqe(&mut self, sqe: &RawSqe) -> io::Result<()> {
        self.push(sqe.harmless())
    }

    /// Makes the ring's file table of character nodes.
    ///
    /// # Errors
    /// What io_uring_register says, `EBUSY` when there is a table already.
    pub fn register_chars(&mut self, files: &[&CharFile]) -> io::Result<()> {
        let files: Vec<_> = files.iter().map(|file| Arc::clone(&file.0)).collect();
        self.register(&files, Table::Devices)
    }

    /// Makes the ring's file table of the control node alone.
    ///
    /// # Errors
    /// What io_uring_register says, `EBUSY` when there is a table already.
    pub fn register_control(&mut self, file: &ControlFile) -> io::Result<()> {
        self.register(&[Arc::clone(&file.0)], Table::Control)
    }
}
