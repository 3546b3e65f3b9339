//! A live server's window: a unix socket that gives each caller one JSON document and hangs up.
//!
//! The directory belongs to root and nobody else may write to it: others have shipped a world-writable
//! state directory, where any user can plant a device's file.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Status;

/// Where the sockets of live servers are.
pub const SOCKET_DIR: &str = "/run/ublk";
/// A caller that does not read, or a server that does not answer, is given up after that.
const IO_TIMEOUT: Duration = Duration::from_secs(1);
/// Far above the document of a device with 4096 queues, with all their latencies.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// The socket of a device, unless another place was named.
pub fn socket_path(dev_id: u32) -> PathBuf {
    Path::new(SOCKET_DIR).join(format!("{dev_id}.sock"))
}

/// Asks the server behind a socket.
///
/// # Errors
/// NotFound or ConnectionRefused where no server listens, InvalidData for an answer that is none.
pub fn read_status(path: &Path) -> io::Result<Status> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    let mut document = String::new();
    stream.take(DOCUMENT_BYTES_MAX).read_to_string(&mut document)?;
    serde_json::from_str(&document).map_err(io::Error::from)
}

/// A listening socket and its thread; both end, and the socket file goes, when it is dropped.
#[derive(Debug)]
pub(super) struct StatusSocket {
    path: PathBuf,
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl StatusSocket {
    /// Listens at `path` and answers with what `status` gives.
    pub(super) fn listen(
        path: &Path,
        status: impl Fn() -> Status + Send + 'static,
    ) -> io::Result<Self> {
        // What goes wrong with a caller is the caller's trouble, not ours.
        Self::serve(path, "ublk-status", move |stream| drop(answer(stream, &status())))
    }

    /// Listens at `path` and gives each caller to `attend`, one after the other.
    pub(super) fn serve(
        path: &Path,
        name: &str,
        attend: impl Fn(UnixStream) + Send + 'static,
    ) -> io::Result<Self> {
        let listener = bind(path)?;
        let (awoken, wake) = io::pipe()?;
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            loop {
                let mut fds = [
                    PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                    PollFd::new(awoken.as_fd(), PollFlags::POLLIN),
                ];
                match poll(&mut fds, PollTimeout::NONE) {
                    Err(nix::Error::EINTR) => continue,
                    Err(_) => return,
                    Ok(_) => {}
                }
                if fds[1].any() != Some(false) {
                    return;
                }
                if let Ok((stream, _)) = listener.accept() {
                    attend(stream);
                }
            }
        })?;
        Ok(Self { path: path.into(), wake: Some(wake), thread: Some(thread) })
    }

    /// Where it listens.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: UnixStream, status: &Status) -> io::Result<()> {
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    let mut document = serde_json::to_vec(status)?;
    document.push(b'\n');
    stream.write_all(&document)
}

/// Binds under a name of our own and moves it into place, so that the socket never stands there with
/// other permissions; that also replaces the socket of a server that died.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        prepare_dir(dir)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
    }
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a directory is in the way"));
    }
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    let _ = fs::remove_file(&own);
    let listener = UnixListener::bind(&own)?;
    let placed = fs::set_permissions(&own, Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::rename(&own, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&own);
        return Err(error);
    }
    Ok(listener)
}

/// Makes the directory, or sees that nobody else can put things into the one that is there.
fn prepare_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).recursive(true).create(dir)?;
    let found = fs::metadata(dir)?;
    let own = nix::unistd::geteuid().as_raw();
    if found.mode() & 0o022 != 0 || (found.uid() != own && found.uid() != 0) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} can be written by others", dir.display()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{DeviceStatus, ParamsStatus};
    use crate::uapi::{DevInfo, Features, Params};

    fn status() -> Status {
        Status {
            pid: 1,
            target: "null".into(),
            info: DeviceStatus::from(&DevInfo::new(1, 1, 4096, Features::empty())),
            params: ParamsStatus::from(&Params::default()),
            counters: Vec::new(),
            latency: Vec::new(),
        }
    }

    #[test]
    fn each_caller_gets_the_document_and_the_socket_goes_with_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ublk/0.sock");
        let socket = StatusSocket::listen(&path, status).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o755);
        for _ in 0..3 {
            assert_eq!(read_status(&path).unwrap(), status());
        }
        drop(socket);
        assert_eq!(read_status(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = StatusSocket::listen(&path, status).unwrap();
        let second = StatusSocket::listen(&path, status).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(read_status(&path).unwrap(), status());
        drop(socket);
    }

    #[test]
    fn a_directory_others_can_write_to_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let error = StatusSocket::listen(&dir.path().join("0.sock"), status).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_caller_that_hangs_up_at_once_does_not_stop_the_window() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.sock");
        let _socket = StatusSocket::listen(&path, status).unwrap();
        for _ in 0..20 {
            drop(UnixStream::connect(&path).unwrap());
        }
        assert_eq!(read_status(&path).unwrap(), status());
    }
}
