//! What the transfers of a double read and write: real files, or bytes in memory where a test has no use
//! for more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, fallocate};

/// A file as a ring sees it.
#[derive(Debug)]
pub(crate) enum Backing {
    File(Arc<File>),
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl Backing {
    /// As pread(2).
    pub(super) fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(buffer, offset_bytes),
            #[cfg(test)]
            Self::Memory(bytes) => {
                let rest = bytes.get(offset_bytes as usize..).unwrap_or_default();
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            }
        }
    }

    /// As pwrite(2), but bytes in memory do not grow.
    pub(super) fn write_at(&mut self, data: &[u8], offset_bytes: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write_at(data, offset_bytes),
            #[cfg(test)]
            Self::Memory(bytes) => {
                let rest = bytes.get_mut(offset_bytes as usize..).unwrap_or_default();
                let len = rest.len().min(data.len());
                rest[..len].copy_from_slice(&data[..len]);
                Ok(len)
            }
        }
    }

    /// As fdatasync(2).
    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            #[cfg(test)]
            Self::Memory(_) => Ok(()),
        }
    }

    /// As fallocate(2).
    pub(super) fn allocate(&self, mode: u32, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let flags = FallocateFlags::from_bits(mode.cast_signed()).ok_or_else(invalid)?;
        let (Ok(offset), Ok(len)) = (offset_bytes.try_into(), len_bytes.try_into()) else {
            return Err(invalid());
        };
        match self {
            Self::File(file) => fallocate(&**file, flags, offset, len).map_err(io::Error::from),
            #[cfg(test)]
            Self::Memory(_) => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        }
    }
}

#[cfg(test)]
impl From<Vec<u8>> for Backing {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(bytes)
    }
}
