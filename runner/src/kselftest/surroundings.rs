//! What a script expects of a machine: a place for its files, udev that answers `udevadm settle`, and a
//! `modprobe` that finds modules. Made anew for each script, as the agent ends every process after it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use scenarios::context::During;
use scenarios::{Context, Stop};

use crate::health::KernelLog;

/// Where scripts put their files, on a tmpfs of its own.
pub(super) const WORK_DIR: &str = "/tmp/kselftest";

/// Size of that tmpfs: the largest script writes 1 GiB and the machine has more.
const WORK_SIZE: &str = "size=2g";

/// How long udevd may take to answer, times the budget scale.
const UDEV_LIMIT: Duration = Duration::from_secs(5);

/// Programs without which scripts pass or fail for the wrong reason, most of them silently.
const PROGRAMS: &[&str] = &[
    "awk",
    "basename",
    "bash",
    "blockdev",
    "cat",
    "date",
    "dd",
    "dirname",
    "fallocate",
    "fio",
    "grep",
    "lsblk",
    "mkfs.ext4",
    "mktemp",
    "modprobe",
    "mount",
    "nproc",
    "pkill",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sfdisk",
    "sleep",
    "sort",
    "stat",
    "sync",
    "taskset",
    "tee",
    "timeout",
    "truncate",
    "udevadm",
    "umount",
];

/// Ends udevd with the script's process; reads the kernel log from its start.
pub(super) struct Surroundings {
    udevd: Child,
    log: KernelLog,
}

impl Surroundings {
    /// What the kernel logged of programs that died of a signal that dumps core: a fault, an abort.
    pub(super) fn fatal_signals(&mut self) -> Result<String, Stop> {
        let log = self.log.read_new().during("read the kernel log")?;
        let lines: Vec<&str> = log.lines().filter(|l| l.contains("fatal signal")).collect();
        Ok(lines.join("; "))
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        // It may be gone already; there is nobody to tell.
        let _ = self.udevd.kill();
        let _ = self.udevd.wait();
    }
}

/// Makes everything, or says what the guest lacks.
pub(super) fn prepare(context: &mut Context) -> Result<Surroundings, Stop> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    if let Some(missing) = PROGRAMS.iter().find(|name| !there(name)) {
        return Err(Stop::error(format_args!("the guest has no `{missing}`")));
    }
    // Signals that dump core are logged, which is how a server that aborts is noticed.
    fs::write("/proc/sys/kernel/print-fatal-signals", "1").during("log fatal signals")?;
    fs::create_dir_all(WORK_DIR).during(format_args!("make {WORK_DIR}"))?;
    if !is_mounted(WORK_DIR) {
        mount(Some("tmpfs"), WORK_DIR, Some("tmpfs"), MsFlags::empty(), Some(WORK_SIZE))
            .during(format_args!("mount {WORK_DIR}"))?;
    }
    modules()?;
    let log = KernelLog::open_at_end().during("open the kernel log")?;
    let udevd = udevd(UDEV_LIMIT * context.budgets.scale)?;
    Ok(Surroundings { udevd, log })
}

fn is_mounted(dir: &str) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(dir))
}

/// Shows the image's modules to `modprobe` in the place it looks, with the index it reads.
fn modules() -> Result<(), Stop> {
    let release = crate::init::kernel_release();
    let dir = Path::new("/lib/modules").join(&release);
    if dir.join("modules.dep").exists() {
        return Ok(());
    }
    fs::create_dir_all(dir.join("kernel")).during("make the modules folder")?;
    for found in fs::read_dir("/modules").during("list /modules")?.flatten() {
        let path = found.path();
        if path.extension().is_some_and(|e| e == "ko") {
            let link = dir.join("kernel").join(found.file_name());
            std::os::unix::fs::symlink(&path, &link).during("link a module")?;
        }
    }
    // depmod warns without these lists, which an image has no use for otherwise.
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::write(dir.join(list), "").during("write a list of modules")?;
    }
    let status = Command::new("depmod").arg(&release).status().during("run depmod")?;
    if status.success() { Ok(()) } else { Err(Stop::error(format_args!("depmod: {status}"))) }
}

/// udev, and its first answer.
fn udevd(limit: Duration) -> Result<Child, Stop> {
    // The previous one was killed and left its socket, which `settle` takes for a running daemon.
    let _ = fs::remove_dir_all("/run/udev");
    // One program, which is the daemon where it is called so.
    let mut command = Command::new("udevadm");
    command.arg0("systemd-udevd");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().during("start systemd-udevd")?;
    let begin = Instant::now();
    while !Path::new("/run/udev/control").exists() {
        if begin.elapsed() > limit {
            return Err(Stop::error("systemd-udevd does not open its socket"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let settle = Command::new("udevadm").args(["settle", "--timeout=20"]).output();
    let settle = settle.during("run udevadm settle")?;
    if settle.status.success() {
        return Ok(child);
    }
    let said = String::from_utf8_lossy(&settle.stderr).trim().to_owned();
    Err(Stop::error(format_args!("udevadm settle: {} {said}", settle.status)))
}
