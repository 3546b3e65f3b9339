//! What a server costs, counted by the kernel while it serves: system calls by a histogram on their
//! tracepoint, allocations by probes on the program's own allocating functions. The server is not asked, so that ours and others are counted alike.

use std::fs;
use std::path::Path;

use scenarios::usage;

const TRACING: &str = "/sys/kernel/tracing";
const SYS_ENTER: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/trigger";
const SYS_HIST: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/hist";
const TRIGGER: &str = "hist:keys=common_pid,id:size=4096";
const PROBES: &str = "/sys/kernel/tracing/uprobe_events";
const PROBE_GROUP: &str = "perfalloc";
const PROBE_HITS: &str = "/sys/kernel/tracing/uprobe_profile";

/// Numbers of system calls on x86-64.
const SYS_FUTEX: u64 = 202;
const SYS_IO_URING_ENTER: u64 = 426;

/// A server process, all its threads.
#[derive(Debug)]
pub(super) struct Server {
    pid: i32,
    allocations: Option<Allocations>,
}

/// System calls of all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) enters: u64,
    pub(super) futexes: u64,
    pub(super) all: u64,
    pub(super) allocations: Option<u64>,
}

impl Server {
    pub(super) fn new(pid: i32, allocations: Option<Allocations>) -> Self {
        Self { pid, allocations }
    }

    /// Whether the process is there; one that ended and was not waited for yet is not.
    pub(super) fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The state follows the name, which is in parentheses and may hold anything.
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
        state.is_some_and(|state| state != 'Z')
    }

    /// Its process.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Memory that is resident, shared pages of its program included.
    pub(super) fn resident_bytes(&self) -> Result<u64, String> {
        usage::resident_bytes(self.pid).map_err(|error| error.to_string())
    }

    /// Context switches of all its threads since they began.
    pub(super) fn switches(&self) -> Result<usage::Switches, String> {
        usage::switches(self.pid).map_err(|error| error.to_string())
    }

    /// CPU time of all threads so far.
    pub(super) fn cpu_ns(&self) -> Result<u64, String> {
        usage::cpu_ns(self.pid).map_err(|error| error.to_string())
    }

    /// Takes the probes away.
    pub(super) fn unwatch(&mut self) {
        self.allocations = None;
    }
}

/// A histogram of system calls that is being filled.
#[derive(Debug)]
pub(super) struct Tracer {
    allocations_before: Option<u64>,
}

impl Tracer {
    pub(super) fn start(server: &Server) -> Result<Self, String> {
        write(SYS_ENTER, TRIGGER)?;
        let allocations_before = server.allocations.as_ref().map(Allocations::count).transpose()?;
        Ok(Self { allocations_before })
    }

    pub(super) fn stop(self, server: &Server) -> Result<Calls, String> {
        let text = fs::read_to_string(SYS_HIST).map_err(|error| failed(SYS_HIST, &error))?;
        write(SYS_ENTER, &format!("!{TRIGGER}"))?;
        let threads = usage::threads(server.pid).map_err(|error| error.to_string())?;
        let ids = threads.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
        let mut calls = parse_histogram(&text, &ids.collect::<Vec<u64>>());
        let after = server.allocations.as_ref().map(Allocations::count).transpose()?;
        calls.allocations =
            after.zip(self.allocations_before).map(|(after, before)| after - before);
        Ok(calls)
    }
}

/// Adds up the lines `{ common_pid: 7, id: 426 } hitcount: 12` of these threads.
fn parse_histogram(text: &str, threads: &[u64]) -> Calls {
    let mut calls = Calls::default();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let value = |key: &str| -> Option<u64> {
            let (_, rest) = line.split_once(key)?;
            let rest = rest.trim_start();
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let (Some(thread), Some(id), Some(hits)) =
            (value("common_pid:"), value(", id:"), value("hitcount:"))
        else {
            continue;
        };
        if !threads.contains(&thread) {
            continue;
        }
        calls.all += hits;
        match id {
            SYS_IO_URING_ENTER => calls.enters += hits,
            SYS_FUTEX => calls.futexes += hits,
            _ => {}
        }
    }
    calls
}

/// Probes on a program's allocating functions, taken away when dropped.
#[derive(Debug)]
pub(super) struct Allocations;

impl Allocations {
    /// Sets probes on these offsets of the program's file; none without offsets.
    pub(super) fn watch(program: &str, offsets: &[u64]) -> Result<Option<Self>, String> {
        if offsets.is_empty() {
            return Ok(None);
        }
        let mut lines = String::new();
        for (number, offset) in offsets.iter().enumerate() {
            lines.push_str(&format!("p:{PROBE_GROUP}/p{number} {program}:{offset:#x}\n"));
        }
        write(PROBES, &lines)?;
        let watch = Self;
        write(&format!("{TRACING}/events/{PROBE_GROUP}/enable"), "1")?;
        Ok(Some(watch))
    }

    /// How often any of them was called since the probes were set.
    pub(super) fn count(&self) -> Result<u64, String> {
        let text = fs::read_to_string(PROBE_HITS).map_err(|error| failed(PROBE_HITS, &error))?;
        let hits =
            text.lines().filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        Ok(hits.sum())
    }
}

impl Drop for Allocations {
    fn drop(&mut self) {
        let _ = fs::write(format!("{TRACING}/events/{PROBE_GROUP}/enable"), "0");
        let _ = fs::write(PROBES, "");
    }
}

fn write(path: &str, text: &str) -> Result<(), String> {
    // Appending: a trigger file that is truncated loses every trigger, which is no matter, but an
    // `uprobe_events` that is truncated while one is in use refuses.
    let file = fs::OpenOptions::new().append(true).open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| format!("{}; text was {text:?}", failed(path, &error)))
}

fn failed(path: impl AsRef<Path>, error: &std::io::Error) -> String {
    format!("cannot use {}: {error}", path.as_ref().display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_threads_are_added_up() {
        let text = "# event histogram\n\n\
            { common_pid:         77, id:        426 } hitcount:       1203\n\
            { common_pid:         77, id:        202 } hitcount:          2\n\
            { common_pid:         78, id:        426 } hitcount:          1\n\
            { common_pid:          9, id:        426 } hitcount:       9999\n\n\
            Totals:\n    Hits: 11205\n    Entries: 4\n    Dropped: 0\n";
        let calls = parse_histogram(text, &[77, 78]);
        assert_eq!(calls, Calls { enters: 1204, futexes: 2, all: 1206, allocations: None });
    }
}
