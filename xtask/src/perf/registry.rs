//! Peers that are crates: fetched and built by cargo in folders of their own, with the lock files that their
//! authors published. None of them becomes a dependency of this workspace.

use std::path::Path;
use std::process::Command;
use vmimage::fsio;

use crate::error::Error;

/// The best the compiler can do, so that nobody is beaten for a default; static, because the guest has
/// another C library.
const BUILD: [(&str, &str); 3] = [
    ("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
];

/// What peers are built for.
pub(super) fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Cargo in `folder`, without what this workspace's own cargo has set.
pub(super) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    command
}

/// The same, for a build of a peer.
pub(super) fn building(folder: &Path) -> Command {
    let mut command = cargo(folder);
    command.envs(BUILD);
    command
}

/// Runs it to its end; its standard output.
pub(super) fn run(what: &str, mut command: Command) -> Result<String, Error> {
    let output = command
        .output()
        .map_err(|error| Error::infrastructure(format!("failed to start cargo: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::infrastructure(format!("{what} cannot be built: {}", reason(&said))))
}

/// The first line that says an error, else the last that says anything.
fn reason(said: &str) -> &str {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines.clone().next_back().unwrap_or("no reason");
    lines.find(|line| line.starts_with("error")).unwrap_or(last)
}

/// Writes a small file.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    fsio::write(path, text.as_bytes()).map_err(Error::infrastructure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_the_reason() {
        let said = "warning: x\nerror: no libclang\n  more\nerror: could not compile\n\n";
        assert_eq!(reason(said), "error: no libclang");
        assert_eq!(reason("a\nb\n\n"), "b");
        assert_eq!(reason(""), "no reason");
    }
}
