//! Child processes with a deadline. apt waits for ever on some networks and a wedged QEMU never
//! answers `--version`; nothing here may hang with them.

use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a child that ended by itself left behind.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output, at most [`OUTPUT_LIMIT_BYTES`].
    pub stdout: String,
    /// Its standard error, at most [`OUTPUT_LIMIT_BYTES`].
    pub stderr: String,
}

/// More output than this is cut: the largest answer expected, records of all kernels of a
/// distribution, is under 1 MiB.
pub const OUTPUT_LIMIT_BYTES: u64 = 64 << 20;

/// Why a child gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The program is not on `PATH`.
    #[error("`{program}` is not on PATH")]
    NotFound {
        /// The program's name as it was called.
        program: String,
    },
    /// It ran longer than it may, and was killed.
    #[error("`{program}` did not finish within {limit_s} s and was ended: try again")]
    TimedOut {
        /// The program's name as it was called.
        program: String,
        /// The limit, in seconds.
        limit_s: u64,
    },
    /// Whoever runs this process stopped it.
    #[error("`{program}` was ended because you stopped it")]
    Interrupted {
        /// The program's name as it was called.
        program: String,
    },
    /// It could not be started or watched.
    #[error("cannot run `{program}`: {source}")]
    Io {
        /// The program's name as it was called.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs a child to its end, or kills it at `limit`.
///
/// Output goes to unnamed files instead of pipes: a grandchild (an apt method, say) that outlives the
/// child would hold a pipe open and make the reader wait for it.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished, CommandError> {
    run_watched(command, limit, || {})
}

/// As [`run`], calling `tick` about five times a second while the child runs.
pub fn run_watched(
    command: &mut Command,
    limit: Duration,
    mut tick: impl FnMut(),
) -> Result<Finished, CommandError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound { program: program.clone() },
        _ => CommandError::Io { program: program.clone(), source },
    };
    let mut stdout = tempfile::tempfile().map_err(failed)?;
    let mut stderr = tempfile::tempfile().map_err(failed)?;
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(failed)?)
        .stderr(stderr.try_clone().map_err(failed)?);
    let start = Instant::now();
    let mut last_tick = start;
    let mut child = command.spawn().map_err(failed)?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if start.elapsed() > limit {
            // Its own failure to die is no reason to wait: the error below says what matters.
            let _ = child.kill();
            let _ = child.wait();
            return Err(CommandError::TimedOut { program, limit_s: limit.as_secs() });
        }
        if last_tick.elapsed() > Duration::from_millis(200) {
            tick();
            last_tick = Instant::now();
        }
        thread::sleep(Duration::from_millis(5));
    };
    let stdout = read_back(&mut stdout).map_err(failed)?;
    let stderr = read_back(&mut stderr).map_err(failed)?;
    Ok(Finished { status, stdout, stderr })
}

fn read_back(file: &mut std::fs::File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_LIMIT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let mut command = Command::new("sh");
        let done =
            run(command.args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(20));
        let done = done.unwrap();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(done.status.code(), Some(3));
    }

    #[test]
    fn a_child_that_hangs_is_ended_even_when_a_grandchild_holds_its_output() {
        let mut command = Command::new("sh");
        let start = Instant::now();
        let error = run(command.args(["-c", "sleep 7 & sleep 30"]), Duration::from_millis(100));
        assert!(matches!(error, Err(CommandError::TimedOut { .. })), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here"), Duration::from_secs(1));
        assert_eq!(error.unwrap_err().to_string(), "`no-such-program-here` is not on PATH");
    }
}
