//! Memory that a ring shares with the kernel, as words that are only touched through atomics: whoever has it may let a
//! second thread rewrite them at the moment the kernel reads, which no reference to plain memory would allow.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

/// Memory shared with the kernel, as words.
#[derive(Debug)]
pub(crate) struct SharedWords {
    base: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: a mapping belongs to the process, and this one is only touched through atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps a part of a ring.
    ///
    /// # Errors
    /// What mmap says.
    pub(crate) fn map(ring: &OwnedFd, len_bytes: usize, offset: libc::off_t) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing, and the descriptor is open.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring.as_raw_fd(),
                offset,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("kernel mapped a ring at address zero"))?;
        Ok(Self { base, len_bytes })
    }

    /// The word at an offset.
    ///
    /// # Panics
    /// When it is not aligned or not inside.
    pub(crate) fn word(&self, offset_bytes: usize) -> &AtomicU32 {
        let fits = offset_bytes.is_multiple_of(4) && offset_bytes + 4 <= self.len_bytes;
        assert!(fits, "word at {offset_bytes} is not in a ring's {} bytes", self.len_bytes);
        // SAFETY: inside the mapping and aligned, as was just asked; the mapping lives as long as `self`.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset_bytes).cast()) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len_bytes) };
    }
}
