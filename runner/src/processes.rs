//! Every process but this one: ended after each scenario, and named when it cannot be.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// A user process that is still there.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) state: char,
}

/// Kills every other process and waits until they are gone, up to `grace`. Returns those that are not:
/// they are stuck in the kernel.
pub(crate) fn end_all(grace: Duration) -> Vec<Left> {
    let begin = Instant::now();
    loop {
        // Only as PID 1 is -1 "everybody else in this machine"; anywhere else it would be the user's
        // whole session.
        if std::process::id() == 1 {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        }
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some())
        {
        }
        let left = list();
        if left.is_empty() || begin.elapsed() > grace {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
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
            let (name, state, flags) = parse_stat(&stat)?;
            const PF_KTHREAD: u64 = 0x0020_0000;
            (flags & PF_KTHREAD == 0).then(|| Left { pid, name: name.into(), state })
        })
        .collect()
}

/// Name, state and flags of a `/proc/<pid>/stat` line; the name may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<(&str, char, u64)> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(close + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let flags = fields.nth(5)?.parse().ok()?;
    Some((stat.get(open + 1..close)?, state, flags))
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
        assert_eq!(parse_stat(line), Some(("a) b (c)", 'D', 4_194_560)));
        assert_eq!(parse_stat("12"), None);
    }

    #[test]
    fn this_machines_processes_can_be_listed() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pid = child.id().cast_signed();
        let seen = list().into_iter().find(|left| left.pid == pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.is_some());
    }
}
