//! What tasks have the kernel do, done at once: the files are real, and only their bytes take another way
//! than through a ring.

use std::io;

use super::{Backing, Double};
use crate::queue::Transfer;
use crate::sys::memory::Memory;
use crate::sys::worker_ring::Operation;
use crate::uapi::IoFlags;

fn errno(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl Double {
    /// What a ring refuses before the kernel sees it.
    pub(super) fn check_operation(&self, operation: Operation) -> io::Result<()> {
        match operation {
            Operation::Transfer { file, .. }
            | Operation::Sync { file }
            | Operation::Allocate { file, .. } => {
                self.files.get(file as usize).map(drop).ok_or_else(|| errno(libc::EINVAL))
            }
            Operation::Register if !self.keeps_pages() => Err(errno(libc::EOPNOTSUPP)),
            Operation::Register | Operation::Sleep { .. } => Ok(()),
        }
    }

    /// Whether transfers move bytes between files and the request's own pages.
    fn keeps_pages(&self) -> bool {
        matches!(self.transfer, Transfer::Registered { .. })
    }

    fn register(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        assert!(!std::mem::replace(&mut slot.registered, true), "registered twice");
    }

    fn is_registered(&self, slot: usize) -> bool {
        let slot = &self.slots[slot];
        let left_out = slot.descriptor.flags().contains(IoFlags::NEED_REG_BUF);
        let by_kernel = matches!(self.transfer, Transfer::Registered { auto: true, .. });
        slot.registered || (by_kernel && !left_out)
    }

    /// Carries an operation out, and gives the bytes that it moved.
    pub(super) fn operate(&mut self, slot: usize, operation: Operation) -> io::Result<usize> {
        match operation {
            Operation::Register => {
                self.register(slot);
                Ok(0)
            }
            Operation::Sync { file } => self.files[file as usize].sync().map(|()| 0),
            Operation::Allocate { file, mode, offset_bytes, len_bytes } => {
                self.files[file as usize].allocate(mode, offset_bytes, len_bytes).map(|()| 0)
            }
            Operation::Transfer {
                write,
                file,
                offset_bytes,
                start_bytes,
                len_bytes,
                dsync,
                register,
                // Memory that clients share is no matter of the double's.
                shared: _,
            } => {
                if register {
                    assert!(self.keeps_pages(), "a page that nobody could register");
                    self.register(slot);
                }
                if self.keeps_pages() && !self.is_registered(slot) {
                    return Err(errno(libc::EFAULT));
                }
                let len = (len_bytes as usize).min(self.transfer_max_bytes);
                let range = (start_bytes as usize, len);
                let memory = if self.keeps_pages() { &mut self.pages } else { &mut self.memory };
                let backing = &mut self.files[file as usize];
                let moved = transfer(memory, slot as u32, range, backing, offset_bytes, write)?;
                if write && dsync {
                    self.files[file as usize].sync()?;
                }
                Ok(moved)
            }
            // Not done at once.
            Operation::Sleep { .. } => Ok(0),
        }
    }
}

/// Moves bytes between a slot's memory, which is the kernel's now, and a file.
fn transfer(
    memory: &mut Memory,
    slot: u32,
    (start, len): (usize, usize),
    backing: &mut Backing,
    offset_bytes: u64,
    write: bool,
) -> io::Result<usize> {
    let mut done = Ok(0);
    let seen = memory.with(slot, start + len, |bytes| {
        let bytes = &mut bytes[start..];
        done = if write {
            backing.write_at(bytes, offset_bytes)
        } else {
            backing.read_at(bytes, offset_bytes)
        };
    });
    // As the ring answers for memory that it cannot reach.
    if seen { done } else { Err(errno(libc::EFAULT)) }
}
