//! Which devices there are: sysfs knows, and where it is not mounted the nodes in /dev tell as much.

use std::fs;
use std::path::Path;

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
