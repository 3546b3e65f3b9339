//! What servers that are gone have left: devices, and sockets.

use std::fs;
use std::io;
use std::path::PathBuf;

use ublk::ctrl::Control;
use ublk::server::{SOCKET_DIR, read_status};
use ublk::uapi::{DevInfo, DevState, Features};

use super::{Finding, State};
use crate::devices;

pub(super) fn look() -> Vec<Finding> {
    let mut findings = Vec::new();
    // Where the control node cannot be opened, that has been told.
    if let Ok(mut control) = Control::open() {
        let infos: Vec<DevInfo> =
            devices::ids().into_iter().filter_map(|id| control.address(id).ok()).collect();
        let count = infos.len();
        let left: Vec<Finding> = infos.iter().filter_map(leftover).collect();
        if left.is_empty() {
            findings.push(Finding::ok("devices", format!("{count}, none without its server")));
        }
        findings.extend(left);
    }
    findings.extend(stale_sockets());
    findings
}

/// A device that nobody serves, or none for one that is well.
fn leftover(info: &DevInfo) -> Option<Finding> {
    let id = info.dev_id;
    let alive = devices::server_pid(info).is_some_and(devices::is_alive);
    if alive {
        return None;
    }
    let recoverable = info.flags.contains(Features::USER_RECOVERY);
    let (state, waits) = match info.state() {
        DevState::Live | DevState::Quiesced => (State::Problem, ", and its users wait"),
        DevState::FailIo => (State::Problem, ", and its users get errors"),
        _ => (State::Warning, ""),
    };
    let remedy = if recoverable && info.state() != DevState::Dead {
        format!("serve it again with `ublk recover`, or `ublk del {id}`")
    } else {
        format!("`ublk del {id}`")
    };
    let name = info.state().name();
    let found = format!("/dev/ublkc{id} ({name}) has no server any more{waits}");
    Some(Finding::new("devices", state, found, remedy))
}

fn stale_sockets() -> Option<Finding> {
    let entries = fs::read_dir(SOCKET_DIR).ok()?;
    let refused = |path: &PathBuf| {
        let is_socket = path.extension().is_some_and(|extension| extension == "sock");
        let asked = is_socket.then(|| read_status(path).map_err(|error| error.kind()));
        asked.is_some_and(|answer| answer.err() == Some(io::ErrorKind::ConnectionRefused))
    };
    let stale: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(refused)
        .map(|path| path.display().to_string())
        .collect();
    if stale.is_empty() {
        return None;
    }
    let found = format!("{} sockets without a server", stale.len());
    let remedy =
        format!("rm {}; the next server with that number replaces it, too", stale.join(" "));
    Some(Finding::new("sockets", State::Warning, found, remedy))
}
