//! Is the kernel still to be trusted? Asked after every scenario.
//!
//! The kernel log since the scenario's start is scanned for every sort of splat, and what the scenario
//! should have removed is looked for. A check that cannot be made is itself a finding.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use reports::event::{HealthFinding, HealthKind};

use scenarios::user_processes::UserProcess;

use crate::machine::Machine;
use crate::processes;

/// A reader of the kernel log that starts at "now".
#[derive(Debug)]
pub(crate) struct KernelLog {
    file: File,
    seen: String,
}

impl KernelLog {
    /// Opens the log behind its last record.
    pub(crate) fn open_at_end() -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, seen: String::new() })
    }

    /// What was logged since the last call.
    pub(crate) fn read_new(&mut self) -> io::Result<&str> {
        let before = self.seen.len();
        let text = self.records()?;
        self.seen.push_str(&text);
        Ok(&self.seen[before..])
    }

    /// Everything that was read so far.
    pub(crate) fn seen(&self) -> &str {
        &self.seen
    }

    /// Everything logged since the log was opened.
    fn read_all(&mut self) -> io::Result<&str> {
        self.read_new()?;
        Ok(&self.seen)
    }

    /// The records that have come since, one line each.
    fn records(&mut self) -> io::Result<String> {
        // The kernel hands out one record a read, and refuses a buffer that is too small for it.
        let mut buffer = vec![0; 16 << 10];
        let mut text = String::new();
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(text),
                Ok(count) => text.push_str(&record_text(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(text),
                // Records were overwritten before they were read: go on with the oldest that is left,
                // and say so, since a splat may have been among them.
                Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {
                    text.push_str("runner: kernel log records were lost\n");
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// `prio,seq,time,flags;text\n KEY=value\n` without its head and its dictionary.
fn record_text(record: &[u8]) -> String {
    let record = String::from_utf8_lossy(record);
    let text = record.split_once(';').map_or(&*record, |(_, text)| text);
    // The text is the first line, whose own newlines are escaped; a call trace begins with a space there. What
    // follows is the dictionary.
    let text = text.lines().next().unwrap_or_default();
    format!("{}\n", text.replace("\\x0a", "\n").trim_end_matches('\n'))
}

/// Everything that is wrong after a scenario.
pub(crate) fn examine(
    machine: &Machine,
    log: Option<&mut KernelLog>,
    grace: Duration,
) -> Vec<HealthFinding> {
    let stuck = processes::end_all(machine, grace);
    let mut findings: Vec<HealthFinding> = stuck.iter().map(stuck_finding).collect();
    findings.extend(leaked_devices(machine, grace));
    match log.map(KernelLog::read_all) {
        Some(Ok(text)) => {
            findings.extend(reports::splat::scan(text));
            if text.contains("runner: kernel log records were lost") {
                findings.push(broken("kernel log records were lost before they were read"));
            }
        }
        Some(Err(error)) => findings.push(broken(&format!("the kernel log: {error}"))),
        None if machine.needs_log() => findings.push(broken("the kernel log was not opened")),
        None => {}
    }
    findings
}

fn broken(text: &str) -> HealthFinding {
    HealthFinding { kind: HealthKind::CheckerBroken, text: text.into() }
}

fn stuck_finding(left: &UserProcess) -> HealthFinding {
    let stacks = processes::stacks(left.pid);
    let text = format!("process {} {} in state {}\n{stacks}", left.pid, left.name, left.state);
    HealthFinding { kind: HealthKind::StuckProcess, text }
}

/// Device nodes that are still there. A killed server's node goes a moment after the server.
fn leaked_devices(machine: &Machine, grace: Duration) -> Vec<HealthFinding> {
    let begin = Instant::now();
    loop {
        let names = match machine.nodes() {
            Ok(names) => names,
            Err(error) => return vec![broken(&error.to_string())],
        };
        if names.is_empty() || begin.elapsed() > grace {
            let finding = |name| HealthFinding { kind: HealthKind::LeakedDevice, text: name };
            return names.into_iter().map(|name| finding(format!("/dev/{name}"))).collect();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_lose_their_head_and_dictionary() {
        let record = b"4,1234,5678,-;WARNING: CPU: 0 at x\n SUBSYSTEM=block\n DEVICE=b259:0\n";
        assert_eq!(record_text(record), "WARNING: CPU: 0 at x\n");
    }

    /// lockdep's complaints came with `\x0a` in the middle of their lines.
    #[test]
    fn a_newline_within_a_record_is_one() {
        let record = br"4,1,2,-;\x0aother info:\x0a";
        assert_eq!(record_text(record), "\nother info:\n");
    }

    /// Blocked-task evidence once came without its functions.
    #[test]
    fn a_line_of_a_call_trace_is_kept() {
        assert_eq!(record_text(b"4,1,2,-; io_schedule+0x46/0x80\n"), " io_schedule+0x46/0x80\n");
    }
}
