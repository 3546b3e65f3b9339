//! `/dev/ublkcN`, opened. ADD_DEV makes the node, but where udev or a container's runtime is in charge of
//! /dev it appears, or becomes accessible, a little later: so opening is retried for a bounded time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The open character device of a ublk device.
///
/// The kernel takes the process that opened it for the device's server, allows no second opener, and
/// keeps a deleted device's id taken until it is closed.
#[derive(Debug)]
pub struct CharDevice {
    file: File,
    path: PathBuf,
}

impl CharDevice {
    /// Opens the node of that device, waiting up to `timeout` for it to appear and be free.
    ///
    /// # Errors
    /// What open(2) said last: ENOENT for no node, EACCES for one that is not ours, EBUSY for one that
    /// another server (or the end of an earlier one) holds.
    pub fn open(dev_id: u32, timeout: Duration) -> io::Result<Self> {
        Self::open_path(&PathBuf::from(format!("/dev/ublkc{dev_id}")), timeout)
    }

    /// Opens a node at another place, as in a private /dev.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_path(path: &Path, timeout: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + timeout;
        loop {
            match OpenOptions::new().read(true).write(true).open(path) {
                Ok(file) => return Ok(Self { file, path: path.into() }),
                Err(error) => {
                    let may_pass = matches!(
                        error.raw_os_error(),
                        Some(libc::ENOENT | libc::EACCES | libc::EPERM | libc::EBUSY | libc::EINTR)
                    );
                    if !may_pass || Instant::now() >= deadline {
                        return Err(error);
                    }
                    sleep(RETRY_INTERVAL);
                }
            }
        }
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_comes_late_is_waited_for_and_one_that_never_comes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ublkc7");
        let started = Instant::now();
        let missing = CharDevice::open_path(&path, Duration::from_millis(50)).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(started.elapsed() >= Duration::from_millis(50));
        let late = path.clone();
        let maker = std::thread::spawn(move || {
            sleep(Duration::from_millis(60));
            std::fs::write(late, b"").unwrap();
        });
        CharDevice::open_path(&path, Duration::from_secs(5)).unwrap();
        maker.join().unwrap();
    }

    #[test]
    fn an_error_that_cannot_pass_is_not_waited_for() {
        let started = Instant::now();
        let error = CharDevice::open_path(Path::new("/dev/null/x"), Duration::from_secs(5));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}
