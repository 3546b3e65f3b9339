//! The peer libublk: its own examples, from the registry, built as they come, in the cache.

use std::path::{Path, PathBuf};

use super::registry::{self, cargo, run, write};
use crate::error::Error;

/// The release that is compared with.
pub(crate) const VERSION: &str = "0.4.8";
const STAMP: &str = "built";

/// The examples' programs, statically linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Libublk {
    /// Stores nothing.
    pub(crate) null: PathBuf,
    /// Serves a file.
    pub(crate) file: PathBuf,
    /// Serves its own memory.
    pub(crate) ram: PathBuf,
}

impl Libublk {
    fn in_folder(folder: &Path) -> Self {
        let of = |name: &str| folder.join(name);
        Self { null: of("null"), file: of("loop"), ram: of("ramdisk") }
    }

    fn is_there(&self) -> bool {
        [&self.null, &self.file, &self.ram].iter().all(|path| path.is_file())
    }
}

/// Builds them unless the cache has them.
///
/// # Errors
/// With what cargo said: no registry, no compiler, no libclang.
pub(crate) fn build(cache_root: &Path) -> Result<Libublk, Error> {
    let home = cache_root.join("peers").join(format!("libublk-{VERSION}"));
    let target = registry::target();
    let programs = Libublk::in_folder(&home.join("target").join(&target).join("release/examples"));
    if home.join(STAMP).is_file() && programs.is_there() {
        return Ok(programs);
    }
    let source = home.join("source");
    if !source.is_dir() {
        let fetched = fetch(&home.join("fetch"))?;
        copy_tree(&fetched, &source).map_err(|error| {
            Error::infrastructure(format!("cannot copy libublk into the cache: {error}"))
        })?;
        own_workspace(&source.join("Cargo.toml"))?;
    }
    let mut command = registry::building(&source);
    command
        .args(["build", "--quiet", "--release", "--target", &target])
        .args(["--example", "null", "--example", "loop", "--example", "ramdisk"])
        .arg("--target-dir")
        .arg(home.join("target"));
    run("libublk", command).map_err(|error| {
        Error::infrastructure(format!(
            "{error}; its bindings need libclang: apt-get install libclang1"
        ))
    })?;
    write(&home.join(STAMP), VERSION)?;
    Ok(programs)
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
    let text = run("libublk", command)?;
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
