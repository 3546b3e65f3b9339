//! Every process that a scenario may have started: ended after it, and named when it cannot be.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::machine::Machine;

/// A user process that is still there.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) name: String,
    pub(crate) state: char,
}

/// Kills every process of the scenario and waits until they are gone, up to `grace`. Returns those that are not: they are
/// stuck in the kernel.
pub(crate) fn end_all(machine: &Machine, grace: Duration) -> Vec<Left> {
    let begin = Instant::now();
    loop {
        match machine {
            // Only as PID 1 is -1 "everybody else in this machine"; anywhere else it would be the user's
            // whole session.
            Machine::Guest if std::process::id() == 1 => {
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            }
            Machine::Guest => {}
            Machine::Shared(_) => kill_descendants(),
        }
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some())
        {
        }
        let left = machine.processes();
        if left.is_empty() || begin.elapsed() > grace {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills what this process has started, and what that has.
pub(crate) fn kill_descendants() {
    for left in descendants() {
        let _ = kill(Pid::from_raw(left.pid), Signal::SIGKILL);
    }
}

/// Every process below this one. As long as it is a subreaper, an orphan among them is its child.
pub(crate) fn descendants() -> Vec<Left> {
    let all = list();
    let mut below = BTreeSet::from([std::process::id().cast_signed()]);
    loop {
        let before = below.len();
        below.extend(
            all.iter()
                .filter(|left| below.contains(&left.parent))
                .map(|left| left.pid)
                .collect::<Vec<_>>(),
        );
        if below.len() == before {
            break;
        }
    }
    all.into_iter().filter(|left| below.contains(&left.pid)).collect()
}

/// User processes other than this one. Kernel threads have no command line.
pub(crate) fn list() -> Vec<Left> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (name, state, parent, flags) = parse_stat(&stat)?;
            const PF_KTHREAD: u64 = 0x0020_0000;
            (flags & PF_KTHREAD == 0).then(|| Left { pid, parent, name: name.into(), state })
        })
        .collect()
}

/// Name, state, parent and flags of a `/proc/<pid>/stat` line; the name may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<(&str, char, i32, u64)> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(close + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let flags = fields.nth(4)?.parse().ok()?;
    Some((stat.get(open + 1..close)?, state, parent, flags))
}

/// Kernel stacks of every thread of `pid`.
pub(crate) fn stacks(pid: i32) -> String {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return String::new() };
    let mut text = String::new();
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let (name, stack) = (read("comm"), read("stack"));
        text.push_str(&format!(
            "thread {} {}:\n{stack}",
            task.file_name().to_string_lossy(),
            name.trim()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_odd_names_are_read() {
        let line = "12 (a) b (c)) D 1 12 12 0 -1 4194560 0 0 0";
        assert_eq!(parse_stat(line), Some(("a) b (c)", 'D', 1, 4_194_560)));
        assert_eq!(parse_stat("12"), None);
    }

    #[test]
    fn this_machines_processes_can_be_listed() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pid = child.id().cast_signed();
        let seen = |all: Vec<Left>| all.into_iter().any(|left| left.pid == pid);
        let (listed, below) = (seen(list()), descendants());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed && seen(below.clone()));
        assert!(
            below.iter().all(|left| left.pid != 1 && left.pid != std::process::id().cast_signed())
        );
    }
}
