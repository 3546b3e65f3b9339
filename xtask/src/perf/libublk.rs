//! The peer libublk: its own null example, from the registry, built as it comes, in the cache.
//!
//! It never becomes a dependency of this workspace: it is fetched and built in folders of its own, with the
//! lock file that its authors published.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// The release that is compared with.
pub(crate) const VERSION: &str = "0.4.8";
const STAMP: &str = "built";

/// The example's statically linked binary, built unless the cache has it.
///
/// # Errors
/// With what cargo said: no registry, no compiler, no libclang.
pub(crate) fn build(cache_root: &Path) -> Result<PathBuf, Error> {
    let home = cache_root.join("peers").join(format!("libublk-{VERSION}"));
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let binary = home.join("target").join(&target).join("release/examples/null");
    if home.join(STAMP).is_file() && binary.is_file() {
        return Ok(binary);
    }
    let source = home.join("source");
    if !source.is_dir() {
        let fetched = fetch(&home.join("fetch"))?;
        copy_tree(&fetched, &source).map_err(|error| {
            Error::infrastructure(format!("cannot copy libublk into the cache: {error}"))
        })?;
        own_workspace(&source.join("Cargo.toml"))?;
    }
    let mut command = cargo(&source);
    command
        .args(["build", "--quiet", "--release", "--example", "null", "--target", &target])
        .arg("--target-dir")
        .arg(home.join("target"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static")
        // The best its compiler can do, so that nobody is beaten for a default.
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    run(command).map_err(|error| {
        Error::infrastructure(format!(
            "{error}; its bindings need libclang: apt-get install libclang1"
        ))
    })?;
    write(&home.join(STAMP), VERSION)?;
    Ok(binary)
}

/// Where cargo has put the sources of the release.
fn fetch(folder: &Path) -> Result<PathBuf, Error> {
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
         [dependencies]\nlibublk = \"={VERSION}\"\n\n[workspace]\n"
    );
    std::fs::create_dir_all(folder.join("src")).map_err(|error| {
        Error::infrastructure(format!("cannot make {}: {error}", folder.display()))
    })?;
    write(&folder.join("Cargo.toml"), &manifest)?;
    write(&folder.join("src/lib.rs"), "")?;
    let mut command = cargo(folder);
    command.args(["metadata", "--format-version", "1", "--quiet"]);
    let text = run(command)?;
    let metadata: serde_json::Value = serde_json::from_str(&text).map_err(Error::infrastructure)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == "libublk")
        .find_map(|package| package["manifest_path"].as_str());
    manifest
        .and_then(|path| Path::new(path).parent())
        .map(Path::to_owned)
        .ok_or_else(|| Error::infrastructure("cargo fetched libublk and does not say where to"))
}

/// The cache may lie inside another workspace; this makes the package one of its own.
fn own_workspace(manifest: &Path) -> Result<(), Error> {
    let text = std::fs::read_to_string(manifest)
        .map_err(|error| Error::infrastructure(format!("{}: {error}", manifest.display())))?;
    write(manifest, &format!("{text}\n[workspace]\n"))
}

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    command
}

fn run(mut command: Command) -> Result<String, Error> {
    let output = command
        .output()
        .map_err(|error| Error::infrastructure(format!("failed to start cargo: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason");
    Err(Error::infrastructure(format!("libublk cannot be built: {}", last.trim())))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text)
        .map_err(|error| Error::infrastructure(format!("cannot write {}: {error}", path.display())))
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
