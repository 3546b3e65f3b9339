//! Out of a 160 MB source package only one folder is unpacked, and compiled with the headers of the
//! same kernel: the machine's own may be years older and lack the driver altogether.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Choice, METADATA_SIZE, SERVER, SelftestsError};
use crate::archive::Archive;
use crate::command::{self, CommandError, Finished};
use crate::fsio::{self, At};

/// Where the selftests are in a kernel tree.
const FOLDER: &str = "tools/testing/selftests/ublk";

/// Unpacking reads the whole archive (10 s on an idle core), because a tar file has no index.
const UNPACK_LIMIT: Duration = Duration::from_secs(600);

/// Compiling takes under ten seconds on an idle core.
const COMPILE_LIMIT: Duration = Duration::from_secs(300);

/// The compiler's version line: another compiler makes another program.
pub(super) fn compiler_version() -> Result<String, SelftestsError> {
    let done = gcc(Command::new("gcc").arg("--version"))?;
    Ok(done.stdout.lines().next().unwrap_or_default().to_owned())
}

/// Fills `to` with the two programs and the folder of scripts.
pub(super) fn run(archive: &Archive, choice: &Choice, to: &Path) -> Result<(), SelftestsError> {
    let work = to.join("work");
    let root = archive.unpack(&choice.family, &choice.packages(), &work)?;
    let folder = unpack_sources(choice, &root, &work)?;
    let mut server: Vec<PathBuf> = sources(&folder)?;
    // One of the files is the helper, a program of its own.
    let helper = folder.join(format!("{METADATA_SIZE}.c"));
    server.retain(|path| *path != helper);
    if server.is_empty() || !helper.is_file() {
        let package = choice.source.name.clone();
        return Err(SelftestsError::Layout { package, what: format!("C sources in {FOLDER}") });
    }
    compile(SERVER, &root, &server, to)?;
    compile(METADATA_SIZE, &root, &[helper], to)?;
    copy_scripts(&folder, &to.join("scripts"))?;
    Ok(fsio::remove_tree(&work)?)
}

fn unpack_sources(choice: &Choice, root: &Path, work: &Path) -> Result<PathBuf, SelftestsError> {
    let name = format!("linux-source-{}", choice.series);
    let archive = format!("{name}.tar.xz");
    let mut tar = Command::new("tar");
    tar.arg("-xJf").arg(root.join("usr/src").join(&archive)).arg("-C").arg(work);
    tar.arg(format!("{name}/{FOLDER}")).env("LC_ALL", "C.UTF-8");
    let done = command::run(&mut tar, UNPACK_LIMIT)?;
    if !done.status.success() {
        return Err(SelftestsError::Unpack { archive, reason: first_line(&done, "") });
    }
    Ok(work.join(name).join(FOLDER))
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, SelftestsError> {
    let found = std::fs::read_dir(folder).at("list", folder)?.flatten().map(|e| e.path());
    let mut sources: Vec<PathBuf> =
        found.filter(|path| path.extension().is_some_and(|e| e == "c")).collect();
    // A fixed order makes equal programs of equal sources.
    sources.sort();
    Ok(sources)
}

fn compile(
    program: &'static str,
    root: &Path,
    sources: &[PathBuf],
    to: &Path,
) -> Result<(), SelftestsError> {
    let mut command = Command::new("gcc");
    // What the kernel's own build passes (`-O3`, `_GNU_SOURCE` by lib.mk), and static: the guest has
    // another libc than this machine.
    command.args(["-O3", "-D_GNU_SOURCE", "-w", "-static"]);
    for include in ["usr/include", "usr/include/x86_64-linux-gnu"] {
        command.arg("-isystem").arg(root.join(include));
    }
    command.arg("-o").arg(to.join(program)).args(sources);
    command.arg(root.join("usr/lib/x86_64-linux-gnu/liburing.a")).args(["-lpthread", "-lm"]);
    let done = gcc(&mut command)?;
    if !done.status.success() {
        let reason = first_line(&done, "error");
        return Err(SelftestsError::Compile { program, reason });
    }
    Ok(())
}

fn gcc(command: &mut Command) -> Result<Finished, SelftestsError> {
    match command::run(command.env("LC_ALL", "C.UTF-8"), COMPILE_LIMIT) {
        Err(CommandError::NotFound { .. }) => Err(SelftestsError::NoCompiler),
        done => Ok(done?),
    }
}

/// The first line of standard error that holds `mark`, else the first of all.
fn first_line(done: &Finished, mark: &str) -> String {
    let lines = || done.stderr.lines().map(str::trim).filter(|l| !l.is_empty());
    lines()
        .find(|line| line.contains(mark))
        .or_else(|| lines().next())
        .map_or_else(|| format!("it ended with {}", done.status), str::to_owned)
}

/// Everything but C sources and what only a build needs.
fn copy_scripts(folder: &Path, to: &Path) -> Result<(), SelftestsError> {
    for found in walkdir::WalkDir::new(folder) {
        let found = found.map_err(std::io::Error::from).at("list", folder)?;
        let name = found.path().strip_prefix(folder).unwrap_or(found.path());
        let is_source = name.extension().is_some_and(|e| e == "c" || e == "h");
        if found.file_type().is_file() && !is_source && name != Path::new("Makefile") {
            fsio::copy(found.path(), &to.join(name))?;
        }
    }
    Ok(())
}
