//! The user processes of a machine, from `/proc`: for who ends what a scenario has started, and for who tells the processes of a
//! server from those that were there before.

use std::fmt;
use std::fs;

/// Flag of a kernel thread in `/proc/<pid>/stat`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// A user process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserProcess {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its name, which may hold spaces and brackets.
    pub name: String,
    /// Its state, as a letter.
    pub state: char,
}

impl UserProcess {
    /// Whether it has not ended: one that has is there until its parent asks for it.
    #[must_use]
    pub fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

impl fmt::Display for UserProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}, state {})", self.name, self.pid, self.state)
    }
}

/// Every user process but this one. Kernel threads are left out by their flag.
#[must_use]
pub fn others() -> Vec<UserProcess> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own)
        .filter_map(|pid: i32| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

fn parse(pid: i32, stat: &str) -> Option<UserProcess> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(close + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let flags: u64 = fields.nth(4)?.parse().ok()?;
    let name = stat.get(open + 1..close)?.to_owned();
    (flags & PF_KTHREAD == 0).then_some(UserProcess { pid, parent, name, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_odd_names_are_read_and_kernel_threads_are_not() {
        let line = "12 (a) b (c)) D 1 12 12 0 -1 4194560 0 0 0";
        let seen = parse(12, line).unwrap();
        assert_eq!((seen.to_string().as_str(), seen.parent), ("a) b (c) (pid 12, state D)", 1));
        assert!(seen.runs());
        assert!(!parse(12, &line.replace(") D", ") Z")).unwrap().runs());
        assert_eq!(parse(12, &line.replace("4194560", "2129984")), None);
        assert_eq!(parse(12, "12"), None);
    }
}
