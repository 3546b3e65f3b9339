//! One method per command, each with the client's deadline, for those who do not need [`Command`] values.

use std::io;

use super::{Command, Control, CtrlError, Pending, Reply};
use crate::sys::arena::Arena;
use crate::sys::ctrl_ring::Submitter;
use crate::sys::shared::SharedMemory;
use crate::uapi::{DevInfo, Features, Params, ShmemBufFlags};

/// Takes the variant a command always replies with.
macro_rules! expect_reply {
    ($self:ident, $command:expr, $variant:ident) => {{
        let command = $command;
        match $self.call(command, $self.deadline)? {
            Reply::$variant(value) => Ok(value),
            other => Err(CtrlError::ring(
                command.op(),
                command.dev_id(),
                io::Error::other(format!("bug in the ublk crate: unexpected reply {other:?}")),
            )),
        }
    }};
}

impl Control {
    fn done(&mut self, command: Command) -> Result<(), CtrlError> {
        self.call(command, self.deadline).map(|_| ())
    }

    /// What the driver can do. Available since Linux 6.5.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn get_features(&mut self) -> Result<Features, CtrlError> {
        expect_reply!(self, Command::GetFeatures, Features)
    }

    /// Creates a device and returns it as the driver made it: effective flags, id, owner.
    /// Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn add_dev(&mut self, info: &DevInfo) -> Result<DevInfo, CtrlError> {
        expect_reply!(self, Command::AddDev(*info), DevInfo)
    }

    /// Deletes a device and waits until its id is free. A process that holds the device's `/dev/ublkcN` open waits for
    /// itself, until the deadline. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn del_dev(&mut self, dev_id: u32) -> Result<(), CtrlError> {
        self.done(Command::DelDev { dev_id })
    }

    /// Deletes a device without waiting for its users. Available since Linux 6.9.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn del_dev_async(&mut self, dev_id: u32) -> Result<(), CtrlError> {
        self.done(Command::DelDevAsync { dev_id })
    }

    /// Starts a device whose tags are all fetched, or are being fetched by other threads.
    ///
    /// When the deadline passes, the command goes on in the kernel without anybody to hear of it; use
    /// [`Control::start_dev_begin`] where that matters. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn start_dev(&mut self, dev_id: u32, pid: i32) -> Result<(), CtrlError> {
        self.done(Command::StartDev { dev_id, pid })
    }

    /// Submits START_DEV, to be awaited after the tags were fetched. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn start_dev_begin(&mut self, dev_id: u32, pid: i32) -> Result<Pending, CtrlError> {
        self.submit(Command::StartDev { dev_id, pid })
    }

    /// As [`Control::start_dev_begin`], submitted by a copy of this process where one can be made, as fork makes it. The copy
    /// holds no file but the control node, and is gone when the command is done or this client or this thread ends.
    ///
    /// Before Linux 7.0 START_DEV reads the disk's partitions. A server that has submitted it itself and is killed in that
    /// moment stays in state D, with its device, until the machine is booted again; one that has not is gone. Of no use
    /// where GET_FEATURES has [`Features::NO_AUTO_PART_SCAN`]. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn start_dev_begin_apart(&mut self, dev_id: u32, pid: i32) -> Result<Pending, CtrlError> {
        self.submit_by(Submitter::Copy, Command::StartDev { dev_id, pid })
    }

    /// Removes a device's disk; waits for I/O in flight. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn stop_dev(&mut self, dev_id: u32) -> Result<(), CtrlError> {
        self.done(Command::StopDev { dev_id })
    }

    /// Removes a device's disk unless somebody has it open. Available since Linux 7.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn try_stop_dev(&mut self, dev_id: u32) -> Result<(), CtrlError> {
        self.done(Command::TryStopDev { dev_id })
    }

    /// Stores parameters, before the start. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn set_params(&mut self, dev_id: u32, params: &Params) -> Result<(), CtrlError> {
        self.done(Command::SetParams { dev_id, params: *params })
    }

    /// Reads the stored parameters and the device numbers. Makes the driver remember the DEVT type as stored.
    /// Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn get_params(&mut self, dev_id: u32) -> Result<Params, CtrlError> {
        expect_reply!(self, Command::GetParams { dev_id }, Params)
    }

    /// Reads a device's info. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn get_dev_info(&mut self, dev_id: u32) -> Result<DevInfo, CtrlError> {
        expect_reply!(self, Command::GetDevInfo { dev_id }, DevInfo)
    }

    /// Reads a device's info, proving access by its path. Works on privileged and unprivileged devices alike.
    /// Available since Linux 6.3.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn get_dev_info2(&mut self, dev_id: u32) -> Result<DevInfo, CtrlError> {
        expect_reply!(self, Command::GetDevInfo2 { dev_id }, DevInfo)
    }

    /// CPUs that submit to a queue, ascending. Available since Linux 6.0.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn get_queue_affinity(&mut self, dev_id: u32, queue: u16) -> Result<Vec<u32>, CtrlError> {
        expect_reply!(self, Command::GetQueueAffinity { dev_id, queue }, Affinity)
    }

    /// Asks whether a new server may take over. Available since Linux 6.1.
    ///
    /// # Errors
    /// See [`CtrlError`]; `EBUSY` while the old server is not quite gone.
    pub fn start_user_recovery(&mut self, dev_id: u32) -> Result<(), CtrlError> {
        self.done(Command::StartUserRecovery { dev_id })
    }

    /// Makes a device live again whose tags were all fetched by a new server. Available since Linux 6.1.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn end_user_recovery(&mut self, dev_id: u32, pid: i32) -> Result<(), CtrlError> {
        self.done(Command::EndUserRecovery { dev_id, pid })
    }

    /// Submits END_USER_RECOVERY, to be awaited after the tags were fetched. Available since Linux 6.1.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn end_user_recovery_begin(&mut self, dev_id: u32, pid: i32) -> Result<Pending, CtrlError> {
        self.submit(Command::EndUserRecovery { dev_id, pid })
    }

    /// Sets the capacity of a started device. Available since Linux 6.16.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn update_size(&mut self, dev_id: u32, dev_sectors: u64) -> Result<(), CtrlError> {
        self.done(Command::UpdateSize { dev_id, dev_sectors })
    }

    /// Cancels idle tags so that the server may be replaced. Available since Linux 6.16.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn quiesce_dev(&mut self, dev_id: u32, timeout_ms: u32) -> Result<(), CtrlError> {
        self.done(Command::QuiesceDev { dev_id, timeout_ms })
    }

    /// Registers an arena's body as shared memory and returns its index. Available since Linux 7.1.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn reg_buf(
        &mut self,
        dev_id: u32,
        arena: &Arena,
        flags: ShmemBufFlags,
    ) -> Result<u32, CtrlError> {
        expect_reply!(self, Command::RegBuf { dev_id, arena: *arena, flags }, BufIndex)
    }

    /// Registers memory that is shared with the device's clients and returns its index. Available since Linux 7.1.
    ///
    /// # Errors
    /// See [`CtrlError`]; EFAULT for a mapping whose pages cannot be kept, as of most files that are not in memory.
    pub fn reg_shared(&mut self, dev_id: u32, memory: &SharedMemory) -> Result<u32, CtrlError> {
        expect_reply!(self, Command::RegShared { dev_id, memory: memory.span() }, BufIndex)
    }

    /// Takes a registration back. Available since Linux 7.1.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn unreg_buf(&mut self, dev_id: u32, index: u32) -> Result<(), CtrlError> {
        self.done(Command::UnregBuf { dev_id, index })
    }
}
