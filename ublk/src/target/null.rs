//! A device that stores nothing, to measure everything but the storage.

use std::io;

use super::{Capabilities, Target};

/// Swallows writes and reads as zeroes.
#[derive(Clone, Debug)]
pub struct NullTarget {
    size_bytes: u64,
    fill: bool,
}

impl NullTarget {
    /// A device of that size which reads as zeroes.
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes, fill: true }
    }

    /// A device of that size which does not even touch the buffer: a read gives what an earlier request
    /// of the same device left there. For comparisons with other servers' null targets, which do so.
    pub fn untouched(size_bytes: u64) -> Self {
        Self { size_bytes, fill: false }
    }
}

impl Target for NullTarget {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            discard: true,
            write_zeroes: self.fill,
            ignores_data: !self.fill,
            ..Capabilities::default()
        }
    }

    fn read(&self, _offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.fill {
            buffer.fill(0);
        }
        Ok(())
    }

    fn write(&self, _offset_bytes: u64, _data: &[u8], _fua: bool) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _offset_bytes: u64, _len_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _offset: u64, _len_bytes: u64, _may_unmap: bool) -> io::Result<()> {
        Ok(())
    }
}
