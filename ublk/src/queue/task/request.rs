//! A request as an async target sees it: its bytes in its turn, and operations that the ring carries out
//! while the thread serves others.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::extents::move_extents;
use super::io::{Running, TaskIo};
use crate::queue::Descriptor;
use crate::sys::lane::Transfer;
use crate::sys::worker_ring::Operation;
use crate::target::{Extent, Hints, Op};
use crate::uapi::ShmemAddr;

/// A request of an [`AsyncTarget`](crate::target::AsyncTarget).
///
/// It belongs to its queue's thread. Kept beyond the end of
/// [`handle`](crate::target::AsyncTarget::handle) it is an empty shell: every method then gives ECANCELED.
#[derive(Debug)]
pub struct AsyncRequest {
    pub(super) io: Rc<TaskIo>,
    pub(super) turn: u64,
    pub(super) descriptor: Descriptor,
    pub(super) transfer: Transfer,
    pub(super) has_bytes: bool,
    /// Its bytes stay in shared memory, there.
    pub(super) shared: Option<ShmemAddr>,
    pub(super) metadata_len_bytes: usize,
    pub(super) queue: u16,
    pub(super) tag: u16,
}

fn errno(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl AsyncRequest {
    /// What is asked for.
    pub fn op(&self) -> Op {
        self.descriptor.op
    }

    /// All of what is asked for.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Where on the device it begins.
    pub fn offset_bytes(&self) -> u64 {
        self.descriptor.offset_bytes().unwrap_or(u64::MAX)
    }

    /// How much of the device it covers.
    pub fn len_bytes(&self) -> u64 {
        self.descriptor.len_bytes()
    }

    /// What its sender says about it.
    pub fn hints(&self) -> Hints {
        self.descriptor.hints
    }

    /// The queue it came through.
    pub fn queue_id(&self) -> u16 {
        self.queue
    }

    /// Its tag.
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// Shows the request's bytes: those to be written, or room for those to be read.
    ///
    /// # Errors
    /// EBUSY while one of its transfers is under way, or inside of another `with_bytes` of it; EOPNOTSUPP
    /// where the device's data mode keeps bytes away from the server, or leaves them in shared memory because the
    /// target has [`extents`](crate::target::Capabilities::extents); ECANCELED after the request's end.
    pub fn with_bytes<R>(&self, see: impl FnOnce(&mut [u8]) -> R) -> io::Result<R> {
        if !self.io.is_turn(self.turn) {
            return Err(errno(libc::ECANCELED));
        }
        if !self.has_bytes {
            return Err(errno(libc::EOPNOTSUPP));
        }
        let len_bytes = self.descriptor.data_len_bytes() as usize;
        self.io.buffer.look(len_bytes, see).ok_or_else(|| errno(libc::EBUSY))
    }

    /// Shows the request's metadata: that to be written, or room for that to be read; empty for a request that has
    /// none. Available since Linux 7.0.
    ///
    /// # Errors
    /// EBUSY and ECANCELED as [`with_bytes`](Self::with_bytes).
    pub fn with_metadata<R>(&self, see: impl FnOnce(&mut [u8]) -> R) -> io::Result<R> {
        if !self.io.is_turn(self.turn) {
            return Err(errno(libc::ECANCELED));
        }
        let looked =
            self.io.buffer.look_at_both(0, self.metadata_len_bytes, |_, metadata| see(metadata));
        looked.ok_or_else(|| errno(libc::EBUSY))
    }

    /// Fills part of a read from a file, as pread(2); gives the bytes moved, which may be fewer.
    ///
    /// # Errors
    /// What pread(2) says; EINVAL for bytes the request has not got, or a file the target did not name.
    pub async fn read_file(
        &self,
        file: usize,
        file_offset_bytes: u64,
        start_bytes: u32,
        len_bytes: u32,
    ) -> io::Result<u32> {
        self.transfer(
            false,
            Extent { file, offset_bytes: file_offset_bytes, len_bytes },
            start_bytes,
            false,
        )
        .await
    }

    /// Puts part of a write into a file, as pwrite(2); with `durable` as pwritev2(2) with RWF_DSYNC.
    ///
    /// # Errors
    /// As [`read_file`](Self::read_file).
    pub async fn write_file(
        &self,
        file: usize,
        file_offset_bytes: u64,
        start_bytes: u32,
        len_bytes: u32,
        durable: bool,
    ) -> io::Result<u32> {
        self.transfer(
            true,
            Extent { file, offset_bytes: file_offset_bytes, len_bytes },
            start_bytes,
            durable,
        )
        .await
    }

    /// Moves the whole request between its bytes and these extents, at the same time where they are
    /// several; for a write with `fua` durably.
    ///
    /// # Errors
    /// The first that failed; EIO for extents that are not as long as the request, or end before.
    pub async fn move_extents(&self, extents: &[Extent]) -> io::Result<()> {
        move_extents(self, extents).await
    }

    /// Makes a file's bytes durable, as fdatasync(2).
    ///
    /// # Errors
    /// What fdatasync(2) says.
    pub async fn sync_file(&self, file: usize) -> io::Result<()> {
        let file = u32::try_from(file).map_err(|_| errno(libc::EINVAL))?;
        self.run(Operation::Sync { file }).await.map(drop)
    }

    /// fallocate(2) on a file: `mode` as there.
    ///
    /// # Errors
    /// What fallocate(2) says.
    pub async fn allocate_file(
        &self,
        file: usize,
        mode: i32,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> io::Result<()> {
        let file = u32::try_from(file).map_err(|_| errno(libc::EINVAL))?;
        let mode = u32::try_from(mode).map_err(|_| errno(libc::EINVAL))?;
        self.run(Operation::Allocate { file, mode, offset_bytes, len_bytes }).await.map(drop)
    }

    /// Waits, while the thread serves others.
    ///
    /// # Errors
    /// ECANCELED after the request's end.
    pub async fn sleep(&self, duration: Duration) -> io::Result<()> {
        match self.run(Operation::Sleep { duration }).await {
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether the request's pages have yet to be registered before a transfer.
    pub(super) fn needs_registration(&self) -> bool {
        match self.transfer {
            Transfer::Registered { auto, .. } if self.shared.is_none() => {
                (!auto || self.descriptor.needs_registration) && !self.io.registered.get()
            }
            Transfer::Registered { .. } | Transfer::Copy | Transfer::UserCopy => false,
        }
    }

    /// Registers the pages, where that is to be done.
    pub(super) async fn register(&self) -> io::Result<()> {
        if self.needs_registration() {
            self.run(Operation::Register).await?;
            self.io.registered.set(true);
        }
        Ok(())
    }

    async fn transfer(
        &self,
        write: bool,
        extent: Extent,
        start_bytes: u32,
        dsync: bool,
    ) -> io::Result<u32> {
        let moved = self.begin_transfer(write, extent, start_bytes, dsync)?.await?;
        u32::try_from(moved).map_err(|_| errno(libc::EIO))
    }

    /// Starts a transfer; the first of a request whose pages are not registered sees to that too.
    pub(super) fn begin_transfer(
        &self,
        write: bool,
        extent: Extent,
        start_bytes: u32,
        dsync: bool,
    ) -> io::Result<Running> {
        let end = u64::from(start_bytes) + u64::from(extent.len_bytes);
        if end > self.descriptor.data_len_bytes() {
            return Err(errno(libc::EINVAL));
        }
        let file = u32::try_from(extent.file).map_err(|_| errno(libc::EINVAL))?;
        let register = self.needs_registration();
        if register {
            // From now on they are, or the transfer that waits for it fails.
            self.io.registered.set(true);
        }
        Ok(self.run(Operation::Transfer {
            write,
            file,
            offset_bytes: extent.offset_bytes,
            start_bytes,
            len_bytes: extent.len_bytes,
            dsync,
            register,
            shared: self.shared,
        }))
    }

    fn run(&self, operation: Operation) -> Running {
        Running::new(Rc::clone(&self.io), self.turn, operation)
    }
}
