//! Other trees than this one: that of a revision, and copies of this one with something planted in them. All live
//! below `target/trees`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::edit::{Edit, apply_all};
use crate::error::Error;
use crate::workspace;

/// `ublk` as that revision builds it. Built once for each compiler: a revision does not change.
pub(crate) fn of_revision(revision: &str) -> Result<PathBuf, Error> {
    let commit = format!("{revision}^{{commit}}");
    let sha = git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])
        .map_err(|_| Error::usage(format!("there is no revision `{revision}`")))?;
    let sha = String::from_utf8_lossy(&sha).trim().to_owned();
    let compiler = workspace::toolchain().unwrap_or_default();
    let compiler: String = compiler.chars().filter(char::is_ascii_alphanumeric).collect();
    let kept = trees().join(format!("{sha}-{compiler}.ublk"));
    if kept.is_file() {
        return Ok(kept);
    }
    let tree = trees().join(format!("{sha}-{}", std::process::id()));
    unpack(&sha, &tree)?;
    build(&tree, &kept)?;
    for folder in [&tree, &build_folder(&tree)] {
        std::fs::remove_dir_all(folder).map_err(|error| failed(folder, &error))?;
    }
    Ok(kept)
}

/// `ublk` as this tree builds it with `edits` made.
pub(crate) fn with_edits(name: &str, edits: &[Edit]) -> Result<PathBuf, Error> {
    let tree = copy(name, edits, &[])?;
    let kept = tree.with_extension("ublk");
    build(&tree, &kept)?;
    Ok(kept)
}

/// A copy of this tree, committed or not, with `edits` made and `more` files of its own. Its folder.
pub(crate) fn copy(name: &str, edits: &[Edit], more: &[(&str, &str)]) -> Result<PathBuf, Error> {
    let root = workspace::root();
    let tree = trees().join(name);
    let listed = git(&["ls-files", "--cached", "--others", "--exclude-standard", "-z"])?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    if let Some(edit) = edits.iter().find(|edit| !listed.split('\0').any(|name| name == edit.file))
    {
        return Err(Error::failed(format!("there is no {} to plant in", edit.file)));
    }
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let from = root.join(name);
        // Deleted and not yet committed so.
        if !from.is_file() {
            continue;
        }
        let mut bytes = std::fs::read(&from).map_err(|error| failed(&from, &error))?;
        if edits.iter().any(|edit| edit.file == name) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            bytes = apply_all(name, &text, edits)?.into_bytes();
        }
        put(&tree.join(name), &bytes)?;
    }
    for (name, text) in more {
        put(&tree.join(name), text.as_bytes())?;
    }
    Ok(tree)
}

fn trees() -> PathBuf {
    workspace::root().join("target/trees")
}

/// Where the output of a tree's build goes. No two trees share one: cargo tells their sources apart by time alone, and
/// takes what it built of one for what it would build of another that is older.
pub(crate) fn build_folder(tree: &Path) -> PathBuf {
    tree.with_extension("build")
}

fn build(tree: &Path, kept: &Path) -> Result<(), Error> {
    let program = workspace::build_measured_ublk_of(tree, &build_folder(tree))?;
    // Beside its place first: what is there is whole.
    let beside = kept.with_extension(std::process::id().to_string());
    std::fs::copy(&program, &beside)
        .and_then(|_| std::fs::rename(&beside, kept))
        .map_err(|error| failed(kept, &error))
}

/// Writes what differs, so that cargo sees only that as changed.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, bytes))
        .map_err(|error| failed(path, &error))
}

fn unpack(sha: &str, folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut archive = Command::new("git")
        .arg("-C")
        .arg(workspace::root())
        .args(["archive", "--format=tar", sha])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Error::infrastructure(format!("cannot start git: {error}")))?;
    let pipe = archive.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let unpacked = Command::new("tar").arg("-x").arg("-C").arg(folder).stdin(pipe).status();
    let archived = archive.wait();
    match (archived, unpacked) {
        (Ok(first), Ok(second)) if first.success() && second.success() => Ok(()),
        (first, second) => Err(Error::infrastructure(format!(
            "cannot unpack {sha} (git archive: {first:?}, tar: {second:?})"
        ))),
    }
}

fn git(arguments: &[&str]) -> Result<Vec<u8>, Error> {
    let output = Command::new("git")
        .arg("-C")
        .arg(workspace::root())
        .args(arguments)
        .output()
        .map_err(|error| Error::infrastructure(format!("cannot start git: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("no reason");
    Err(Error::infrastructure(format!("git {}: {first}", arguments.join(" "))))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::infrastructure(format!("cannot use {}: {error}", path.display()))
}
