//! The files raw commands are sent to.
//!
//! Each is shared with the SQEs made for it, so that a descriptor number is never reused by another file between
//! building an SQE and the kernel taking it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ctrl::{CONTROL_PATH, OpenError, char_path};
use crate::sys::char_mapping::{CharMapping, Protection};
use crate::sys::desc::DescArea;

/// How often a node that is not there yet is looked for.
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// `/dev/ublk-control`, opened without a client around it.
#[derive(Clone, Debug)]
pub struct ControlFile(pub(super) Arc<File>);

impl ControlFile {
    /// Opens the control node.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        crate::ctrl::open_node(Path::new(CONTROL_PATH)).map(|file| Self(Arc::new(file)))
    }
}

impl AsFd for ControlFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `/dev/ublkcN`. One process at a time may have it open; the process that opens it is the one START_DEV asks for.
///
/// The driver sees it closed when the last of these is gone: clones, SQEs, mappings and commands in flight.
#[derive(Clone, Debug)]
pub struct CharFile(pub(super) Arc<File>);

impl CharFile {
    /// Opens a device's character node.
    ///
    /// # Errors
    /// What open says: `EBUSY` while somebody has it open, `ENOENT` when there is no node (yet).
    pub fn open(dev_id: u32) -> io::Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).open(char_path(dev_id));
        opened.map(|file| Self(Arc::new(file)))
    }

    /// As [`CharFile::open`], trying again as long as the node is missing, not yet accessible, or busy: udev may be slow,
    /// and a dead server's device is released in the background.
    ///
    /// # Errors
    /// What the last open said, when the time is over; other errors at once.
    pub fn open_within(dev_id: u32, timeout: Duration) -> io::Result<Self> {
        let started = Instant::now();
        loop {
            let error = match Self::open(dev_id) {
                Ok(file) => return Ok(file),
                Err(error) => error,
            };
            let transient = [libc::ENOENT, libc::EACCES, libc::EBUSY, libc::ENXIO];
            let may_pass = error.raw_os_error().is_some_and(|errno| transient.contains(&errno));
            if !may_pass || started.elapsed() >= timeout {
                return Err(error);
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// Maps a queue's descriptors; see [`DescArea::map`].
    ///
    /// # Errors
    /// See [`DescArea::map`].
    pub fn map(&self, queue: u16, depth: u16, io_desc_size: u16) -> io::Result<DescArea> {
        DescArea::map(self.as_fd(), queue, depth, io_desc_size)
    }

    /// Maps any range; see [`DescArea::map_at`].
    ///
    /// # Errors
    /// See [`DescArea::map_at`].
    pub fn map_at(&self, offset: u64, len_bytes: usize, writable: bool) -> io::Result<DescArea> {
        DescArea::map_at(self.as_fd(), offset, len_bytes, writable)
    }

    /// Maps any range with any protection.
    ///
    /// # Errors
    /// What mmap says; `InvalidInput` for more than 1 GiB.
    pub fn map_any(
        &self,
        offset: u64,
        len_bytes: usize,
        protection: Protection,
        private: bool,
    ) -> io::Result<CharMapping> {
        CharMapping::new(self.as_fd(), offset, len_bytes, protection, private)
    }

    /// The file, for pread and pwrite in user-copy mode.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// One that another process has opened and handed over.
impl From<File> for CharFile {
    fn from(file: File) -> Self {
        Self(Arc::new(file))
    }
}

impl AsFd for CharFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `/dev/ublkbN`, without the page cache: for operations that are no commands.
#[derive(Clone, Debug)]
pub struct BlockFile(pub(super) Arc<File>);

impl BlockFile {
    /// Opens a device's block node.
    ///
    /// # Errors
    /// What open says: `ENOENT` when there is no node, `ENXIO` when the device is going.
    pub fn open(dev_id: u32) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT);
        options.open(crate::ctrl::block_path(dev_id)).map(|file| Self(Arc::new(file)))
    }
}

/// A file that takes no commands at all: the read end of a pipe.
#[derive(Clone, Debug)]
pub struct DecoyFile(pub(super) Arc<File>);

impl DecoyFile {
    /// Makes one.
    ///
    /// # Errors
    /// What pipe says.
    pub fn new() -> io::Result<Self> {
        let (reader, _) = io::pipe()?;
        Ok(Self(Arc::new(File::from(OwnedFd::from(reader)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No driver gives out this id: the largest is 2^20 - 1.
    const NO_DEVICE: u32 = 4_000_000_000;

    #[test]
    fn a_node_that_never_comes_is_given_up_on() {
        let started = Instant::now();
        let timeout = Duration::from_millis(30);
        let error = CharFile::open_within(NO_DEVICE, timeout).expect_err("no node");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert!(started.elapsed() >= timeout);
    }
}
