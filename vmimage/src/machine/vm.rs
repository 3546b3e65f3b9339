//! A running virtual machine: QEMU as a supervised child, the guest's port and console, and the monitor.
//! It moves bytes and ends things; what the bytes mean is its caller's business.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::death;
use super::end::VmEnd;
use super::monitor::{Monitor, MonitorError};
use super::program::QemuProgram;
use super::spec::{MachineSpec, SpecError, Wiring};
use super::supervise::{Launch, LaunchError, Supervised, Watched, poll_until};

/// From the start of QEMU to its sockets: linking, loading kernel and initramfs. Host work, so it is not
/// scaled with the guest's budgets; a host this slow is broken.
const SOCKETS_LIMIT: Duration = Duration::from_secs(20);

/// From QMP's `quit` to the end of the process. After that it is killed.
const QUIT_LIMIT: Duration = Duration::from_secs(3);

/// QEMU prints a few lines at most; a loop that prints for ever is ended.
const STDERR_LIMIT_BYTES: u64 = 1 << 20;

/// Why there is no running machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// What was asked for is no machine.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// No such program.
    #[error("QEMU {program} was not found: name another with --qemu")]
    NoProgram {
        /// [`QemuProgram::program`].
        program: PathBuf,
    },
    /// A file or folder of the host cannot be used.
    #[error("cannot use {path}: {source}")]
    HostFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not start a process.
    #[error("cannot start QEMU {program}: {source}")]
    Spawn {
        /// [`QemuProgram::program`].
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU ended before the guest could run.
    #[error("QEMU did not start ({end}): {detail}")]
    EndedEarly {
        /// How it ended.
        end: VmEnd,
        /// The last line it printed.
        detail: String,
    },
    /// QEMU runs and does not open its sockets.
    #[error("QEMU did not open its sockets within {limit_s} s and was ended: {detail}")]
    NoSockets {
        /// The limit, in seconds.
        limit_s: u64,
        /// The last line it printed.
        detail: String,
    },
    /// QEMU opened its monitor and does not obey.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// [`kill_all`](super::kill_all) was called: no machine is started any more.
    #[error("the run was interrupted")]
    Interrupted,
}

/// A virtual machine. Dropping it kills and reaps QEMU.
#[derive(Debug)]
pub struct Vm {
    child: Supervised,
    monitor: Mutex<Monitor>,
    port: UnixStream,
    console: PathBuf,
    stderr: PathBuf,
}

impl Vm {
    /// Starts QEMU, connects port and monitor, and then lets the guest run.
    ///
    /// # Errors
    /// Where the machine cannot be started; no process and no temporary file is left then.
    pub fn start(program: &QemuProgram, spec: &MachineSpec) -> Result<Self, VmError> {
        spec.check_files()?;
        make_run_dir(spec)?;
        // The address of a Unix socket is limited to 107 bytes, so the run's own folder may be too deep. The
        // sockets are needed until they are connected; the folder goes at the end of this function, and a
        // machine whose owner is SIGKILLed leaves none behind.
        let temporary = std::env::temp_dir();
        let sockets = tempfile::Builder::new().prefix("vm").tempdir_in(&temporary);
        let sockets = sockets.map_err(|source| VmError::HostFile { path: temporary, source })?;
        let (port, monitor) = (sockets.path().join("port"), sockets.path().join("monitor"));
        let wiring = Wiring::Sockets { port: &port, monitor: &monitor };
        let (console, stderr) = (spec.console_path(), spec.stderr_path());
        let child = launch(program, spec, wiring)?;
        let deadline = Instant::now() + SOCKETS_LIMIT;
        let connect = |path: &Path| connect(&child, path, &stderr, deadline);
        let (monitor, port) = (connect(&monitor)?, connect(&port)?);
        let monitor = Monitor::greet(monitor).and_then(|mut monitor| {
            monitor.resume()?;
            Ok(monitor)
        });
        match monitor {
            Ok(monitor) => Ok(Self { child, monitor: Mutex::new(monitor), port, console, stderr }),
            // Where QEMU ended meanwhile, its end says more than the closed socket.
            Err(error) => match child.wait(Duration::from_millis(200)) {
                Some(end) => Err(ended_early(end, &stderr)),
                None => Err(error.into()),
            },
        }
    }

    /// QEMU's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The guest's virtio-serial port, as a reader and a writer. They are the same socket, so a timeout set
    /// on one holds for both, and a read gives the end of file when QEMU has ended.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn port(&self) -> io::Result<(UnixStream, UnixStream)> {
        Ok((self.port.try_clone()?, self.port.try_clone()?))
    }

    /// How the machine ended, if it has.
    #[must_use]
    pub fn try_exit(&self) -> Option<VmEnd> {
        self.child.try_end()
    }

    /// Waits for the machine to end by itself; `None` when it still runs after `timeout`.
    #[must_use]
    pub fn wait_exit(&self, timeout: Duration) -> Option<VmEnd> {
        self.child.wait(timeout)
    }

    /// Ends the machine: by QMP's `quit`, so that QEMU flushes its files, and by SIGKILL when that takes
    /// longer than 3 s. A machine that has ended already keeps its end.
    pub fn quit(&self) -> VmEnd {
        if let Some(end) = self.try_exit() {
            return end;
        }
        let asked = self.monitor().quit(QUIT_LIMIT);
        let wait = if asked.is_ok() { QUIT_LIMIT } else { Duration::ZERO };
        match self.child.wait(wait) {
            Some(VmEnd::Exited { status }) if status.success() => VmEnd::Killed,
            Some(end) => end,
            None => self.child.kill_and_reap(),
        }
    }

    /// QEMU's word for the machine's state, as `running`, `paused` or `shutdown`.
    ///
    /// # Errors
    /// Where the monitor does not answer within 10 s.
    pub fn status(&self) -> Result<String, MonitorError> {
        self.monitor().status()
    }

    /// The registers of every CPU, as evidence of where a guest hangs.
    ///
    /// # Errors
    /// Where the monitor does not answer within 10 s.
    pub fn registers(&self) -> Result<String, MonitorError> {
        self.monitor().human("info registers -a")
    }

    /// The file of the guest's console.
    #[must_use]
    pub fn console_path(&self) -> &Path {
        &self.console
    }

    /// The file of QEMU's own messages.
    #[must_use]
    pub fn stderr_path(&self) -> &Path {
        &self.stderr
    }

    /// The console's last `limit_bytes` bytes; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn console_tail(&self, limit_bytes: u64) -> io::Result<String> {
        tail(&self.console, limit_bytes)
    }

    fn monitor(&self) -> MutexGuard<'_, Monitor> {
        // After a panic in the middle of a command the monitor is out of step at worst, and says so.
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_run_dir(spec: &MachineSpec) -> Result<(), VmError> {
    let failed = |path: &Path, source| VmError::HostFile { path: path.to_owned(), source };
    fs::create_dir_all(&spec.run_dir).map_err(|error| failed(&spec.run_dir, error))?;
    // So that the tail of an earlier machine's console is never taken for this one's.
    let console = spec.console_path();
    File::create(&console).map(drop).map_err(|error| failed(&console, error))
}

fn launch(
    program: &QemuProgram,
    spec: &MachineSpec,
    wiring: Wiring<'_>,
) -> Result<Supervised, VmError> {
    let (console, stderr) = (spec.console_path(), spec.stderr_path());
    let messages = File::create(&stderr)
        .map_err(|source| VmError::HostFile { path: stderr.clone(), source })?;
    let mut command = command(program)?;
    command.args(spec.arguments(program, wiring)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
    let limit_bytes = spec.console_limit_bytes;
    let console_flood = VmEnd::ConsoleFlood { limit_bytes };
    let stderr_flood = VmEnd::StderrFlood { limit_bytes: STDERR_LIMIT_BYTES };
    let watched = vec![
        Watched { path: console, limit_bytes, end: console_flood },
        Watched { path: stderr, limit_bytes: STDERR_LIMIT_BYTES, end: stderr_flood },
    ];
    supervise(program, Launch { command, own_group: true, watched })
}

pub(super) fn command(program: &QemuProgram) -> Result<std::process::Command, VmError> {
    let missing = |_| VmError::NoProgram { program: program.program.clone() };
    death::tied(&program.program).map_err(missing)
}

pub(super) fn supervise(program: &QemuProgram, launch: Launch) -> Result<Supervised, VmError> {
    Supervised::start(launch).map_err(|error| match error {
        LaunchError::Interrupted => VmError::Interrupted,
        LaunchError::Io(source) => VmError::Spawn { program: program.program.clone(), source },
    })
}

fn connect(
    child: &Supervised,
    socket: &Path,
    stderr: &Path,
    deadline: Instant,
) -> Result<UnixStream, VmError> {
    let attempt = || match UnixStream::connect(socket) {
        Ok(stream) => Some(Ok(stream)),
        Err(_) => child.try_end().map(|end| Err(ended_early(end, stderr))),
    };
    poll_until(deadline, attempt).unwrap_or_else(|| {
        let detail = last_line(stderr).unwrap_or_else(|| "it printed nothing".into());
        Err(VmError::NoSockets { limit_s: SOCKETS_LIMIT.as_secs(), detail })
    })
}

fn ended_early(end: VmEnd, stderr: &Path) -> VmError {
    if end == VmEnd::Interrupted {
        return VmError::Interrupted;
    }
    let detail = last_line(stderr).unwrap_or_else(|| "it printed nothing".into());
    VmError::EndedEarly { end, detail }
}

/// The last line of a file that is not blank, cut at 400 characters.
pub(super) fn last_line(path: &Path) -> Option<String> {
    let text = tail(path, 4096).ok()?;
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(400).collect())
}

fn tail(path: &Path, limit_bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len_bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(len_bytes.saturating_sub(limit_bytes)))?;
    let mut bytes = Vec::new();
    file.take(limit_bytes).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_end_of_the_file_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one\ntwo\nthree\n\n").unwrap();
        assert_eq!(tail(&path, 7).unwrap(), "three\n\n");
        assert_eq!(tail(&path, 1000).unwrap(), "one\ntwo\nthree\n\n");
        assert_eq!(last_line(&path).unwrap(), "three");
        fs::write(&path, "\n \n").unwrap();
        assert_eq!(last_line(&path), None);
    }
}
