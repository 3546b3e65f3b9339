//! The usual case: the base and the overlay are files.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::layout::{Layout, SECTOR_BYTES};
use super::{CowTarget, CowTargetError};
use crate::target::{FileOptions, FileTarget, FileTargetError, Target};

/// An exclusive lock on the overlay; it goes with the process, however that ends.
pub(super) type Lock = Flock<File>;

/// How long to wait for an overlay that another server has: one that was killed, and whose device is
/// being recovered, may need a moment to be gone.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

impl CowTarget<FileTarget, FileTarget> {
    /// Opens `base` for reading, and goes on with the overlay in the file `overlay`, which is made where
    /// it does not exist. An overlay that exists keeps its cluster.
    ///
    /// # Errors
    /// [`CowTargetError`].
    pub fn open(
        base: impl AsRef<Path>,
        overlay: impl AsRef<Path>,
        cluster_bytes: u32,
    ) -> Result<Self, CowTargetError> {
        let base = FileTarget::open(FileOptions::new(base.as_ref()).read_only(true))
            .map_err(CowTargetError::Base)?;
        let base_bytes = base.size_bytes() / SECTOR_BYTES * SECTOR_BYTES;
        let path = overlay.as_ref();
        let wanted = Layout::new(base_bytes, cluster_bytes)?.end();
        let create =
            |source| CowTargetError::Overlay(FileTargetError::Open { path: path.into(), source });
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let lock = lock(file.map_err(create)?, path)?;
        let options = FileOptions::new(path);
        let options = match lock.metadata()?.len() {
            0 => options.size_bytes(wanted),
            // It is not touched before its header is known. Zeroes of the right length are an overlay
            // whose making was interrupted; any other zeroes are somebody's.
            len_bytes => {
                let there = FileTarget::open(options.clone()).map_err(CowTargetError::Overlay)?;
                if Layout::read(&there)?.is_none() && len_bytes != wanted {
                    return Err(CowTargetError::NotAnOverlay);
                }
                options
            }
        };
        let overlay = FileTarget::open(options).map_err(CowTargetError::Overlay)?;
        let mut target = Self::new(base, overlay, cluster_bytes)?;
        target._lock = Some(lock);
        Ok(target)
    }
}

fn lock(mut file: File, path: &Path) -> Result<Lock, CowTargetError> {
    let begin = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((same, nix::Error::EWOULDBLOCK | nix::Error::EINTR)) => file = same,
            Err((_, errno)) => return Err(CowTargetError::Io(io::Error::from(errno))),
        }
        if begin.elapsed() > LOCK_TIMEOUT {
            return Err(CowTargetError::InUse { path: path.into() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
