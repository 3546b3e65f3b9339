//! Memory that other processes write to at any moment. Nothing in this process ever loads from it or stores to it:
//! it is moved by the kernel at our request, between the mapping and a file (by the ring) or a buffer of ours (by
//! process_vm_readv(2) on ourselves). So there is no reference to it and no race in it, and where its file was cut
//! short meanwhile an access is EFAULT for one request, and not SIGBUS for the server.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use thiserror::Error;

use super::page_size_bytes;

/// Largest memory the driver takes at once.
pub const SHARED_MEMORY_LEN_BYTES_MAX: u64 = 1 << 32;

/// Why a file cannot be shared memory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SharedMemoryError {
    /// Its length does not do.
    #[error(
        "shared memory of {len_bytes} bytes: give whole pages of {page_bytes} bytes, 4 GiB at most"
    )]
    Length {
        /// What was asked for.
        len_bytes: u64,
        /// Bytes of a page here.
        page_bytes: usize,
    },
    /// The file ends before.
    #[error("shared memory of {len_bytes} bytes and a file of {file_bytes}: make it longer first")]
    Short {
        /// What was asked for.
        len_bytes: u64,
        /// What the file has.
        file_bytes: u64,
    },
    /// The file could not be looked at or mapped.
    #[error("cannot {what} the shared memory's file: {source}")]
    File {
        /// What was being done.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Memory that a device's clients share with its server: a mapping of a memfd, or of a file in tmpfs or hugetlbfs.
/// Cheap to clone.
///
/// A client that maps the same file and does O_DIRECT I/O from there has its requests served without a copy.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    mapping: Arc<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len_bytes: usize,
    writable: bool,
}

// SAFETY: a mapping belongs to the process, and this one is never accessed by its threads, but by the kernel.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `map` made, and nothing refers into it. A ring whose transfers may still
        // name it keeps it for ever.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len_bytes) };
    }
}

impl SharedMemory {
    /// Maps the first `len_bytes` of a file for reading and writing. The mapping outlives the file's descriptor.
    ///
    /// # Errors
    /// [`SharedMemoryError`].
    pub fn from_file(file: impl AsFd, len_bytes: u64) -> Result<Self, SharedMemoryError> {
        Self::map(file, len_bytes, true)
    }

    /// As [`from_file`](Self::from_file), for reading only: writes of the clients are served from it, and their reads
    /// take the device's usual way.
    ///
    /// # Errors
    /// [`SharedMemoryError`].
    pub fn read_only_from_file(file: impl AsFd, len_bytes: u64) -> Result<Self, SharedMemoryError> {
        Self::map(file, len_bytes, false)
    }

    fn map(file: impl AsFd, len_bytes: u64, writable: bool) -> Result<Self, SharedMemoryError> {
        let page_bytes = page_size_bytes();
        let fits = (1..=SHARED_MEMORY_LEN_BYTES_MAX).contains(&len_bytes)
            && len_bytes.is_multiple_of(page_bytes as u64);
        let mapped_bytes = usize::try_from(len_bytes).ok().filter(|_| fits);
        let Some(mapped_bytes) = mapped_bytes else {
            return Err(SharedMemoryError::Length { len_bytes, page_bytes });
        };
        let file = file.as_fd();
        let file_bytes = file_len_bytes(file.as_raw_fd());
        let file_bytes =
            file_bytes.map_err(|source| SharedMemoryError::File { what: "look at", source })?;
        if file_bytes < len_bytes {
            return Err(SharedMemoryError::Short { len_bytes, file_bytes });
        }
        let protection =
            if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped_bytes,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        let map_failed = |source| SharedMemoryError::File { what: "map", source };
        if base == libc::MAP_FAILED {
            return Err(map_failed(io::Error::last_os_error()));
        }
        let Some(base) = NonNull::new(base.cast::<u8>()) else {
            return Err(map_failed(io::Error::from_raw_os_error(libc::ENOMEM)));
        };
        Ok(Self { mapping: Arc::new(Mapping { base, len_bytes: mapped_bytes, writable }) })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.mapping.len_bytes as u64
    }

    /// Whether clients' reads can be served from it too.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.mapping.writable
    }

    /// Where it is mapped, as REG_BUF wants to know it.
    #[must_use]
    pub fn span(&self) -> SharedSpan {
        let addr = self.mapping.base.as_ptr().addr() as u64;
        SharedSpan { addr, len_bytes: self.len_bytes(), writable: self.is_writable() }
    }

    /// The address of a range for an operation of a ring; none where it is not all inside.
    pub(crate) fn address(&self, offset_bytes: u64, len_bytes: u64) -> Option<u64> {
        let end = offset_bytes.checked_add(len_bytes)?;
        (end <= self.len_bytes()).then(|| self.mapping.base.as_ptr().addr() as u64 + offset_bytes)
    }

    /// A client's read: as pread(2) from a file, or a device opened with O_DIRECT, into a range of the memory.
    ///
    /// # Errors
    /// What pread(2) says; EFAULT for a range that is not inside, `UnexpectedEof` where the file ends before.
    pub fn fill_from(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> io::Result<()> {
        self.file_io(offset_bytes, len_bytes, file.as_fd().as_raw_fd(), file_offset_bytes, false)
    }

    /// A client's write: as pwrite(2) of a range of the memory to a file, or a device opened with O_DIRECT.
    ///
    /// # Errors
    /// As [`fill_from`](Self::fill_from), with pwrite(2).
    pub fn send_to(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> io::Result<()> {
        self.file_io(offset_bytes, len_bytes, file.as_fd().as_raw_fd(), file_offset_bytes, true)
    }

    fn file_io(
        &self,
        mut offset_bytes: u64,
        len_bytes: u64,
        fd: libc::c_int,
        file_offset_bytes: u64,
        write: bool,
    ) -> io::Result<()> {
        let fault = || io::Error::from_raw_os_error(libc::EFAULT);
        let end = offset_bytes.checked_add(len_bytes).ok_or_else(fault)?;
        let mut position = libc::off_t::try_from(file_offset_bytes)
            .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        while offset_bytes < end {
            let left = end - offset_bytes;
            let address = self.address(offset_bytes, left).ok_or_else(fault)? as usize;
            let moved = super::retry_eintr(|| {
                // SAFETY: the range is inside of the mapping, which is there as long as `self`, and which nothing
                // refers into; the kernel may write to it as any client may.
                let moved = unsafe {
                    if write {
                        libc::pwrite(fd, address as *const _, left as usize, position)
                    } else {
                        libc::pread(fd, address as *mut _, left as usize, position)
                    }
                };
                u64::try_from(moved).map_err(|_| io::Error::last_os_error())
            })?;
            if moved == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset_bytes += moved;
            position += moved as libc::off_t;
        }
        Ok(())
    }

    /// Copies a range into a buffer. Others may write to the range meanwhile: the bytes are then of before and after.
    ///
    /// # Errors
    /// EFAULT for a range that is not inside, or whose file was cut short.
    pub fn read(&self, offset_bytes: u64, into: &mut [u8]) -> io::Result<()> {
        self.transfer(offset_bytes, into.as_mut_ptr(), into.len(), false)
    }

    /// Copies a buffer into a range.
    ///
    /// # Errors
    /// As [`read`](Self::read), also for memory that is for reading only.
    pub fn write(&self, offset_bytes: u64, from: &[u8]) -> io::Result<()> {
        self.transfer(offset_bytes, from.as_ptr().cast_mut(), from.len(), true)
    }

    /// `local` must be valid for that many bytes, and writable unless `write`; both callers have a slice.
    fn transfer(
        &self,
        offset_bytes: u64,
        local: *mut u8,
        len_bytes: usize,
        write: bool,
    ) -> io::Result<()> {
        let fault = || io::Error::from_raw_os_error(libc::EFAULT);
        let Some(address) = self.address(offset_bytes, len_bytes as u64) else {
            return Err(fault());
        };
        let pid = libc::pid_t::try_from(std::process::id()).map_err(|_| fault())?;
        let mut done = 0;
        while done < len_bytes {
            let left = len_bytes - done;
            let theirs = libc::iovec { iov_base: (address as usize + done) as _, iov_len: left };
            // SAFETY: `local` is a slice of the caller's for the length of the call, and `done` below its length. The
            // other side is this mapping: whole, for `self` is there, and referred to by nothing.
            let moved = unsafe {
                let ours = libc::iovec { iov_base: local.add(done).cast(), iov_len: left };
                if write {
                    libc::process_vm_writev(pid, &raw const ours, 1, &raw const theirs, 1, 0)
                } else {
                    libc::process_vm_readv(pid, &raw const ours, 1, &raw const theirs, 1, 0)
                }
            };
            match usize::try_from(moved) {
                Err(_) => return Err(io::Error::last_os_error()),
                Ok(0) => return Err(fault()),
                // Less than all: what follows says why.
                Ok(moved) => done += moved,
            }
        }
        Ok(())
    }
}

/// The place of a [`SharedMemory`] in this process, for a REG_BUF command. The kernel pins the pages it finds there
/// and writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSpan {
    pub(crate) addr: u64,
    pub(crate) len_bytes: u64,
    pub(crate) writable: bool,
}

fn file_len_bytes(fd: libc::c_int) -> io::Result<u64> {
    // SAFETY: all zeroes is a value of this plain struct, and fstat writes to nothing else.
    let (done, stat) = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &raw mut stat), stat)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn file(len_bytes: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len_bytes).unwrap();
        file
    }

    #[test]
    fn what_is_copied_in_is_in_the_file_and_back() {
        let file = file(3 << 12);
        let memory = SharedMemory::from_file(&file, 2 << 12).unwrap();
        assert_eq!(memory.len_bytes(), 2 << 12);
        memory.write(4095, &[1, 2, 3]).unwrap();
        let mut seen = [0; 5];
        file.read_exact_at(&mut seen, 4094).unwrap();
        assert_eq!(seen, [0, 1, 2, 3, 0]);
        file.write_all_at(&[9], 4096).unwrap();
        memory.read(4094, &mut seen).unwrap();
        assert_eq!(seen, [0, 1, 9, 3, 0]);
        memory.read(8192, &mut []).unwrap();
    }

    #[test]
    fn a_client_moves_bytes_between_a_file_and_the_memory() {
        let (disk, shared) = (file(4 << 12), file(4 << 12));
        let memory = SharedMemory::from_file(&shared, 4 << 12).unwrap();
        memory.write(512, &[7; 1024]).unwrap();
        memory.send_to(512, 1024, &disk, 4096).unwrap();
        memory.fill_from(8192, 2048, &disk, 4096 - 512).unwrap();
        let mut seen = [0; 2048];
        memory.read(8192, &mut seen).unwrap();
        assert_eq!((seen[511], seen[512], seen[1535], seen[1536]), (0, 7, 7, 0));
        let error = memory.fill_from(0, 4096, &disk, (4 << 12) - 512).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = memory.send_to(4 << 12, 1, &disk, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    }

    #[test]
    fn what_is_not_inside_is_a_fault() {
        let memory = SharedMemory::from_file(file(1 << 12), 1 << 12).unwrap();
        for (offset, len) in [(4095, 2), (4097, 0), (u64::MAX, 1)] {
            assert_eq!(memory.address(offset, len), None, "{offset} {len}");
        }
        let error = memory.read(4000, &mut [0; 97]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        assert!(memory.address(4096, 0).is_some());
    }

    #[test]
    fn a_file_that_was_cut_short_is_a_fault_and_no_signal() {
        let file = file(2 << 12);
        let memory = SharedMemory::from_file(&file, 2 << 12).unwrap();
        file.set_len(1 << 12).unwrap();
        let mut bytes = vec![0; 2 << 12];
        let error = memory.read(0, &mut bytes).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        let error = memory.write(1 << 12, &bytes[..512]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        memory.read(0, &mut bytes[..4096]).unwrap();
    }

    #[test]
    fn what_is_read_only_is_not_written() {
        let memory = SharedMemory::read_only_from_file(file(1 << 12), 1 << 12).unwrap();
        assert!(!memory.is_writable());
        let error = memory.write(0, &[1]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        memory.read(0, &mut [0]).unwrap();
    }

    #[test]
    fn lengths_that_do_not_do_are_refused_with_the_reason() {
        let file = file(1 << 12);
        for len_bytes in [0, 100, SHARED_MEMORY_LEN_BYTES_MAX + 4096, u64::MAX] {
            let error = SharedMemory::from_file(&file, len_bytes).unwrap_err().to_string();
            assert!(error.contains("whole pages"), "{error}");
        }
        let error = SharedMemory::from_file(&file, 2 << 12).unwrap_err().to_string();
        assert!(error.contains("a file of 4096: make it longer"), "{error}");
    }
}
