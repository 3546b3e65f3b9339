//! A ublk server as a process: started, asked, signalled, and never left behind.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::event::FailureKind;
use serde::Deserialize;

use crate::block;
use crate::context::{Context, During, Stop};

/// Our server: the program that `UBLK_PROGRAM` names, else the one beside this program, else where the image has it.
pub static UBLK: LazyLock<String> = LazyLock::new(|| {
    let named = std::env::var(UBLK_VARIABLE).ok().filter(|path| !path.is_empty());
    let beside = || {
        let path = std::env::current_exe().ok()?.with_file_name("ublk");
        path.is_file().then(|| path.display().to_string())
    };
    named.or_else(beside).unwrap_or_else(|| "/bin/ublk".to_owned())
});

/// The environment variable that names the server's program.
pub const UBLK_VARIABLE: &str = "UBLK_PROGRAM";

/// Time a process that did not start its device has to say why before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the server prints when the device is live.
#[derive(Clone, Debug, Deserialize)]
pub struct Live {
    /// Device id.
    pub id: u32,
    /// `/dev/ublkbN`.
    pub block_device: PathBuf,
    /// `/dev/ublkcN`.
    pub char_device: PathBuf,
    /// Process that serves.
    pub pid: i32,
}

/// What a server counted for its device, summed over its queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// READ requests.
    pub reads: u64,
    /// WRITE requests.
    pub writes: u64,
    /// FLUSH requests.
    pub flushes: u64,
    /// WRITE requests with FUA.
    pub fua_writes: u64,
    /// DISCARD requests.
    pub discards: u64,
    /// WRITE_ZEROES requests.
    pub write_zeroes: u64,
    /// Requests completed with an error.
    pub errors: u64,
    /// Bytes of completed READs.
    pub bytes_read: u64,
    /// Bytes of completed WRITEs.
    pub bytes_written: u64,
    /// Requests found in shared memory.
    pub shared: u64,
    /// `io_uring_enter` calls.
    pub enters: u64,
}

/// A running server. Dropping it kills the process and removes its device.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    lines: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
    /// The device is somebody else's from now on.
    keeps_device: bool,
    /// What it said when its device was live.
    pub live: Live,
}

impl ServerProcess {
    /// Starts `ublk add <arguments>` and waits until its device is live.
    ///
    /// # Errors
    /// [`Stop::Fail`] when it ends or says nothing within the command timeout (three times over: it
    /// makes three commands that may each take that long).
    pub fn start(context: &mut Context, arguments: &[&str]) -> Result<Self, Stop> {
        Self::serve(context, "add", arguments)
    }

    /// Starts `ublk recover <arguments>` and waits until the device is live again. A process that served
    /// it before has to be [given up](Self::give_up) first.
    ///
    /// # Errors
    /// As [`ServerProcess::start`].
    pub fn recover(context: &mut Context, arguments: &[&str]) -> Result<Self, Stop> {
        Self::serve(context, "recover", arguments)
    }

    fn serve(context: &mut Context, verb: &str, arguments: &[&str]) -> Result<Self, Stop> {
        context.step(format_args!("ublk {verb} {}", arguments.join(" ")));
        let mut command = Command::new(UBLK.as_str());
        command.arg(verb).args(arguments).arg("--json");
        Self::spawn(command, context.command_timeout() * 3)
    }

    /// Starts a command that prints what `ublk add --json` prints.
    ///
    /// # Errors
    /// As [`ServerProcess::start`].
    pub fn start_command(context: &mut Context, command: Command) -> Result<Self, Stop> {
        context.step(format_args!("{command:?}"));
        Self::spawn(command, context.command_timeout() * 3)
    }

    /// Waits for the end of the process, which was told to leave or was killed, and keeps its device.
    ///
    /// # Errors
    /// [`Stop::Fail`] when it still runs after `timeout`.
    pub fn give_up(mut self, timeout: Duration) -> Result<ExitStatus, Stop> {
        let status = self.wait(timeout)?;
        self.keeps_device = true;
        Ok(status)
    }

    /// Starts a ramdisk of 1 MiB with the bug called `bug`, from [`crate::mutant::process`].
    ///
    /// # Errors
    /// As [`ServerProcess::start`].
    pub fn mutant(context: &mut Context, bug: &str) -> Result<Self, Stop> {
        context.step(format_args!("a server with the bug {bug}"));
        let mut command = Command::new("/proc/self/exe");
        command.args(["mutant", bug]);
        Self::spawn(command, context.command_timeout() * 3)
    }

    fn spawn(mut command: Command, timeout: Duration) -> Result<Self, Stop> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during("start the server")?;
        let lines = reader(child.stdout.take());
        let errors = reader(child.stderr.take());
        let first = lines.recv_timeout(timeout);
        let live = first.as_ref().ok().and_then(|line| serde_json::from_str::<Live>(line).ok());
        if let Some(live) = live {
            return Ok(Self { child, lines, errors, keeps_device: false, live });
        }
        let status = end_of(&mut child, timeout.min(LAST_WORDS))?;
        let said: Vec<String> = errors.iter().take(10).collect();
        Err(Stop::fail(
            FailureKind::Operation,
            format_args!(
                "the server did not get live within {timeout:?}: {status}; first line {first:?}; \
                 it said: {}",
                said.join(" | ")
            ),
        ))
    }

    /// What it has said on standard error so far.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    /// Lines it printed after the first.
    #[must_use]
    pub fn later_lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// The last line of a process that has ended; none where it said nothing after the first.
    #[must_use]
    pub fn last_line(&self, timeout: Duration) -> Option<String> {
        // Its reader may be a moment behind; it ends with the stream.
        let deadline = Instant::now() + timeout;
        let mut last = None;
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            last = Some(line);
        }
        last
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Stop> {
        kill(self.pid(), signal).during(format_args!("send {signal} to the server"))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Stop::Fail`] when it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, Stop> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().during("wait for the server")? {
                return Ok(status);
            }
            if begin.elapsed() > timeout {
                return Err(Stop::fail(
                    FailureKind::Completion,
                    format_args!("the server still runs {timeout:?} after it was told to stop"),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end and checks that it is a clean one.
    ///
    /// # Errors
    /// When it still runs after `timeout` or ended with another code than 0.
    pub fn check_clean_end(
        &mut self,
        context: &mut Context,
        timeout: Duration,
    ) -> Result<(), Stop> {
        let status = self.wait(timeout)?;
        let said = self.complaints().join(" | ");
        context.check(
            FailureKind::State,
            format_args!("the server ends with exit code 0 (it ended with {status}: {said})"),
            status.success(),
        )
    }

    /// Stops it by SIGTERM and checks that it ends cleanly and leaves no node.
    ///
    /// # Errors
    /// When it does not.
    pub fn stop(mut self, context: &mut Context) -> Result<(), Stop> {
        self.signal(Signal::SIGTERM)?;
        let timeout = context.command_timeout() * 3;
        self.check_clean_end(context, timeout)?;
        check_no_nodes(context, self.live.id)
    }

    /// Counters of the live device, from the server's socket.
    ///
    /// # Errors
    /// When the socket does not answer.
    pub fn counters(&self) -> Result<Counters, Stop> {
        let path = format!("/run/ublk/{}.sock", self.live.id);
        let mut text = String::new();
        let mut socket = UnixStream::connect(&path).during(format_args!("connect to {path}"))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.read_to_string(&mut text).during(format_args!("read from {path}"))?;
        sum_counters(&text)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // A scenario that ended early leaves the device; the next one must find a clean kernel.
        if !self.keeps_device {
            remove_device(self.live.id);
        }
    }
}

/// Removes device `id` if it is there. For clean-up: what it cannot do, the health check will report.
pub fn remove_device(id: u32) {
    if block::nodes(id).0.exists()
        && let Ok(mut control) = ublk::ctrl::Control::open()
    {
        let _ = control.address(id);
        let _ = control.stop_dev(id);
        let _ = control.del_dev(id);
    }
}

/// Checks that neither node of device `id` is there any more.
///
/// # Errors
/// When one is.
pub fn check_no_nodes(context: &mut Context, id: u32) -> Result<(), Stop> {
    let (char_node, block_node) = block::nodes(id);
    for node in [char_node, block_node] {
        let gone = block::wait_until(context.quiet() * 4, || !node.exists());
        context.check(FailureKind::Leak, format_args!("{} is gone", node.display()), gone)?;
    }
    Ok(())
}

/// Waits for the end of a process that failed to start its device, at most for `grace`, then kills it.
///
/// One that has said something else than it should is often about to say why, and to end by itself.
fn end_of(child: &mut Child, grace: Duration) -> Result<ExitStatus, Stop> {
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().during("wait for the server")? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().during("wait for the server")
}

fn reader(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(256);
    if let Some(stream) = stream {
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                // A full channel means nobody reads: drop the line rather than block the server.
                let _ = sender.try_send(line);
            }
        });
    }
    receiver
}

fn sum_counters(text: &str) -> Result<Counters, Stop> {
    let document: serde_json::Value =
        serde_json::from_str(text).during("parse the server's answer")?;
    let queues = document
        .get("counters")
        .and_then(serde_json::Value::as_array)
        .ok_or_else(|| Stop::error(format_args!("the server's answer has no counters: {text}")))?;
    let sum = |name: &str| -> Result<u64, Stop> {
        queues.iter().try_fold(0, |sum, queue| {
            let value = queue.get(name).and_then(serde_json::Value::as_u64);
            value
                .map(|v| sum + v)
                .ok_or_else(|| Stop::error(format_args!("the server counts no {name}: {text}")))
        })
    };
    Ok(Counters {
        reads: sum("reads")?,
        writes: sum("writes")?,
        flushes: sum("flushes")?,
        fua_writes: sum("fua_writes")?,
        discards: sum("discards")?,
        write_zeroes: sum("write_zeroes")?,
        errors: sum("errors")?,
        bytes_read: sum("bytes_read")?,
        bytes_written: sum("bytes_written")?,
        shared: sum("shared")?,
        enters: sum("enters")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_queues_and_none_may_be_missing() {
        let queue = r#"{"reads":1,"writes":2,"flushes":3,"fua_writes":0,"discards":0,
            "write_zeroes":0,"errors":0,"bytes_read":512,"bytes_written":1024,"shared":1,"enters":9}"#;
        let text = format!(r#"{{"counters":[{queue},{queue}]}}"#);
        let counters = sum_counters(&text).unwrap();
        assert_eq!((counters.reads, counters.bytes_written, counters.enters), (2, 2048, 18));
        assert!(sum_counters(&text.replace("\"flushes\":3,", "")).is_err());
        assert!(sum_counters("{}").is_err());
    }

    #[test]
    fn a_server_that_says_nothing_useful_is_a_failure_with_its_words() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo hello; sleep 0.1; echo 'no driver' >&2; exit 3"]);
        let stop = ServerProcess::spawn(command, Duration::from_secs(5)).unwrap_err();
        assert!(stop.to_string().contains("no driver"), "{stop}");
        assert!(stop.to_string().contains("exit status: 3"), "{stop}");
    }
}
