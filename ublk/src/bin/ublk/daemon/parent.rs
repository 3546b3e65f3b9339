//! The caller's side: it starts the daemon, waits for its report within bounds, and takes it back when
//! the user changes their mind.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::report::Report;
use super::{CHILD_OPTION, DaemonArgs};
use crate::exit::{Exit, Failure};
use crate::out;

/// What a start may take beyond its own timeout: a failed one is undone before it is reported.
const UNDO_TIME: Duration = Duration::from_secs(30);
/// How long a daemon that was told to stop may take before it is killed, and then to be gone.
const END_TIME: Duration = Duration::from_secs(10);
/// Far above the longest line of a report.
const REPORT_BYTES_MAX: usize = 1 << 20;

/// What the wait for a report ended with.
enum Heard {
    Report(Report),
    /// The daemon has closed its end; what it had said by then is no report.
    Nothing,
    TimedOut,
}

/// Starts this very command line again as a daemon, and waits until its device is live.
///
/// Returns with what the daemon says, at the latest some 50 seconds after `start_timeout`; whatever
/// happens to the daemon. SIGINT and SIGTERM stop it, a second one kills it.
pub(crate) fn launch(args: &DaemonArgs, start_timeout: Duration) -> Result<(), Failure> {
    let log = args.log.as_deref().map(open_log).transpose()?;
    let mut command = Command::new("/proc/self/exe");
    let mut line = std::env::args_os();
    command.arg0(line.next().unwrap_or_else(|| "ublk".into()));
    command.arg(CHILD_OPTION).args(line);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(log.map_or_else(Stdio::inherit, Stdio::from));
    // Before there is a child, so that there is no moment at which a signal would leave it behind.
    let (interrupts, ours) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, ours.try_clone()?)?;
    }
    let start = |error: io::Error| Failure::failed(format!("cannot start the daemon: {error}"));
    let mut child = command.spawn().map_err(start)?;
    let stdout = child.stdout.take();
    let mut daemon = Daemon { child, interrupts, interrupted: 0 };
    let deadline = Instant::now() + start_timeout + UNDO_TIME;
    let heard = daemon.listen(stdout, deadline)?;
    daemon.conclude(heard, start_timeout)
}

fn open_log(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| Failure::failed(format!("cannot open the log {path:?}: {error}")))
}

struct Daemon {
    child: Child,
    interrupts: UnixStream,
    interrupted: u32,
}

impl Daemon {
    /// Waits for the report. The first signal tells the daemon to stop, the second one kills it.
    fn listen(&mut self, stdout: Option<ChildStdout>, deadline: Instant) -> io::Result<Heard> {
        let Some(mut stdout) = stdout else { return Ok(Heard::Nothing) };
        let (mut said, mut deadline) = (Vec::new(), deadline);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Heard::TimedOut);
            }
            let mut fds = [
                PollFd::new(stdout.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.interrupts.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(_) => {}
            }
            let (spoke, interrupted) = (fds[0].any() == Some(true), fds[1].any() == Some(true));
            if interrupted {
                self.interrupt();
                deadline = deadline.min(Instant::now() + UNDO_TIME);
            }
            if !spoke {
                continue;
            }
            let mut chunk = [0; 4096];
            let count = match stdout.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
                Ok(count) => count,
            };
            said.extend_from_slice(&chunk[..count]);
            if count == 0 || said.len() > REPORT_BYTES_MAX {
                return Ok(Heard::Nothing);
            }
            if let Some(report) = said.strip_suffix(b"\n") {
                let report = serde_json::from_slice(report);
                return Ok(report.map_or(Heard::Nothing, Heard::Report));
            }
        }
    }

    fn interrupt(&mut self) {
        let mut drained = [0; 64];
        let count = self.interrupts.read(&mut drained).unwrap_or(1);
        // Two that came at once are two.
        self.interrupted += count as u32;
        self.signal(if self.interrupted == 1 { Signal::SIGTERM } else { Signal::SIGKILL });
    }

    fn conclude(mut self, heard: Heard, start_timeout: Duration) -> Result<(), Failure> {
        match heard {
            // It goes on without us.
            Heard::Report(Report::Live { line }) if self.interrupted == 0 => out::line(&line),
            Heard::Report(Report::Live { .. }) => {
                self.end();
                Err(Failure::failed("interrupted; the daemon was told to stop its device"))
            }
            Heard::Report(Report::Failed { exit, message, hint }) => {
                self.wait(END_TIME);
                Err(Failure::Failed { exit: Exit::from_code(exit), message, hint })
            }
            Heard::Nothing if self.interrupted > 0 => {
                self.end();
                Err(Failure::failed("interrupted before the device was live").with_hint(LOOK))
            }
            Heard::Nothing => {
                let ended = self.end();
                let ended = ended.map_or("it could not be ended".into(), |end| end.to_string());
                let message = "the daemon ended without a word before its device was live";
                Err(Failure::failed(format!("{message} ({ended})")).with_hint(LOOK))
            }
            Heard::TimedOut => {
                let pid = self.child.id();
                let ended = self.end();
                let ended = ended.map_or(format!("and process {pid} cannot be ended"), |end| {
                    format!("and was ended ({end})")
                });
                let message = if self.interrupted > 0 {
                    format!("interrupted; the daemon did not stop within {UNDO_TIME:?} {ended}")
                } else {
                    let after = start_timeout + UNDO_TIME;
                    format!("the daemon did not report within {after:?} {ended}")
                };
                Err(Failure::failed(message).with_hint(LOOK))
            }
        }
    }

    /// Ends the daemon, gently first; none where even a kill does not end it in time.
    fn end(&mut self) -> Option<ExitStatus> {
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
            let timeout = match signal {
                // It may just be ending.
                None => Duration::from_millis(500),
                Some(signal) => {
                    self.signal(signal);
                    END_TIME
                }
            };
            if let Some(status) = self.wait(timeout) {
                return Some(status);
            }
        }
        None
    }

    fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Err(_) => return None,
                Ok(None) if Instant::now() >= deadline => return None,
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Our own child that was not waited for: the number cannot belong to anybody else.
    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// What to do where the daemon can have left a device.
const LOOK: &str = "see `ublk list` for a device it may have left, and `ublk del`";
