//! The pid file of a server: a lock that goes with the process, so that a stale one is in nobody's way
//! and two servers never share one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::exit::Failure;

/// How often a file may go between our opening and our locking it.
const TRIES_MAX: u32 = 5;

/// A pid file that is held. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl PidFile {
    /// Writes this process's id to `path` and holds it.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let wrong = |error: io::Error| {
            Failure::failed(format!("cannot use the pid file {}: {error}", path.display()))
        };
        // A daemon goes to another directory later.
        let path = std::path::absolute(path).map_err(wrong)?;
        for _ in 0..TRIES_MAX {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o644);
            let file = options.custom_flags(libc::O_NOFOLLOW).open(&path).map_err(wrong)?;
            let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((mut file, nix::Error::EWOULDBLOCK)) => return Err(held(&path, &mut file)),
                Err((_, errno)) => return Err(wrong(errno.into())),
            };
            // The one before us may have removed it meanwhile, and then ours would be seen by nobody.
            let ours = lock.metadata().map_err(wrong)?.ino();
            if fs::metadata(&path).is_ok_and(|found| found.ino() == ours) {
                lock.set_len(0).map_err(wrong)?;
                lock.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(wrong)?;
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(wrong(io::Error::other("others keep removing it")))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn held(path: &Path, file: &mut File) -> Failure {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    let (path, pid) = (path.display(), text.trim());
    Failure::failed(format!("the pid file {path} is held by the server with process id {pid}"))
}
