//! The kernel: its release, what is known of that release, and whether it has a ublk driver.

use std::fs;
use std::path::Path;

use super::known_bugs::{self, Release};
use super::{Finding, State};

/// The first release with a ublk driver.
const FIRST: Release = Release(6, 0, 0);

pub(super) fn look() -> Vec<Finding> {
    let name = nix::sys::utsname::uname().map(|uts| uts.release().to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let mut findings = vec![release(&name)];
    if let Some(release) = Release::parse(&name) {
        findings.extend(known_bugs::of(release).map(|bug| {
            let state = if bug.fatal { State::Problem } else { State::Warning };
            let remedy = format!("{}, unless your distribution has repaired it", bug.remedy);
            Finding::new("known bug", state, bug.what, remedy)
        }));
    }
    findings.push(driver(&name));
    findings
}

fn release(name: &str) -> Finding {
    match Release::parse(name) {
        None => Finding::new(
            "kernel",
            State::Warning,
            format!("the release {name:?} says no version"),
            "ublk needs Linux 6.0 or later",
        ),
        Some(release) if release < FIRST => {
            let remedy = "boot Linux 6.0 or later; 6.4 to work well";
            Finding::new("kernel", State::Unusable, format!("{name} has no ublk"), remedy)
        }
        Some(_) => Finding::ok("kernel", name),
    }
}

/// The driver is loaded, or could be.
fn driver(release: &str) -> Finding {
    if Path::new("/sys/module/ublk_drv").exists() || registered() {
        return Finding::ok("driver", "ublk_drv is there");
    }
    let modules = Path::new("/lib/modules").join(release);
    if lists(&modules.join("modules.builtin")) {
        // Its initialisation failed, or /sys and /proc are hidden from us.
        let found = "ublk_drv is built in, and yet does not show";
        return Finding::new("driver", State::Unusable, found, "see dmesg for ublk");
    }
    if lists(&modules.join("modules.dep")) {
        let found = "ublk_drv is not loaded";
        return Finding::new("driver", State::Unusable, found, "modprobe ublk_drv");
    }
    let remedy = if modules.exists() {
        "install the package with your kernel's further modules, or a kernel with CONFIG_BLK_DEV_UBLK; \
         then modprobe ublk_drv"
    } else {
        "load ublk_drv outside of this container, or install the modules of this kernel"
    };
    let found = format!("ublk_drv is not loaded, and no module in {}", modules.display());
    Finding::new("driver", State::Unusable, found, remedy)
}

fn registered() -> bool {
    let misc = fs::read_to_string("/proc/misc").unwrap_or_default();
    misc.lines().any(|line| line.split_whitespace().nth(1) == Some("ublk-control"))
}

/// Whether a list of modules has the driver.
fn lists(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.contains("/ublk_drv.ko"))
}
