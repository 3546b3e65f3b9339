//! One script's process. What it prints is passed on line by line, so that a script that hangs or takes
//! the machine with it has still said how far it came.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use scenarios::context::During;
use scenarios::kselftest::Selftest;
use scenarios::{Context, Stop};

/// Lines that are kept for the verdict; the longest script prints under a hundred.
const LINES_MAX: usize = 5_000;

/// Longest piece of a line that is kept, in bytes.
const LINE_BYTES_MAX: usize = 1 << 10;

/// How long output is waited for after the script's end: something it left running may hold the pipe.
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);

/// What a script did.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Its standard output and error, in the order they were written.
    pub(super) lines: Vec<String>,
}

/// Runs it to its end. It has no limit of its own: the agent's watchdog has, and looks at the kernel's
/// blocked tasks before it ends everything.
pub(super) fn run(context: &mut Context, test: &Selftest) -> Result<Ended, Stop> {
    let (reader, writer) = std::io::pipe().during("make a pipe")?;
    let errors = writer.try_clone().during("share the pipe")?;
    let mut command = Command::new("/bin/bash");
    command
        .arg(test.script())
        .current_dir(test.server.folder())
        .env("TMPDIR", super::surroundings::WORK_DIR)
        .env("HOME", "/root")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors);
    let mut child = command.spawn().during(format_args!("start bash for {test}"))?;
    // The command holds ends of the pipe of its own, which would keep it open.
    drop(command);
    let lines = read(reader);
    let mut kept = Vec::new();
    let mut status = None;
    let mut ended_at = Instant::now();
    loop {
        match lines.recv_timeout(Duration::from_millis(20)) {
            Ok(line) => {
                context.step(format_args!("| {line}"));
                if kept.len() < LINES_MAX {
                    kept.push(line);
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) if status.is_some() => break,
            Err(RecvTimeoutError::Disconnected) => {
                // Closed by a script that goes on: nothing more will come, only its end.
                status = Some(child.wait().during("wait for the script")?);
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if status.is_none() {
            status = child.try_wait().during("wait for the script")?;
            ended_at = Instant::now();
        } else if ended_at.elapsed() > OUTPUT_LIMIT {
            break;
        }
    }
    let status = status.ok_or_else(|| Stop::error("the script's end was not seen"))?;
    Ok(Ended { status, lines: kept })
}

fn read(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(stream.read_until(b'\n', &mut bytes), Ok(1..)) {
            bytes.truncate(LINE_BYTES_MAX);
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
