//! The processes of a server: those that are there and were not before it was started, whoever their parent is now.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::block;
use crate::user_processes::{UserProcess, others};

/// Everybody who was there before the server.
#[derive(Clone, Debug)]
pub(super) struct Before(BTreeSet<i32>);

impl Before {
    pub(super) fn now() -> Self {
        Self(others().into_iter().map(|process| process.pid).collect())
    }

    /// Who has come since and still runs.
    pub(super) fn since(&self) -> Vec<UserProcess> {
        others().into_iter().filter(|p| p.runs() && !self.0.contains(&p.pid)).collect()
    }

    /// Kills whoever has come since, and says who could not be killed in time.
    pub(super) fn kill_since(&self, timeout: Duration) -> Vec<UserProcess> {
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
    pub(super) fn wait_for_end(&self, timeout: Duration) -> Vec<UserProcess> {
        block::wait_until(timeout, || self.since().is_empty());
        self.since()
    }
}

/// Names for a message.
pub(super) fn named(processes: &[UserProcess]) -> String {
    processes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
