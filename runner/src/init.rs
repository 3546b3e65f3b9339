//! What PID 1 has to do before and after the agent: mounts, modules, limits, power-off.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// Load order of the modules, one path a line; written by the image builder.
const MODULE_ORDER: &str = "/modules/order";

pub(crate) fn main() -> ExitCode {
    if let Err(error) = set_up() {
        // The host sees no `ready` and shows the console.
        println!("runner: {error}");
    }
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    if cmdline.split_whitespace().any(|word| word == "runner.shell") {
        shell();
    } else {
        let port = cmdline
            .split_whitespace()
            .find_map(|word| word.strip_prefix("runner.port="))
            .unwrap_or("runner");
        let perf = cmdline.split_whitespace().any(|word| word == "runner.perf");
        let run = if perf { crate::perf::run } else { crate::agent::run };
        if let Err(error) = run(port) {
            println!("runner: {error}");
        }
    }
    power_off()
}

fn set_up() -> Result<(), String> {
    let mounts = [
        ("proc", "/proc", "proc"),
        ("sysfs", "/sys", "sysfs"),
        ("devtmpfs", "/dev", "devtmpfs"),
        ("tmpfs", "/tmp", "tmpfs"),
        ("tmpfs", "/run", "tmpfs"),
        ("tracefs", "/sys/kernel/tracing", "tracefs"),
        ("debugfs", "/sys/kernel/debug", "debugfs"),
    ];
    for (source, target, kind) in mounts {
        let _ = fs::create_dir_all(target);
        let mounted = mount(Some(source), target, Some(kind), MsFlags::empty(), None::<&Path>);
        let optional = matches!(kind, "tracefs" | "debugfs");
        if let Err(error) = mounted
            && !optional
            // devtmpfs may have been mounted by the kernel itself.
            && error != nix::errno::Errno::EBUSY
        {
            return Err(format!("failed to mount {kind} on {target}: {error}"));
        }
    }
    let _ = fs::create_dir_all("/dev/shm");
    // Every finding is wanted: no rate limit, and user-space faults are printed.
    for (path, value) in [
        ("/proc/sys/kernel/printk_ratelimit", "0"),
        ("/proc/sys/debug/exception-trace", "1"),
        ("/proc/sys/kernel/sysrq", "1"),
        ("/proc/sys/kernel/panic", "-1"),
    ] {
        let _ = fs::write(path, value);
    }
    load_modules()
}

fn load_modules() -> Result<(), String> {
    let order = fs::read_to_string(MODULE_ORDER)
        .map_err(|error| format!("failed to read {MODULE_ORDER}: {error}"))?;
    for path in order.lines().filter(|line| !line.is_empty()) {
        let file =
            fs::File::open(path).map_err(|error| format!("failed to open {path}: {error}"))?;
        let parameters = CString::default();
        let flags = nix::kmod::ModuleInitFlags::empty();
        match nix::kmod::finit_module(&file, &parameters, flags) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(format!("failed to load {path}: {error}")),
        }
    }
    Ok(())
}

fn shell() {
    println!("runner: a shell in the guest; `exit` powers off");
    let _ = Command::new("/bin/busybox")
        .args(["setsid", "-c", "/bin/busybox", "sh"])
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .env("PS1", "guest# ")
        .env("HOME", "/")
        .status()
        .inspect_err(|error| println!("runner: failed to start /bin/busybox sh: {error}"));
}

fn power_off() -> ! {
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    // Without ACPI there is no power to switch off; a reset ends a `-no-reboot` machine as well.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// `uname -r`.
pub(crate) fn kernel_release() -> String {
    nix::sys::utsname::uname()
        .map(|uts| uts.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Milliseconds since the kernel began.
pub(crate) fn uptime_ms() -> Option<u64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, fraction) = text.split_whitespace().next()?.split_once('.')?;
    // Two digits, as the kernel has printed it since 2.6.
    Some(seconds.parse::<u64>().ok()? * 1000 + fraction.parse::<u64>().ok()? * 10)
}
