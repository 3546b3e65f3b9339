//! Where this workspace is, and what state it is in.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use vmimage::arch::Arch;
use vmimage::command::CommandError;
use vmimage::{fsio, process_group};

use crate::error::Error;
use crate::rust_target;

/// Longest build of the guest's programs. On two cores that others use as well the first takes five minutes.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// The root of the workspace: `xtask` is built inside it and only makes sense there.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Writes a file, and makes its folder.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    fsio::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fsio::write(path, bytes.as_ref()))
        .map_err(Error::infrastructure)
}

/// Commit and whether the tree differs from it; "unknown" outside a git checkout.
pub(crate) fn commit() -> (String, bool) {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root()).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "HEAD"]) {
        Some(commit) => (commit, git(&["status", "--porcelain"]).is_none_or(|s| !s.is_empty())),
        None => ("unknown".into(), true),
    }
}

/// The compiler that builds the workspace, as it names itself.
pub(crate) fn toolchain() -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).current_dir(root()).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The statically linked programs of the guest.
#[derive(Clone, Debug)]
pub(crate) struct GuestPrograms {
    pub(crate) runner: PathBuf,
    pub(crate) ublk: PathBuf,
}

/// Builds them.
pub(crate) fn build_guest_programs(arch: Arch) -> Result<GuestPrograms, Error> {
    build_guest_programs_of(&root(), &root().join("target/guest"), arch)
}

/// The same of another tree, with build output in `folder`.
pub(crate) fn build_guest_programs_of(
    tree: &Path,
    folder: &Path,
    arch: Arch,
) -> Result<GuestPrograms, Error> {
    let packages = ["--package", "runner", "--package", "ublk", "--bins"];
    let bin = build_static(tree, "guest", folder, &packages, arch)?;
    Ok(GuestPrograms { runner: bin.join("runner"), ublk: bin.join("ublk") })
}

/// Builds `ublk` as `dist` ships it, but statically: what a measurement is to measure.
pub(crate) fn build_measured_ublk() -> Result<PathBuf, Error> {
    build_measured_ublk_of(&root(), &root().join("target/measured"))
}

/// The same of another tree, with build output in `folder`.
pub(crate) fn build_measured_ublk_of(tree: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let bin =
        build_static(tree, "dist", folder, &["--package", "ublk", "--bin", "ublk"], Arch::X86_64)?;
    Ok(bin.join("ublk"))
}

/// Builds the program of criterion benches the same way.
pub(crate) fn build_measured_benches() -> Result<PathBuf, Error> {
    let folder = root().join("target/measured");
    let what = ["--package", "benches", "--bench", "hot_path"];
    let bin = build_static(&root(), "dist", &folder, &what, Arch::X86_64)?;
    // Cargo gives it a name with a hash; the newest is the one it has just made or found to be fresh.
    let entries = std::fs::read_dir(bin.join("deps")).map_err(Error::infrastructure)?;
    let programs = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("hot_path-") && !name.contains('.')
    });
    let modified = |entry: &std::fs::DirEntry| entry.metadata().and_then(|m| m.modified()).ok();
    programs
        .max_by_key(modified)
        .map(|entry| entry.path())
        .ok_or_else(|| Error::infrastructure("cargo has built the benches and they are not there"))
}

fn build_static(
    tree: &Path,
    profile: &str,
    folder: &Path,
    what: &[&str],
    arch: Arch,
) -> Result<PathBuf, Error> {
    let target = arch.facts().rust_target;
    rust_target::require(target)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(tree)
        .args(["build", "--quiet", "--profile", profile, "--target", target])
        .args(what)
        .arg("--target-dir")
        .arg(folder)
        .env("RUSTFLAGS", arch.facts().rust_flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let (status, said) = run_interruptible(&mut command)?;
    if !status.success() {
        return Err(Error::infrastructure(format!("failed to build with {profile}:\n{said}")));
    }
    Ok(folder.join(target).join(profile))
}

/// Runs cargo or rustup to its end, or ends it and every compiler it has started when the user stops the run. What it
/// said.
pub(crate) fn run_interruptible(command: &mut Command) -> Result<(ExitStatus, String), Error> {
    // A file and not a pipe: nothing has to be read while it runs.
    let log = tempfile::NamedTempFile::new().map_err(Error::infrastructure)?;
    let status = process_group::run(command, log.path(), BUILD_LIMIT, || {});
    let status = status.map_err(|error| match error {
        CommandError::Interrupted { .. } => {
            Error::interrupted("stopped while the guest's programs were built")
        }
        other => Error::infrastructure(other),
    })?;
    let said = std::fs::read(log.path()).map_err(Error::infrastructure)?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}
