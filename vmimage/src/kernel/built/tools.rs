//! What a kernel is built with. The compiler is this machine's, as it is for everything else here; the small
//! tools that a machine without kernel developers lacks come from the archive, and nothing is installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failure::BuildError;
use crate::archive::{Archive, Record, version};
use crate::cache::Key;
use crate::command;
use crate::fsio;
use crate::kernel::KernelError;

/// Raise when the layout of a cached toolbox changes.
const LAYOUT: &str = "kernel tools layout 2";

/// Programs that have to be this machine's own, and the package of each.
const OWN: [(&str, &str); 6] = [
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("make", "make"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("perl", "perl-base"),
];

/// Programs that are fetched where they are missing.
const SMALL: [&str; 4] = ["bc", "bison", "flex", "m4"];

/// The header that says that libelf can be compiled with.
const ELF_HEADER: &str = "/usr/include/gelf.h";
const ELF_PACKAGE: &str = "libelf-dev";

/// Stands in for `pkg-config`, which every series asks where libelf is; what make itself is told on its command
/// line does not reach the objtool of old ones. The program that is built is run meanwhile, so it has to find
/// the library then.
const PKG_CONFIG: &str = "pkg-config-libelf";
const PKG_CONFIG_SCRIPT: &str = r#"root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
lib=$root/usr/lib/x86_64-linux-gnu
case "$*" in
*--cflags*) echo "-I$root/usr/include" ;;
*--libs*) echo "-L$lib -lelf -Wl,-rpath,$lib" ;;
esac
"#;

/// Programs a kernel cannot be built without and that are not fetched, each with its package. Empty is good.
#[must_use]
pub fn missing() -> Vec<(&'static str, &'static str)> {
    OWN.into_iter().filter(|(tool, _)| !on_path(tool)).collect()
}

fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}

/// The compiler's version line: another compiler makes another kernel.
pub(super) fn compiler() -> Result<String, KernelError> {
    if let (tools, packages) = missing().into_iter().unzip()
        && !Vec::is_empty(&tools)
    {
        return Err(BuildError::NoTool { tools, packages }.into());
    }
    let done = command::run(
        Command::new("gcc").arg("--version").env("LC_ALL", "C.UTF-8"),
        Duration::from_secs(20),
    )?;
    Ok(done.stdout.lines().next().unwrap_or_default().to_owned())
}

/// Where the small tools are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Toolbox {
    /// On this machine.
    Installed,
    /// Unpacked below this root.
    Unpacked(PathBuf),
}

/// This machine's tools where it has them all, else the archive's.
pub(super) fn provide(archive: &Archive) -> Result<Toolbox, KernelError> {
    if SMALL.iter().all(|tool| on_path(tool)) && Path::new(ELF_HEADER).is_file() {
        return Ok(Toolbox::Installed);
    }
    // The machine's own release comes first; programs of a newer one want a newer libc.
    let families = archive.families()?;
    let family = families.first().map_or("", String::as_str);
    let records = records(archive, family)?;
    let mut key = Key::new([LAYOUT, family]);
    records.iter().for_each(|r| key.push(format!("{} {} {}", r.name, r.version, r.sha256)));
    let entry = archive.cache().get_or_build("kernel-tools", &key, &[], |tmp| {
        let script = archive.unpack(family, &records, tmp)?.join("usr/bin").join(PKG_CONFIG);
        Ok::<_, KernelError>(fsio::write(&script, PKG_CONFIG_SCRIPT.as_bytes())?)
    })?;
    Ok(Toolbox::Unpacked(entry.path("root")))
}

fn records(archive: &Archive, family: &str) -> Result<Vec<Record>, KernelError> {
    let newest = |name: &str| {
        let found = archive.records(family, &[name])?.into_iter();
        let newest = found.max_by(|a, b| version::compare(&a.version, &b.version));
        newest.ok_or_else(|| {
            KernelError::from(BuildError::NoPackage { what: name.into(), family: family.into() })
        })
    };
    let mut records =
        SMALL.iter().map(|tool| newest(tool)).collect::<Result<Vec<_>, KernelError>>()?;
    let elf = newest(ELF_PACKAGE)?;
    // `libelf1`, or `libelf1t64` from 2024 on.
    let library = elf.depends.iter().find(|name| name.starts_with("libelf1")).cloned();
    records.push(newest(library.as_deref().unwrap_or("libelf1"))?);
    records.push(elf);
    Ok(records)
}

impl Toolbox {
    /// A `make` that finds the tools, in `tree`.
    pub(super) fn make(&self, tree: &Path) -> Command {
        let mut make = Command::new("make");
        make.current_dir(tree).env("LC_ALL", "C.UTF-8").env_remove("MAKEFLAGS");
        let Toolbox::Unpacked(root) = self else { return make };
        let bin = root.join("usr/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(bin.clone()).chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(dirs) {
            make.env("PATH", path);
        }
        make.env("M4", bin.join("m4")).env("BISON_PKGDATADIR", root.join("usr/share/bison"));
        make.arg(format!("HOSTPKG_CONFIG=sh {}", bin.join(PKG_CONFIG).display()));
        make
    }
}
