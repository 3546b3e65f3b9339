//! What this user may: the control node, io_uring, and what the driver says of itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use io_uring::{IoUring, cqueue, squeue};
use ublk::ctrl::{CONTROL_PATH, Control, OpenError};
use ublk::server::SOCKET_DIR;

use super::{Finding, State};

pub(super) fn look() -> Vec<Finding> {
    let mut findings = vec![io_uring()];
    findings.extend(control());
    findings.push(nodes());
    findings.extend(socket_dir());
    findings
}

/// The real question: a ring as the control client needs it.
fn io_uring() -> Finding {
    let ring = IoUring::<squeue::Entry128, cqueue::Entry>::builder().build(2);
    let sysctl = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let sysctl = sysctl.trim();
    let Err(error) = ring else {
        return match sysctl {
            "1" | "2" => Finding::new(
                "io_uring",
                State::Warning,
                format!("allowed to this process, though kernel.io_uring_disabled is {sysctl}"),
                "other users may be refused: sysctl kernel.io_uring_disabled=0",
            ),
            _ => Finding::ok("io_uring", "rings can be made"),
        };
    };
    let remedy = match sysctl {
        "1" => "sysctl kernel.io_uring_disabled=0, or join the group kernel.io_uring_group",
        "2" => "sysctl kernel.io_uring_disabled=0",
        _ => "allow io_uring_setup in the container's seccomp profile",
    };
    Finding::new("io_uring", State::Unusable, format!("no ring: {error}"), remedy)
}

fn control() -> Vec<Finding> {
    match Control::open() {
        Ok(mut control) => {
            let node = Finding::ok("control", format!("{CONTROL_PATH} can be opened"));
            vec![node, features(&mut control)]
        }
        Err(error) => {
            let remedy = match &error {
                OpenError::NoDriver { .. } => "load the driver: modprobe ublk_drv".into(),
                OpenError::NoNode { path, minor } => {
                    format!("mknod {} c 10 {minor}", path.display())
                }
                OpenError::Permission { path } => {
                    format!("run as root, or give this user {} to read and write", path.display())
                }
                OpenError::Ring { .. } => "see io_uring above".into(),
                _ => "see the message".into(),
            };
            vec![Finding::new("control", State::Unusable, error.to_string(), remedy)]
        }
    }
}

fn features(control: &mut Control) -> Finding {
    match control.get_features() {
        Ok(features) => {
            let (known, unknown) = (features.names().len(), features.unknown());
            let newer = match unknown {
                0 => String::new(),
                unknown => format!(", and {unknown:#x} that this command does not know"),
            };
            Finding::ok("features", format!("{known} of those known{newer}; see `ublk features`"))
        }
        Err(error) => Finding::new(
            "features",
            State::Warning,
            error.to_string(),
            "boot Linux 6.5 or later, whose driver tells what it can do",
        ),
    }
}

/// Who makes /dev/ublkbN and /dev/ublkcN when a device is added.
fn nodes() -> Finding {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let devtmpfs = mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some("/dev") && words.next() == Some("devtmpfs")
    });
    let udev = Path::new("/run/udev/control").exists();
    match (devtmpfs, udev) {
        (true, true) => Finding::ok("nodes", "devtmpfs and udev make them"),
        (true, false) => Finding::ok("nodes", "devtmpfs makes them; there is no udev for links"),
        (false, true) => Finding::ok("nodes", "udev makes them"),
        (false, false) => Finding::new(
            "nodes",
            State::Warning,
            "neither devtmpfs on /dev nor udev: nobody makes a new device's nodes",
            "mount devtmpfs on /dev, or mknod each by the numbers in /sys/class",
        ),
    }
}

/// A folder that others may write to is refused by servers: they would answer no questions.
fn socket_dir() -> Option<Finding> {
    let found = fs::metadata(SOCKET_DIR).ok()?;
    if found.mode() & 0o022 == 0 {
        return None;
    }
    let text = format!("{SOCKET_DIR} can be written by others, so servers make no socket there");
    let remedy = format!("chown root: {SOCKET_DIR} && chmod 755 {SOCKET_DIR}");
    Some(Finding::new("sockets", State::Problem, text, remedy))
}
