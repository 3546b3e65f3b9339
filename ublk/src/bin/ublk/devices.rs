//! Which devices there are, and whether somebody serves them: sysfs knows, and where it is not mounted the
//! nodes in /dev tell as much.

use std::fs;
use std::path::Path;

use ublk::uapi::{DevInfo, Features};

/// The numbers of all ublk devices, ascending.
pub(crate) fn ids() -> Vec<u32> {
    let mut ids = scan(Path::new("/sys/class/ublk-char"));
    if ids.is_empty() {
        ids = scan(Path::new("/dev"));
    }
    ids.sort_unstable();
    ids
}

fn scan(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let id = |name: std::ffi::OsString| name.to_str()?.strip_prefix("ublkc")?.parse().ok();
    entries.flatten().filter_map(|entry| id(entry.file_name())).collect()
}

/// The process that serves a device, as the kernel knows it.
pub(crate) fn server_pid(info: &DevInfo) -> Option<i32> {
    (info.ublksrv_pid > 0).then_some(info.ublksrv_pid)
}

/// Whether a process runs. One that has ended and was not waited for serves nothing.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // After the name, which may hold anything, and so parentheses too.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    !matches!(state, Some("Z" | "X"))
}

/// What becomes of a device when its server dies.
pub(crate) fn recovery(flags: Features) -> &'static str {
    if !flags.contains(Features::USER_RECOVERY) {
        "none"
    } else if flags.contains(Features::USER_RECOVERY_FAIL_IO) {
        "fail-io"
    } else if flags.contains(Features::USER_RECOVERY_REISSUE) {
        "reissue"
    } else {
        "plain"
    }
}

/// How the data of requests travels.
pub(crate) fn data_mode(flags: Features) -> String {
    let has = |flag| flags.contains(flag);
    let mut words = vec![if has(Features::AUTO_BUF_REG) {
        "auto-buf"
    } else if has(Features::SUPPORT_ZERO_COPY) {
        "zero-copy"
    } else if has(Features::USER_COPY) {
        "user-copy"
    } else if has(Features::NEED_GET_DATA) {
        "get-data"
    } else {
        "copy"
    }];
    if has(Features::SHMEM_ZC) {
        words.push("shmem");
    }
    if has(Features::BATCH_IO) {
        words.push("batch");
    }
    words.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_one_that_was_reaped_does_not() {
        assert!(is_alive(std::process::id() as i32));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        child.wait().unwrap();
        assert!(!is_alive(pid));
    }

    #[test]
    fn flags_have_words() {
        let plain = Features::USER_RECOVERY;
        assert_eq!(recovery(Features::empty()), "none");
        assert_eq!(recovery(plain), "plain");
        assert_eq!(recovery(plain | Features::USER_RECOVERY_REISSUE), "reissue");
        assert_eq!(recovery(plain | Features::USER_RECOVERY_FAIL_IO), "fail-io");
        assert_eq!(data_mode(Features::empty()), "copy");
        assert_eq!(data_mode(Features::SUPPORT_ZERO_COPY | Features::AUTO_BUF_REG), "auto-buf");
        assert_eq!(data_mode(Features::USER_COPY | Features::BATCH_IO), "user-copy+batch");
    }
}
