//! The peer rublk: the command for ublk devices by libublk's author, from the registry.

use std::path::{Path, PathBuf};

use super::registry;
use crate::error::Error;

/// The release that is compared with.
pub(crate) const VERSION: &str = "0.2.15";
const STAMP: &str = "built";

/// The statically linked program, built unless the cache has it.
///
/// # Errors
/// With what cargo said: no registry, no compiler, no libclang.
pub(crate) fn build(cache_root: &Path) -> Result<PathBuf, Error> {
    let home = cache_root.join("peers").join(format!("rublk-{VERSION}"));
    let program = home.join("bin/rublk");
    if home.join(STAMP).is_file() && program.is_file() {
        return Ok(program);
    }
    std::fs::create_dir_all(&home).map_err(|error| {
        Error::infrastructure(format!("cannot make {}: {error}", home.display()))
    })?;
    let mut command = registry::building(&home);
    command
        .args(["install", "rublk", "--version", &format!("={VERSION}"), "--locked", "--quiet"])
        // A graphics card's memory is nothing that is compared here, and needs its vendor's libraries.
        .args(["--no-default-features", "--force", "--target", &registry::target()])
        .arg("--root")
        .arg(&home)
        .arg("--target-dir")
        .arg(home.join("target"));
    registry::run("rublk", command)?;
    registry::write(&home.join(STAMP), VERSION)?;
    Ok(program)
}
