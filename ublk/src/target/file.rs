//! A device whose bytes are a file's, or another block device's: what a loop device does, with a crash
//! story. Writes go to the page cache (or with O_DIRECT to the device below), flush is fdatasync.

mod options;
mod zero;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FallocateFlags, fallocate};
use thiserror::Error;

pub use options::FileOptions;

use super::{Capabilities, Extent, Extents, Op, Target};
use zero::Aligned;

/// Why a file cannot back a device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileTargetError {
    /// The file could not be opened or created.
    #[error("cannot open {path:?}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is neither a regular file nor a block device.
    #[error("{path:?} is neither a regular file nor a block device")]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// The file could not be given its size.
    #[error("cannot make {path:?} {size_bytes} bytes long: {source}")]
    Resize {
        /// The file.
        path: PathBuf,
        /// The size asked for.
        size_bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// The backing is smaller than the size asked for, and cannot grow.
    #[error("{path:?} has {actual_bytes} bytes and cannot grow to {size_bytes}")]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// What it has.
        actual_bytes: u64,
        /// The size asked for.
        size_bytes: u64,
    },
    /// The file is empty and no size was given.
    #[error("{path:?} is empty, give a size")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// O_DIRECT works with no logical block this crate can offer.
    #[error("cannot read {path:?} with O_DIRECT, leave it out: {source}")]
    Direct {
        /// The file.
        path: PathBuf,
        /// What the last attempt said.
        source: io::Error,
    },
}

/// A file or block device as backing.
///
/// With O_DIRECT a buffer must be aligned in memory too; the buffers of a queue are.
#[derive(Debug)]
pub struct FileTarget {
    file: Arc<File>,
    size_bytes: AtomicU64,
    /// Whether the file may be made longer, as a block device may not.
    can_grow: bool,
    capabilities: Capabilities,
}

impl FileTarget {
    /// Opens, and where a size is given creates or grows, the backing.
    ///
    /// # Errors
    /// [`FileTargetError`]; a file that was created stays.
    pub fn open(options: FileOptions) -> Result<Self, FileTargetError> {
        let FileOptions { path, size_bytes: wanted, direct, read_only } = options;
        let mut open = OpenOptions::new();
        open.read(true).write(!read_only).create(wanted.is_some() && !read_only).truncate(false);
        let opened = |flags| open.clone().custom_flags(flags).open(&path);
        let file = opened(if direct { libc::O_DIRECT } else { 0 })
            .map_err(|source| FileTargetError::Open { path: path.clone(), source })?;
        let kind = file
            .metadata()
            .map_err(|source| FileTargetError::Open { path: path.clone(), source })?
            .file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(FileTargetError::Kind { path });
        }
        let can_grow = kind.is_file() && !read_only;
        let size_bytes = settle_size(&file, &path, wanted, can_grow)?;
        let logical_block_bytes_min = if direct {
            direct_block_bytes(&file)
                .map_err(|source| FileTargetError::Direct { path: path.clone(), source })?
        } else {
            512
        };
        let capabilities = Capabilities {
            flush: true,
            fua: true,
            discard: !read_only && (kind.is_block_device() || punches_holes(&file)),
            write_zeroes: true,
            read_only,
            rotational: false,
            logical_block_bytes_min,
            discard_granularity_bytes: 4096,
            extents: true,
            ..Capabilities::default()
        };
        let size_bytes = AtomicU64::new(size_bytes);
        Ok(Self { file: Arc::new(file), size_bytes, can_grow, capabilities })
    }

    /// Zeroes by writing zeroes.
    fn write_out_zeroes(&self, mut offset: u64, mut len: u64) -> io::Result<()> {
        let zeroes = Aligned::zeroes();
        while len > 0 {
            let part = len.min(zeroes.len() as u64) as usize;
            self.file.write_all_at(&zeroes[..part], offset)?;
            offset += part as u64;
            len -= part as u64;
        }
        Ok(())
    }

    fn fallocate(&self, flags: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
        let range = (i64::try_from(offset), i64::try_from(len));
        let (Ok(offset), Ok(len)) = range else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        loop {
            match fallocate(&*self.file, flags | FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, len) {
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(()) => return Ok(()),
            }
        }
    }
}

/// The size to serve; a regular file is grown to the wanted one, and never shrunk.
fn settle_size(
    file: &File,
    path: &std::path::Path,
    wanted: Option<u64>,
    can_grow: bool,
) -> Result<u64, FileTargetError> {
    // metadata() says 0 for a block device; the end of the file is right for both.
    let mut end = file;
    let actual_bytes = end
        .seek(SeekFrom::End(0))
        .map_err(|source| FileTargetError::Open { path: path.into(), source })?;
    match wanted {
        None if actual_bytes == 0 => Err(FileTargetError::Empty { path: path.into() }),
        None => Ok(actual_bytes),
        Some(size_bytes) if size_bytes <= actual_bytes => Ok(size_bytes),
        Some(size_bytes) if can_grow => {
            file.set_len(size_bytes).map_err(|source| FileTargetError::Resize {
                path: path.into(),
                size_bytes,
                source,
            })?;
            Ok(size_bytes)
        }
        Some(size_bytes) => {
            Err(FileTargetError::TooSmall { path: path.into(), actual_bytes, size_bytes })
        }
    }
}

/// The smallest block that O_DIRECT takes here, by trying: what statx says about it depends on kernel
/// and file system, what a read does is what counts.
fn direct_block_bytes(file: &File) -> io::Result<u32> {
    let mut buffer = Aligned::boxed();
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for block in [512_u32, 1024, 2048, 4096] {
        // At `block`, not at 0: an offset of 0 is aligned to everything.
        match file.read_at(&mut buffer[..block as usize], u64::from(block)) {
            Ok(_) => return Ok(block),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Whether holes can be punched, asked where it changes nothing: behind the end of the file.
fn punches_holes(file: &File) -> bool {
    let Ok(end) = file.metadata().map(|metadata| metadata.len().next_multiple_of(4096)) else {
        return false;
    };
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    i64::try_from(end).is_ok_and(|end| fallocate(file, flags, end, 4096).is_ok())
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL))
}

impl Target for FileTarget {
    fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// Grows, the file too where it has to; a block device that has grown is followed.
    fn resize(&self, size_bytes: u64) -> io::Result<()> {
        if size_bytes < self.size_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file can only grow"));
        }
        let mut end = &*self.file;
        let actual_bytes = end.seek(SeekFrom::End(0))?;
        if size_bytes > actual_bytes {
            if !self.can_grow {
                let message = format!("what is below has {actual_bytes} bytes");
                return Err(io::Error::new(io::ErrorKind::StorageFull, message));
            }
            self.file.set_len(size_bytes)?;
        }
        self.size_bytes.fetch_max(size_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset_bytes)
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        self.file.write_all_at(data, offset_bytes)?;
        if fua { self.file.sync_data() } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        self.fallocate(FallocateFlags::FALLOC_FL_PUNCH_HOLE, offset_bytes, len_bytes)
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        // A hole is the cheapest zero. Where it must not be one, an unwritten extent is the next.
        let flags = if may_unmap && self.capabilities.discard {
            FallocateFlags::FALLOC_FL_PUNCH_HOLE
        } else {
            FallocateFlags::FALLOC_FL_ZERO_RANGE
        };
        match self.fallocate(flags, offset_bytes, len_bytes) {
            Err(error) if is_unsupported(&error) => self.write_out_zeroes(offset_bytes, len_bytes),
            done => done,
        }
    }

    fn files(&self) -> Vec<Arc<File>> {
        vec![Arc::clone(&self.file)]
    }

    fn extents(
        &self,
        _op: Op,
        offset_bytes: u64,
        len_bytes: u32,
        extents: &mut Extents,
    ) -> io::Result<()> {
        // The file may be longer than the device, and what lies behind is not ours to give.
        let end = offset_bytes.checked_add(u64::from(len_bytes));
        if end.is_none_or(|end| end > self.size_bytes()) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        extents.push(Extent { file: 0, offset_bytes, len_bytes });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
