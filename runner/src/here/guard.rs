//! What has to be so before anything is done on a machine that others use.

use std::path::PathBuf;

use scenarios::{devices, process};

use super::refusal::Refusal;

/// The server's program, if this machine may be used: the first thing that is in the way is told.
pub(super) fn check() -> Result<PathBuf, Refusal> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Refusal::NotRoot);
    }
    devices::check_driver().map_err(|error| Refusal::NoDriver(error.to_string()))?;
    let found = devices::ids().map_err(|error| Refusal::Machine(error.to_string()))?;
    if !found.is_empty() {
        return Err(Refusal::Devices(found));
    }
    let server = PathBuf::from(process::UBLK.as_str());
    if server.is_file() { Ok(server) } else { Err(Refusal::NoServer(server)) }
}
