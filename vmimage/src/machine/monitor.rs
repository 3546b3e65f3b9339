//! QEMU's control socket. The guest is started over it, a hung guest is asked for its registers, and QEMU
//! is told to quit. It is a side channel for evidence: no verdict comes from it.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use qapi::{Command, ExecuteError, Qmp, Stream, qmp};

/// Time for one answer. QEMU's main loop answers at once unless the host is out of CPU or disk.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why the monitor gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// QEMU understood and refused.
    #[error("QEMU refused `{command}`: {reason}")]
    Refused {
        /// QMP command.
        command: &'static str,
        /// QEMU's description.
        reason: String,
    },
    /// The socket failed or the answer did not come in time.
    #[error("no answer from QEMU to `{command}`: {source}")]
    Io {
        /// QMP command.
        command: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier answer is missing, so the next one could not be told from it.
    #[error("QEMU's monitor is out of step after an earlier failure")]
    OutOfStep,
}

/// A reader whose every read ends at one point in time, so that a stream of events cannot stretch the wait
/// for an answer.
#[derive(Debug)]
struct Deadlined {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for Deadlined {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

/// A connected monitor.
pub(super) struct Monitor {
    qmp: Qmp<Stream<BufReader<Deadlined>, UnixStream>>,
    in_step: bool,
}

impl Monitor {
    /// Greets QEMU.
    pub(super) fn greet(stream: UnixStream) -> Result<Self, MonitorError> {
        let failed = |source| MonitorError::Io { command: "qmp_capabilities", source };
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(failed)?;
        let writer = stream.try_clone().map_err(failed)?;
        let reader = Deadlined { stream, deadline: Instant::now() + ANSWER_LIMIT };
        let mut qmp = Qmp::new(Stream::new(BufReader::new(reader), writer));
        // The crate panics where the greeting is an end of file, so that is looked for first.
        if qmp.inner_mut().get_mut_read().fill_buf().map_err(failed)?.is_empty() {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        qmp.handshake().map_err(|error| failed(error.into()))?;
        Ok(Self { qmp, in_step: true })
    }

    fn execute<C: Command>(&mut self, command: &C) -> Result<C::Ok, MonitorError> {
        self.execute_within(command, ANSWER_LIMIT)
    }

    fn execute_within<C: Command>(
        &mut self,
        command: &C,
        limit: Duration,
    ) -> Result<C::Ok, MonitorError> {
        if !self.in_step {
            return Err(MonitorError::OutOfStep);
        }
        self.qmp.inner_mut().get_mut_read().get_mut().deadline = Instant::now() + limit;
        let answer = self.qmp.execute(command).map_err(|error| match error {
            ExecuteError::Qapi(refusal) => {
                MonitorError::Refused { command: C::NAME, reason: refusal.to_string() }
            }
            ExecuteError::Io(source) => {
                self.in_step = false;
                MonitorError::Io { command: C::NAME, source }
            }
        });
        // Events are of no use here, and kept ones would pile up for as long as the machine runs.
        self.qmp.events().for_each(drop);
        answer
    }

    /// Lets the CPUs run.
    pub(super) fn resume(&mut self) -> Result<(), MonitorError> {
        self.execute(&qmp::cont {}).map(drop)
    }

    /// QEMU's word for the machine's state, as `running` or `shutdown`.
    pub(super) fn status(&mut self) -> Result<String, MonitorError> {
        let status = self.execute(&qmp::query_status {})?.status;
        Ok(qapi::Enum::name(&status).to_owned())
    }

    /// Asks QEMU to exit, and waits for the answer no longer than `limit`.
    pub(super) fn quit(&mut self, limit: Duration) -> Result<(), MonitorError> {
        self.execute_within(&qmp::quit {}, limit).map(drop)
    }

    /// The human monitor's answer to `line`.
    pub(super) fn human(&mut self, line: &str) -> Result<String, MonitorError> {
        self.execute(&qmp::human_monitor_command { cpu_index: None, command_line: line.to_owned() })
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("in_step", &self.in_step).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::thread;

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 13, "minor": 0, "major": 10}, "package": ""}, "capabilities": ["oob"]}}"#;

    /// A monitor whose other end answers each command with the next of `answers`, then closes.
    fn scripted(answers: &'static [&'static str]) -> Result<Monitor, MonitorError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut commands = BufReader::new(theirs.try_clone().unwrap());
            let mut out = theirs;
            for answer in answers {
                writeln!(out, "{answer}").unwrap();
                commands.read_line(&mut String::new()).unwrap();
            }
        });
        Monitor::greet(ours)
    }

    #[test]
    fn events_between_command_and_answer_are_skipped() {
        const EVENT: &str = r#"{"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}}
{"return": {}}"#;
        let mut monitor = scripted(&[GREETING, r#"{"return": {}}"#, EVENT, ""]).unwrap();
        monitor.resume().unwrap();
    }

    #[test]
    fn a_refusal_leaves_the_monitor_usable_and_a_closed_socket_does_not() {
        const REFUSAL: &str = r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#;
        let mut monitor = scripted(&[GREETING, r#"{"return": {}}"#, REFUSAL]).unwrap();
        let error = monitor.human("info nonsense").unwrap_err().to_string();
        assert!(error.contains("refused `human-monitor-command`"), "{error}");
        assert!(matches!(monitor.status(), Err(MonitorError::Io { .. })));
        assert!(matches!(monitor.status(), Err(MonitorError::OutOfStep)));
    }

    #[test]
    fn a_greeting_that_never_comes_is_an_error_not_a_panic() {
        assert!(matches!(scripted(&[]), Err(MonitorError::Io { .. })));
        assert!(matches!(scripted(&["not json"]), Err(MonitorError::Io { .. })));
    }
}
