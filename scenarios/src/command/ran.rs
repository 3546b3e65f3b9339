//! One run of the `ublk` command, within bounds, and the daemon it may leave.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::event::FailureKind;
use serde::de::DeserializeOwned;

use crate::block;
use crate::context::{Context, During, Stop};
use crate::process::{Live, UBLK, remove_device};

/// What a run ended with. Both streams were read to their ends, so nobody else holds them any more.
#[derive(Debug)]
pub(super) struct Ran {
    /// The exit code; none after a signal.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) took: Duration,
}

/// A run that is under way. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    begin: Instant,
    line: String,
}

impl Running {
    pub(super) fn start(context: &mut Context, arguments: &[&str]) -> Result<Self, Stop> {
        let mut command = Command::new(UBLK.as_str());
        command.args(arguments);
        Self::begin(context, command, format!("ublk {}", arguments.join(" ")))
    }

    /// Starts another program.
    pub(super) fn start_command(context: &mut Context, command: Command) -> Result<Self, Stop> {
        let line = format!("{command:?}");
        Self::begin(context, command, line)
    }

    fn begin(context: &mut Context, mut command: Command, line: String) -> Result<Self, Stop> {
        context.step(&line);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().during(format_args!("start {line}"))?;
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        Ok(Self { child, stdout, stderr, begin: Instant::now(), line })
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for its end and for the ends of its streams.
    pub(super) fn wait(mut self, timeout: Duration) -> Result<Ran, Stop> {
        let deadline = self.begin + timeout;
        let late = |line: &str, what: &str| {
            let message = format!("{line}: {what} after {timeout:?}");
            Stop::fail(FailureKind::Completion, message)
        };
        let status = loop {
            if let Some(status) = self.child.try_wait().during("wait for the command")? {
                break status;
            }
            if Instant::now() > deadline {
                return Err(late(&self.line, "still runs"));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.begin.elapsed();
        let left = || deadline.saturating_duration_since(Instant::now());
        let (stdout, stderr) = (self.stdout.recv_timeout(left()), self.stderr.recv_timeout(left()));
        let (Ok(stdout), Ok(stderr)) = (stdout, stderr) else {
            return Err(late(&self.line, "somebody still holds its output"));
        };
        Ok(Ran { code: status.code(), stdout, stderr, took })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_string(&mut text);
        }
        let _ = sender.send(text);
    });
    receiver
}

/// Runs the command to its end, which has to come within four commands' time.
pub(super) fn run(context: &mut Context, arguments: &[&str]) -> Result<Ran, Stop> {
    let timeout = context.command_timeout() * 4;
    Running::start(context, arguments)?.wait(timeout)
}

/// Runs the command and checks that it ends with `code`.
pub(super) fn run_to(context: &mut Context, code: i32, arguments: &[&str]) -> Result<Ran, Stop> {
    let ran = run(context, arguments)?;
    let what = format!("exit code of `ublk {}` ({})", arguments.join(" "), ran.stderr.trim());
    context.check_eq(FailureKind::State, what, &ran.code, &Some(code))?;
    Ok(ran)
}

/// Runs the command with success, and reads what it prints as JSON.
pub(super) fn json<T: DeserializeOwned>(
    context: &mut Context,
    arguments: &[&str],
) -> Result<T, Stop> {
    let ran = run_to(context, 0, arguments)?;
    serde_json::from_str(&ran.stdout).during(format_args!(
        "read `ublk {}`: {}",
        arguments.join(" "),
        ran.stdout
    ))
}

/// A daemon that serves. Dropping it kills it and removes its device.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) live: Live,
}

impl Daemon {
    /// Starts `ublk add <arguments> --daemon --json`.
    pub(super) fn start(context: &mut Context, arguments: &[&str]) -> Result<Self, Stop> {
        let arguments = [&["add"], arguments, &["--daemon", "--json"]].concat();
        let ran = run_to(context, 0, &arguments)?;
        let live = serde_json::from_str(&ran.stdout)
            .during(format_args!("read what the parent printed: {}", ran.stdout))?;
        Ok(Self { live })
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.live.pid)
    }

    pub(super) fn id(&self) -> String {
        self.live.id.to_string()
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Stop> {
        kill(self.pid(), signal).during(format_args!("send {signal} to the daemon"))
    }

    /// Checks that its process ends in time.
    pub(super) fn check_ended(&self, context: &mut Context) -> Result<Duration, Stop> {
        let begin = Instant::now();
        let ended = block::wait_until(context.command_timeout() * 2, || !runs(self.pid()));
        context.check(FailureKind::Completion, "the daemon has ended", ended)?;
        Ok(begin.elapsed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if runs(self.pid()) {
            let _ = kill(self.pid(), Signal::SIGKILL);
        }
        remove_device(self.live.id);
    }
}

/// Whether a process runs; one that nobody has waited for yet does not.
pub(super) fn runs(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// A file of this scenario's own. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/command-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    pub(super) fn text(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
