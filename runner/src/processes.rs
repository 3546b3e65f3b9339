//! Every process that a scenario may have started: ended after it, and named when it cannot be.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use scenarios::user_processes::{UserProcess, others};

use crate::machine::Machine;

/// Kills every process of the scenario and waits until they are gone, up to `grace`. Returns those that are not: they are
/// stuck in the kernel.
pub(crate) fn end_all(machine: &Machine, grace: Duration) -> Vec<UserProcess> {
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
pub(crate) fn descendants() -> Vec<UserProcess> {
    let all = others();
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
    fn this_machines_processes_can_be_listed() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pid = child.id().cast_signed();
        let seen = |all: Vec<UserProcess>| all.into_iter().any(|left| left.pid == pid);
        let (listed, below) = (seen(others()), descendants());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed && seen(below.clone()));
        assert!(
            below.iter().all(|left| left.pid != 1 && left.pid != std::process::id().cast_signed())
        );
    }
}
