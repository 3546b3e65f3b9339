//! `--daemon` on a machine without a driver: whatever becomes of the child, the parent says so in bounded
//! time, with the child's reason and exit code. What happens once a device is live is shown in the
//! virtual machine.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use rstest::rstest;

/// None of these waits for anything but processes to start and end.
const BOUND: Duration = Duration::from_secs(20);

fn ublk(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ublk"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(args: &[&str]) -> Output {
    let begin = Instant::now();
    let output = ublk(args).output().expect("the command can be started");
    assert!(begin.elapsed() < BOUND, "{args:?} took {:?}", begin.elapsed());
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[rstest]
#[case::size(&["add", "ram", "--size", "100"], 2, "do not fill one logical block")]
#[case::block(&["add", "null", "--block-size", "768"], 2, "logical block of 768 bytes")]
#[case::file(&["add", "file", "--path", "/nonexistent/disk"], 1, "/nonexistent/disk")]
fn the_childs_failure_is_the_parents(
    #[case] args: &[&str],
    #[case] code: i32,
    #[case] reason: &str,
) {
    let foreground = output(args);
    let daemon = output(&[args, &["--daemon"]].concat());
    assert_eq!(daemon.status.code(), Some(code), "{}", stderr(&daemon));
    assert!(stderr(&daemon).contains(reason), "{}", stderr(&daemon));
    // Not one word more or less than without a second process in between.
    assert_eq!(stderr(&daemon), stderr(&foreground));
    assert!(daemon.stdout.is_empty());
}

#[test]
fn without_a_driver_the_parent_ends_with_3_and_the_remedy() {
    if Path::new("/dev/ublk-control").exists() {
        eprintln!("skipped: this host has a ublk driver");
        return;
    }
    let output = output(&["add", "null", "--daemon", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("modprobe ublk_drv") || text.contains("mknod"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_log_that_cannot_be_written_is_told_before_anything_is_started() {
    let output = output(&["add", "null", "--daemon", "--log", "/nonexistent/log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot open the log"), "{}", stderr(&output));
    let output = ublk(&["add", "null", "--log", "/x"]).output().expect("started");
    assert_eq!(output.status.code(), Some(2), "a log without a daemon is wrong usage");
}

#[test]
fn a_pid_file_that_is_held_names_its_holder_and_goes_with_a_failed_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ublk.pid");
    let text = path.display().to_string();
    fs::write(&path, "4242\n").expect("written");
    let file = File::open(&path).expect("opened");
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock);
    let lock = lock.map_err(|(_, errno)| errno).expect("locked");
    let held = output(&["add", "null", "--daemon", "--pidfile", &text]);
    assert_eq!(held.status.code(), Some(1));
    assert!(stderr(&held).contains("process id 4242"), "{}", stderr(&held));
    assert!(path.exists(), "another server's file stays");
    drop(lock);
    // Stale now: taken over, and removed when the start fails.
    let failed = output(&["add", "ram", "--size", "100", "--daemon", "--pidfile", &text]);
    assert_eq!(failed.status.code(), Some(2), "{}", stderr(&failed));
    assert!(!path.exists());
}

/// A command whose daemon hangs: opening a FIFO without a writer waits for ever.
struct Hanging {
    parent: Child,
    daemon: Pid,
    _dir: tempfile::TempDir,
}

impl Hanging {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("a fifo");
        let text = path.display().to_string();
        let args = ["add", "file", "--path", &text, "--size", "1M", "--read-only", "--daemon"];
        let parent = ublk(&args).spawn().expect("the command can be started");
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let deadline = Instant::now() + BOUND;
        let daemon = loop {
            assert!(Instant::now() < deadline, "no child appeared");
            let text = fs::read_to_string(&children).unwrap_or_default();
            let child = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
            // Its own session tells that it has come as far as it shall.
            if let Some(pid) = child.map(Pid::from_raw)
                && nix::unistd::getsid(Some(pid)) == Ok(pid)
            {
                break pid;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Self { parent, daemon, _dir: dir }
    }

    fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + BOUND;
        let status = loop {
            if let Some(status) = self.parent.try_wait().expect("waited") {
                break status;
            }
            assert!(Instant::now() < deadline, "the parent hangs");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut said = String::new();
        self.parent.stderr.take().expect("piped").read_to_string(&mut said).expect("read");
        // It was waited for, so its number is free or another's: gone is all that can be asked.
        assert!(kill(self.daemon, None).is_err(), "the daemon is still there");
        (status, said)
    }
}

#[test]
fn a_child_that_is_killed_while_it_starts_is_a_failure_that_says_so() {
    let hanging = Hanging::start();
    kill(hanging.daemon, Signal::SIGKILL).expect("killed");
    let (status, said) = hanging.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("ended without a word") && said.contains("signal: 9"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[rstest]
#[case(Signal::SIGINT)]
#[case(Signal::SIGTERM)]
fn interrupting_the_parent_ends_the_child(#[case] signal: Signal) {
    let hanging = Hanging::start();
    kill(Pid::from_raw(hanging.parent.id() as i32), signal).expect("signalled");
    let (status, said) = hanging.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted before the device was live"), "{said}");
}
