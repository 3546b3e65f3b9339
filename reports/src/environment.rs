//! Facts about the machine that a report is made on, as it tells them itself.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::report::HostFacts;

/// This machine.
#[must_use]
pub fn host() -> HostFacts {
    HostFacts {
        os: after(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| "unknown".into()),
        kernel_release: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu_model: after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
        cpus: u32::try_from(cpus()).unwrap_or(u32::MAX),
        memory_bytes: meminfo_kib("MemTotal") << 10,
    }
}

/// CPUs this process may use.
#[must_use]
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Memory that is free or can be made free, in MiB; 0 where the host does not say.
#[must_use]
pub fn available_mib() -> u64 {
    meminfo_kib("MemAvailable") >> 10
}

fn meminfo_kib(key: &str) -> u64 {
    let text = after(&read("/proc/meminfo"), key).unwrap_or_default();
    text.trim_end_matches("kB").trim().parse().unwrap_or(0)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn after(text: &str, key: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(rest.trim_start_matches([':', '=', ' ', '\t']).trim_matches('"').to_owned())
}

/// Milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Processes that wanted a CPU over the last minute; nothing where the host does not say.
#[must_use]
pub fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
