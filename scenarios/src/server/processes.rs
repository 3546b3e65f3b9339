//! The processes of a server: those that are there and were not before it was started, whoever their parent is now.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::block;

/// Flag of a kernel thread in `/proc/<pid>/stat`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// A user process that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) name: String,
    state: char,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {}, state {})", self.name, self.pid, self.state)
    }
}

/// Everybody who was there before the server.
#[derive(Clone, Debug)]
pub(super) struct Before(BTreeSet<i32>);

impl Before {
    pub(super) fn now() -> Self {
        Self(all().into_iter().map(|process| process.pid).collect())
    }

    /// Who has come since and still runs.
    pub(super) fn since(&self) -> Vec<Process> {
        let own = std::process::id().cast_signed();
        all().into_iter().filter(|p| p.pid != own && !self.0.contains(&p.pid)).collect()
    }

    /// Kills whoever has come since, and says who could not be killed in time.
    pub(super) fn kill_since(&self, timeout: Duration) -> Vec<Process> {
        block::wait_until(timeout, || {
            let left = self.since();
            for process in &left {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            left.is_empty()
        });
        self.since()
    }

    /// Waits until all of them have ended by themselves, and says who has not.
    pub(super) fn wait_for_end(&self, timeout: Duration) -> Vec<Process> {
        block::wait_until(timeout, || self.since().is_empty());
        self.since()
    }
}

/// Names for a message.
pub(super) fn named(processes: &[Process]) -> String {
    processes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// A process that is no kernel thread and has not ended; the name may hold spaces and brackets.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(close + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let runs = flags & PF_KTHREAD == 0 && !matches!(state, 'Z' | 'X');
    runs.then(|| Process { pid, name: stat[open + 1..close].to_owned(), state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_in_user_space_is_a_process() {
        let line = "12 (a) b (c)) D 1 12 12 0 -1 4194560 0 0 0";
        let seen = parse(12, line).unwrap();
        assert_eq!(seen.to_string(), "a) b (c) (pid 12, state D)");
        assert_eq!(parse(12, &line.replace(") D", ") Z")), None);
        assert_eq!(parse(12, &line.replace("4194560", "2129984")), None);
    }

    #[test]
    fn who_comes_later_is_told_from_who_was_there() {
        let before = Before::now();
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pid = child.id().cast_signed();
        assert!(before.since().iter().any(|process| process.pid == pid && process.name == "sleep"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!before.since().iter().any(|process| process.pid == pid));
    }
}
