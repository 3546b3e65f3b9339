//! The bytes of a ring's slots: lent out in a slot's turn only, and moved between a request and its
//! buffer where the kernel does not.

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use super::{WorkerRing, errno};
use crate::sys::gate::{Holder, SharedBuffer};
use crate::sys::retry_eintr;
use crate::uapi::{ShmemAddr, UserCopyPos};

impl WorkerRing {
    /// The first `len_bytes` of a slot's buffer; none while it is not the queue's turn, or where it is
    /// shorter.
    pub(crate) fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]> {
        if !self.gates.is_queues(slot) {
            return None;
        }
        let (lane, index) = self.lane_and_index(slot)?;
        let mut place = self.lanes[lane].buffers.place(index, len_bytes)?;
        // SAFETY: mapped and initialised as long as the ring lives. The gate says that the kernel has no entry that
        // names these bytes and no task may look at them; both can change only through `&mut self`, which the slice
        // borrows.
        Some(unsafe { place.as_mut() })
    }

    /// The first bytes of a slot's buffer and of its metadata, under the same conditions.
    pub(crate) fn buffers(
        &mut self,
        slot: u32,
        len_bytes: usize,
        metadata_len_bytes: usize,
    ) -> Option<(&mut [u8], &mut [u8])> {
        if !self.gates.is_queues(slot) {
            return None;
        }
        let (lane, index) = self.lane_and_index(slot)?;
        let buffers = &self.lanes[lane].buffers;
        let mut data = buffers.place(index, len_bytes)?;
        let mut metadata = buffers.metadata_place(index, metadata_len_bytes)?;
        // SAFETY: as in `buffer`. The two do not overlap, whatever their lengths.
        Some(unsafe { (data.as_mut(), metadata.as_mut()) })
    }

    /// A task's way to the slot's buffer, which opens in its turn.
    pub(crate) fn shared_buffer(&self, slot: u32) -> Option<SharedBuffer> {
        let (lane, index) = self.lane_and_index(slot)?;
        let buffers = Arc::clone(&self.lanes[lane].buffers);
        Some(SharedBuffer::new(buffers, index, Rc::clone(&self.gates), slot))
    }

    /// Gives the slot's turn to its task, or takes it back; not while anything is under way.
    pub(crate) fn pass_to(&mut self, slot: u32, holder: Holder) -> bool {
        self.gates.pass_to(slot, holder)
    }

    /// Whether a slot's lane has that much of shared memory there.
    pub(crate) fn reaches_shared(&self, slot: u32, at: ShmemAddr, len_bytes: u64) -> bool {
        self.lane_and_index(slot)
            .is_some_and(|(lane, _)| self.lanes[lane].shared(at, len_bytes).is_some())
    }

    /// Copies between shared memory and a slot's buffer.
    ///
    /// # Errors
    /// EFAULT for memory that is not there, or not any more; EBUSY when it is not the queue's turn, EINVAL for more
    /// than the buffer has.
    pub(crate) fn shared_copy(
        &mut self,
        slot: u32,
        at: ShmemAddr,
        len_bytes: usize,
        to_request: bool,
    ) -> io::Result<()> {
        let (lane, _) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        let memory = self.lanes[lane].shared(at, len_bytes as u64).cloned();
        let memory = memory.ok_or_else(|| errno(libc::EFAULT))?;
        if !self.gates.is_queues(slot) {
            return Err(errno(libc::EBUSY));
        }
        let buffer = self.buffer(slot, len_bytes).ok_or_else(|| errno(libc::EINVAL))?;
        let offset_bytes = u64::from(at.offset);
        if to_request {
            memory.write(offset_bytes, buffer)
        } else {
            memory.read(offset_bytes, buffer)
        }
    }

    /// Brings a request's bytes into its slot's buffer, or the buffer's into the request, through the
    /// character device.
    ///
    /// # Errors
    /// What pread(2) or pwrite(2) on it says; EBUSY when it is not the queue's turn, EINVAL for bytes
    /// that are not there, EIO for fewer than the request has.
    pub(crate) fn user_copy(
        &mut self,
        slot: u32,
        len_bytes: usize,
        to_request: bool,
    ) -> io::Result<()> {
        self.copy_part(slot, len_bytes, to_request, false)
    }

    /// The same for a request's metadata and its place beside the buffer.
    ///
    /// # Errors
    /// As [`user_copy`](Self::user_copy); EIO for a request without metadata.
    pub(crate) fn metadata_copy(
        &mut self,
        slot: u32,
        len_bytes: usize,
        to_request: bool,
    ) -> io::Result<()> {
        self.copy_part(slot, len_bytes, to_request, true)
    }

    fn copy_part(
        &mut self,
        slot: u32,
        len_bytes: usize,
        to_request: bool,
        integrity: bool,
    ) -> io::Result<()> {
        let (lane, index) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        let char_device = self.char_devices[lane].as_raw_fd();
        let position = UserCopyPos {
            queue: self.lanes[lane].queue,
            tag: self.lanes[lane].tags.tag(index),
            offset_bytes: 0,
            integrity,
        };
        let mut position = position.encode().ok_or_else(|| errno(libc::EINVAL))? as libc::off_t;
        if !self.gates.is_queues(slot) {
            return Err(errno(libc::EBUSY));
        }
        let mut rest = if integrity {
            self.buffers(slot, 0, len_bytes).map(|(_, metadata)| metadata)
        } else {
            self.buffer(slot, len_bytes)
        }
        .ok_or_else(|| errno(libc::EINVAL))?;
        while !rest.is_empty() {
            let moved = retry_eintr(|| {
                // SAFETY: `rest` is a slice of ours for the length of the call, and the descriptor is the lane's.
                let moved = unsafe {
                    let at = rest.as_mut_ptr().cast::<libc::c_void>();
                    if to_request {
                        libc::pwrite(char_device, at, rest.len(), position)
                    } else {
                        libc::pread(char_device, at, rest.len(), position)
                    }
                };
                usize::try_from(moved).map_err(|_| io::Error::last_os_error())
            })?;
            if moved == 0 {
                return Err(errno(libc::EIO));
            }
            rest = &mut rest[moved..];
            position += moved as libc::off_t;
        }
        Ok(())
    }
}
