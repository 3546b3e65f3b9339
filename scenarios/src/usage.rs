//! What a process costs by the kernel's own account in `/proc`: memory, context switches, CPU time. The process is not
//! asked, so that any server is counted alike, by scenarios and by measurements.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Context switches of all threads that are alive, since each began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// The thread went to sleep.
    pub voluntary: u64,
    /// Another one was given its CPU.
    pub involuntary: u64,
}

impl Switches {
    /// What came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }

    /// Both sorts.
    #[must_use]
    pub fn sum(self) -> u64 {
        self.voluntary + self.involuntary
    }
}

/// The folders of all threads of a process.
///
/// # Errors
/// Names the folder that cannot be read.
pub fn threads(pid: i32) -> io::Result<Vec<PathBuf>> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let entries = fs::read_dir(&tasks).map_err(|error| named(&tasks, &error))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Resident memory of a process in bytes, pages of its program included.
///
/// # Errors
/// Names the file that cannot be read, or does not say it.
pub fn resident_bytes(pid: i32) -> io::Result<u64> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let text = read(&path)?;
    let kib = value(&text, "VmRSS:").ok_or_else(|| silent(&path, "VmRSS"))?;
    Ok(kib << 10)
}

/// Context switches of all threads of a process.
///
/// # Errors
/// Names the file that cannot be read, or does not say it.
pub fn switches(pid: i32) -> io::Result<Switches> {
    let mut sum = Switches::default();
    for thread in threads(pid)? {
        let path = thread.join("status");
        let text = read(&path)?;
        let of = |key| value(&text, key).ok_or_else(|| silent(&path, key));
        sum.voluntary += of("voluntary_ctxt_switches:")?;
        sum.involuntary += of("nonvoluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// CPU time of all threads of a process in nanoseconds, by the scheduler's own account.
///
/// # Errors
/// Names the file that cannot be read, or does not say it.
pub fn cpu_ns(pid: i32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in threads(pid)? {
        let path = thread.join("schedstat");
        let first =
            read(&path)?.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        sum += first.ok_or_else(|| silent(&path, "the CPU time"))?;
    }
    Ok(sum)
}

/// The number behind `key` at the beginning of a line, as `VmRSS:   1234 kB`.
fn value(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot use {}: {error}", path.display()))
}

fn silent(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} does not say {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_sleep_is_one_voluntary_switch_at_least() {
        let before = switches(own()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(switches(own()).unwrap().since(before).voluntary >= 1);
    }

    #[test]
    fn memory_that_is_written_is_resident() {
        let before = resident_bytes(own()).unwrap();
        let kept = std::hint::black_box(vec![1_u8; 32 << 20]);
        let now = resident_bytes(own()).unwrap();
        assert!(now >= before + (24 << 20), "{before} to {now} with {} bytes", kept.len());
    }

    #[test]
    fn a_process_that_is_gone_is_named() {
        let told = switches(i32::MAX).unwrap_err().to_string();
        assert!(told.contains("/proc/2147483647/task"), "{told}");
    }
}
