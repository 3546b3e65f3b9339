//! A block device as a client sees it: `O_DIRECT`, aligned buffers, bounded waits for nodes.
//!
//! `O_DIRECT` because a page cache between the workload and the server makes every data check vacuous;
//! the seed project lost weeks to exactly that.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::context::{During, Stop};
use crate::signature::SECTOR_BYTES;

/// Alignment that satisfies every logical block up to a page.
const ALIGN_BYTES: usize = 4096;

/// The size of a page of this machine, which is 4096 bytes on x86 and may be more elsewhere.
#[must_use]
pub(crate) fn page_bytes() -> usize {
    ublk::sys::page_size_bytes()
}

/// A buffer that may be given to `O_DIRECT`.
#[derive(Debug)]
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    len_bytes: usize,
}

impl AlignedBuffer {
    /// A zeroed buffer of `len_bytes`, aligned to 4096 bytes.
    #[must_use]
    pub fn zeroed(len_bytes: usize) -> Self {
        let storage = vec![0; len_bytes + ALIGN_BYTES];
        // The allocation never moves: the vector is neither grown nor exposed.
        let start = storage.as_ptr().align_offset(ALIGN_BYTES);
        Self { storage, start, len_bytes }
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len_bytes]
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len_bytes]
    }
}

/// An open block device, without the page cache.
#[derive(Debug)]
pub struct BlockDevice {
    file: File,
    path: PathBuf,
}

impl BlockDevice {
    /// Opens `path` with `O_DIRECT`, waiting up to `timeout` for the node: devtmpfs or udev may be late.
    ///
    /// # Errors
    /// When it cannot be opened by then.
    pub fn open(path: &Path, timeout: Duration) -> Result<Self, Stop> {
        Self::open_with(path, 0, timeout)
    }

    /// The same, with `O_DSYNC`: each write is durable when it returns.
    ///
    /// # Errors
    /// As [`BlockDevice::open`].
    pub fn open_durable(path: &Path, timeout: Duration) -> Result<Self, Stop> {
        Self::open_with(path, nix::libc::O_DSYNC, timeout)
    }

    fn open_with(path: &Path, flags: i32, timeout: Duration) -> Result<Self, Stop> {
        let flags = flags | nix::libc::O_DIRECT;
        let file = retry(timeout, || {
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
        })
        .during(format_args!("open {}", path.display()))?;
        Ok(Self { file, path: path.into() })
    }

    /// Size in bytes as sysfs tells it.
    ///
    /// # Errors
    /// When sysfs has no such device.
    pub fn size_bytes(&self) -> Result<u64, Stop> {
        let sectors: u64 = self.sysfs("size")?.parse().during("read the size")?;
        Ok(sectors * SECTOR_BYTES as u64)
    }

    /// A value of `/sys/block/<name>/`.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn sysfs(&self, value: &str) -> Result<String, Stop> {
        let name = self.path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        sysfs_block(name, value)
    }

    /// Reads a whole buffer.
    ///
    /// # Errors
    /// The device's error.
    pub fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(buffer, offset_bytes)
    }

    /// Writes a whole buffer.
    ///
    /// # Errors
    /// The device's error.
    pub fn write_at(&self, offset_bytes: u64, buffer: &[u8]) -> std::io::Result<()> {
        self.file.write_all_at(buffer, offset_bytes)
    }

    /// Sends a FLUSH and waits for it.
    ///
    /// # Errors
    /// The device's error.
    pub fn flush(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    /// Its open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A value of `/sys/block/<name>/`, trimmed.
///
/// # Errors
/// When there is no such file.
pub fn sysfs_block(name: &str, value: &str) -> Result<String, Stop> {
    let path = Path::new("/sys/block").join(name).join(value);
    let text = std::fs::read_to_string(&path).during(format_args!("read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Repeats `attempt` until it succeeds or `timeout` is over; the last error is returned.
///
/// # Errors
/// The error of the last attempt.
pub fn retry<T, E>(timeout: Duration, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(_) if begin.elapsed() < timeout => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
}

/// Waits up to `timeout` for `condition`; whether it came.
pub fn wait_until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    retry(timeout, || if condition() { Ok(()) } else { Err(()) }).is_ok()
}

/// `/dev/ublkc<id>` and `/dev/ublkb<id>`.
#[must_use]
pub fn nodes(id: u32) -> (PathBuf, PathBuf) {
    (format!("/dev/ublkc{id}").into(), format!("/dev/ublkb{id}").into())
}

/// Names of every ublk device node, whoever made it.
///
/// # Errors
/// When `/dev` cannot be read.
pub fn all_nodes() -> Result<Vec<String>, Stop> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/dev").during("list /dev")? {
        let name = entry.during("list /dev")?.file_name().to_string_lossy().into_owned();
        if name.starts_with("ublkc") || name.starts_with("ublkb") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_whole() {
        for len in [512, 4096, 65536 + 512] {
            let mut buffer = AlignedBuffer::zeroed(len);
            assert_eq!(buffer.as_ptr() as usize % ALIGN_BYTES, 0);
            assert_eq!(buffer.len(), len);
            buffer[len - 1] = 1;
        }
    }

    #[test]
    fn retry_gives_up_with_the_last_error() {
        let mut count = 0;
        let result: Result<(), i32> = retry(Duration::from_millis(20), || {
            count += 1;
            Err(count)
        });
        assert_eq!(result, Err(count));
        assert!(count > 1);
    }
}
