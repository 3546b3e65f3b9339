//! A mapping of a character node made and changed in any way, for tests of the driver's memory.
//!
//! No reference into it is given out. What can be taken away of it is an end, so that its range stays one, and what is
//! unmapped is never touched, or unmapped again, by this type.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::page_size_bytes;

/// Longest mapping.
const MAX_LEN_BYTES: usize = 1 << 30;

/// What may be done with a mapping: `PROT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// PROT_READ.
    pub read: bool,
    /// PROT_WRITE.
    pub write: bool,
    /// PROT_EXEC.
    pub exec: bool,
}

impl Protection {
    fn bits(self) -> i32 {
        let bit = |is: bool, bit: i32| if is { bit } else { 0 };
        bit(self.read, libc::PROT_READ)
            | bit(self.write, libc::PROT_WRITE)
            | bit(self.exec, libc::PROT_EXEC)
    }
}

/// The mapping; what is left of it is unmapped when it is dropped.
#[derive(Debug)]
pub struct CharMapping {
    base: NonNull<u8>,
    len_bytes: usize,
    readable: bool,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for CharMapping {}

impl CharMapping {
    pub(crate) fn new(
        file: BorrowedFd<'_>,
        offset: u64,
        len_bytes: usize,
        protection: Protection,
        private: bool,
    ) -> io::Result<Self> {
        if len_bytes > MAX_LEN_BYTES {
            let why = "mapping must be at most 1 GiB long";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let sort = if private { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing, and the descriptor is open.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len_bytes,
                protection.bits(),
                sort,
                file.as_raw_fd(),
                offset.cast_signed(),
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("kernel mapped a device at address zero"))?;
        let len_bytes = len_bytes.next_multiple_of(page_size_bytes());
        Ok(Self { base, len_bytes, readable: protection.read })
    }

    /// Bytes that are still mapped.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Asks for another protection.
    ///
    /// # Errors
    /// What mprotect says.
    pub fn protect(&mut self, protection: Protection) -> io::Result<()> {
        // SAFETY: the range is this mapping's, into which there is no reference.
        let done =
            unsafe { libc::mprotect(self.base.as_ptr().cast(), self.len_bytes, protection.bits()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        self.readable = protection.read;
        Ok(())
    }

    /// Asks for another length, at any place.
    ///
    /// # Errors
    /// What mremap says; `InvalidInput` for more than 1 GiB.
    pub fn resize(&mut self, len_bytes: usize) -> io::Result<()> {
        if len_bytes > MAX_LEN_BYTES {
            let why = "mapping must be at most 1 GiB long";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        // SAFETY: the range is this mapping's, into which there is no reference; where it moves to is the kernel's choice.
        let base = unsafe {
            libc::mremap(self.base.as_ptr().cast(), self.len_bytes, len_bytes, libc::MREMAP_MAYMOVE)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("kernel moved a mapping to address zero"))?;
        self.len_bytes = len_bytes.next_multiple_of(page_size_bytes());
        Ok(())
    }

    /// Unmaps whole pages at the front or the end, at most so many bytes, and never all of them.
    ///
    /// # Errors
    /// What munmap says.
    pub fn trim(&mut self, front: bool, len_bytes: usize) -> io::Result<()> {
        let page = page_size_bytes();
        let len_bytes = (len_bytes / page * page).min(self.len_bytes - page);
        if len_bytes == 0 {
            return Ok(());
        }
        let at = if front { 0 } else { self.len_bytes - len_bytes };
        // SAFETY: the part is inside this mapping, and is forgotten here.
        let done = unsafe { libc::munmap(self.base.as_ptr().add(at).cast(), len_bytes) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        if front {
            // SAFETY: at least a page is left behind the new beginning.
            self.base = unsafe { self.base.add(len_bytes) };
        }
        self.len_bytes -= len_bytes;
        Ok(())
    }

    /// The first and the last word; none where it cannot be read.
    #[must_use]
    pub fn look(&self) -> Option<[u64; 2]> {
        if !self.readable {
            return None;
        }
        let word = |at: usize| {
            // SAFETY: the mapping is at least a page long, readable, and made of the device's own pages, which stay.
            unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }
                .load(Ordering::Relaxed)
        };
        Some([word(0), word(self.len_bytes - 8)])
    }
}

impl Drop for CharMapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    const READ: Protection = Protection { read: true, write: false, exec: false };

    #[test]
    fn a_mapping_loses_its_ends_and_is_read_at_what_is_left() {
        let page = page_size_bytes();
        let mut file = tempfile::tempfile().expect("file");
        for number in 0..4_u64 {
            file.write_all(&vec![number as u8 + 1; page]).expect("written");
        }
        let byte = |number: u64| u64::from_ne_bytes([number as u8; 8]);
        let mut mapping = CharMapping::new(file.as_fd(), 0, 4 * page, READ, false).expect("mapped");
        assert_eq!(mapping.look(), Some([byte(1), byte(4)]));
        mapping.trim(true, page).expect("trimmed");
        mapping.trim(false, page + 1).expect("trimmed");
        assert_eq!((mapping.len_bytes(), mapping.look()), (2 * page, Some([byte(2), byte(3)])));
        mapping.resize(page).expect("shrunk");
        assert_eq!(mapping.look(), Some([byte(2), byte(2)]));
        mapping.trim(true, 100 * page).expect("nothing to trim");
        mapping.protect(Protection { read: false, ..READ }).expect("protected");
        assert_eq!((mapping.len_bytes(), mapping.look()), (page, None));
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let file = tempfile::tempfile().expect("file");
        let error = CharMapping::new(file.as_fd(), 100, 4096, READ, true).expect_err("odd offset");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        let error = CharMapping::new(file.as_fd(), 0, 0, READ, true).expect_err("no length");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
