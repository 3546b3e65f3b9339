//! A QEMU that can be trusted, wherever it has to come from. Old ones make guests oops at random under
//! emulation; so where the machine's is old or absent, a newer one is unpacked from the archive and
//! run through its own loader with its own libraries, on whatever libc the machine has.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::{Archive, ArchiveError, Record, lock_entries, version};
use crate::cache::{CacheError, Entry, Key};
use crate::elf::{ElfError, LibrarySearch};
use crate::fsio::{self, At, IoError};
use crate::machine::{MIN_QEMU, ProgramError, QemuProgram};
use crate::sysroot::{self, Sysroot};

/// The emulator's name on `PATH` and in its package.
const EMULATOR: &str = "qemu-system-x86_64";

/// The package that holds it.
const PACKAGE: &str = "qemu-system-x86";

/// Packages whose files are used; the libraries come on top.
const USED_PACKAGES: [&str; 5] =
    [PACKAGE, "qemu-system-common", "qemu-system-data", "seabios", "ipxe-qemu"];

/// Firmware directories in the packages, in the order QEMU is to search them, and their names in a
/// cache entry.
const FIRMWARE: [(&str, &str); 3] = [
    ("usr/share/qemu", "firmware/qemu"),
    ("usr/share/seabios", "firmware/seabios"),
    ("usr/lib/ipxe/qemu", "firmware/ipxe"),
];

/// Raise when the layout of a cached QEMU changes.
const LAYOUT: &str = "qemu layout 1";

/// Why there is no QEMU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QemuInstallError {
    /// No family has one that is new enough.
    #[error(
        "the archive has no QEMU {MIN_QEMU} or newer (it has {found}): install one and name it with --qemu"
    )]
    NoneNewEnough {
        /// The versions found.
        found: String,
    },
    /// The package does not hold what it should.
    #[error("the package {PACKAGE} {version} holds no {EMULATOR}: name a QEMU with --qemu")]
    Layout {
        /// The package's version.
        version: String,
    },
    /// A QEMU does not run or is not one.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Its libraries cannot be listed.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The archive could not serve.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The cache could not serve.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A QEMU that is new enough: the one named, else the one on `PATH`, else one from the archive.
///
/// One that is named and too old is an error; one on `PATH` that is too old is passed over.
pub fn provide(archive: &Archive, named: Option<&Path>) -> Result<QemuProgram, QemuInstallError> {
    if let Some(path) = named {
        let program = inspect(path, "--qemu")?;
        program.require_minimum()?;
        return Ok(program);
    }
    if let Some(path) = on_path() {
        let usable = inspect(&path, "PATH").and_then(|p| p.require_minimum().map(|()| p));
        match usable {
            Ok(program) => return Ok(program),
            Err(reason) => {
                let text = format!("not using {}: {reason}", path.display());
                archive.cache().progress().note(&text);
            }
        }
    }
    from_archive(archive)
}

fn inspect(path: &Path, origin: &str) -> Result<QemuProgram, ProgramError> {
    QemuProgram::inspect(path.to_owned(), Vec::new(), Vec::new(), path, origin.to_owned())
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(EMULATOR)).find(|file| file.is_file())
}

/// Which package of the archive to take.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    family: String,
    version: String,
    /// The suite that has to be preferred for it, for a backport.
    target_release: Option<String>,
}

/// The first family that has one new enough; within it, one of the release itself before a backport,
/// because the release's own is the one most machines run.
fn choose(offers: &[(String, String, String)]) -> Option<Choice> {
    let new_enough = |v: &str| {
        let major = version::upstream(v).split('.').next().and_then(|n| n.parse::<u32>().ok());
        major.is_some_and(|major| major >= MIN_QEMU.major)
    };
    let usable: Vec<_> = offers.iter().filter(|(v, _, _)| new_enough(v)).collect();
    let (_, family, _) = usable.first()?;
    let (version, family, suite) =
        usable.iter().filter(|(_, f, _)| f == family).max_by(|a, b| {
            let own = |suite: &str| !suite.ends_with("-backports");
            own(&a.2).cmp(&own(&b.2)).then_with(|| version::compare(&a.0, &b.0))
        })?;
    let target_release = suite.ends_with("-backports").then(|| suite.clone());
    Some(Choice { family: family.clone(), version: version.clone(), target_release })
}

fn from_archive(archive: &Archive) -> Result<QemuProgram, QemuInstallError> {
    let offers = archive.madison(PACKAGE)?;
    let Some(choice) = choose(&offers) else {
        let mut found: Vec<&str> = offers.iter().map(|(version, _, _)| version.as_str()).collect();
        found.dedup();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        return Err(QemuInstallError::NoneNewEnough { found });
    };
    let all = archive.closure(&choice.family, &[PACKAGE], choice.target_release.as_deref())?;
    let mut key = Key::new([LAYOUT]);
    all.iter().for_each(|r| key.push(format!("{} {} {}", r.name, r.version, r.sha256)));
    let critical = ["bin/qemu-system-x86_64", "lib/loader"];
    let entry = archive
        .cache()
        .get_or_build("qemu", &key, &critical, |tmp| build(archive, &choice, &all, tmp))?;
    program_of(&entry, &choice)
}

fn build(
    archive: &Archive,
    choice: &Choice,
    all: &[Record],
    tmp: &Path,
) -> Result<(), QemuInstallError> {
    let work = tmp.join("work");
    let emulator = |root: &Path| {
        let found = LibrarySearch::sysroot(root).resolve(&Path::new("usr/bin").join(EMULATOR));
        found.ok_or_else(|| QemuInstallError::Layout { version: choice.version.clone() })
    };
    let programs = |root: &Path| Ok(vec![emulator(root)?]);
    let asked = &USED_PACKAGES;
    let sysroot =
        sysroot::unpack::<QemuInstallError>(archive, &choice.family, all, asked, &work, programs)?;
    fsio::copy(&emulator(&sysroot.root)?, &tmp.join("bin").join(EMULATOR))?;
    copy_libraries(&sysroot, choice, &tmp.join("lib"))?;
    for (from, to) in FIRMWARE {
        copy_firmware(&sysroot.root, from, &tmp.join(to))?;
    }
    let lock_path = tmp.join("lock.json");
    let lock = serde_json::to_vec_pretty(&lock_entries(&choice.family, &sysroot.used));
    fsio::write(&lock_path, &lock.map_err(std::io::Error::from).at("write", &lock_path)?)?;
    fsio::remove_tree(&work)?;
    Ok(())
}

fn copy_libraries(sysroot: &Sysroot, choice: &Choice, to: &Path) -> Result<(), QemuInstallError> {
    let Some((_, loader)) = &sysroot.closure.loader else {
        return Err(QemuInstallError::Layout { version: choice.version.clone() });
    };
    fsio::copy(loader, &to.join("loader"))?;
    for (name, path) in &sysroot.closure.libraries {
        fsio::copy(path, &to.join(name))?;
    }
    // No header names it: glibc opens it when a thread ends.
    if let Some(path) = LibrarySearch::sysroot(&sysroot.root).find("libgcc_s.so.1") {
        fsio::copy(&path, &to.join("libgcc_s.so.1"))?;
    }
    Ok(())
}

/// Copies what an x86 machine may load: option ROMs and BIOS images, not the firmware of other
/// architectures nor keyboard maps. Links are replaced by what they lead to.
fn copy_firmware(root: &Path, from: &str, to: &Path) -> Result<(), QemuInstallError> {
    let dir = root.join(from);
    let search = LibrarySearch::sysroot(root);
    fsio::create_dir_all(to)?;
    let Ok(entries) = fs::read_dir(&dir) else { return Ok(()) };
    for name in entries.flatten().map(|e| e.file_name()) {
        let path = Path::new(from).join(&name);
        let wanted = matches!(path.extension().and_then(|e| e.to_str()), Some("bin" | "rom"));
        if let Some(file) = search.resolve(&path).filter(|_| wanted) {
            fsio::copy(&file, &to.join(name))?;
        }
    }
    Ok(())
}

fn program_of(entry: &Entry, choice: &Choice) -> Result<QemuProgram, QemuInstallError> {
    let emulator = entry.path("bin").join(EMULATOR);
    let prefix_args: Vec<OsString> = vec![
        // The machine's own library cache must not lend it a library of another release.
        "--inhibit-cache".into(),
        "--library-path".into(),
        entry.path("lib").into(),
        emulator.clone().into(),
    ];
    let firmware_args =
        FIRMWARE.iter().flat_map(|(_, to)| ["-L".into(), entry.path(to).into()]).collect();
    let origin = format!("{PACKAGE} {} from {}", choice.version, choice.family);
    let loader = entry.path("lib/loader");
    let program = QemuProgram::inspect(loader, prefix_args, firmware_args, &emulator, origin)?;
    program.require_minimum()?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offers: &[(&str, &str, &str)]) -> Option<(String, Option<String>)> {
        let offers: Vec<_> = offers
            .iter()
            .map(|(v, f, s)| ((*v).to_owned(), (*f).to_owned(), (*s).to_owned()))
            .collect();
        choose(&offers).map(|c| (format!("{} {}", c.family, c.version), c.target_release))
    }

    #[test]
    fn the_machines_own_release_comes_first_even_by_a_backport() {
        let offers = [
            ("1:10.0.2+ds-2~bpo12+1", "bookworm", "bookworm-backports"),
            ("1:7.2+dfsg-7", "bookworm", "bookworm"),
            ("1:11.1.3+ds-1~bpo13+1", "trixie", "trixie-backports"),
            ("1:10.0.2+ds-2", "trixie", "trixie-security"),
            ("1:10.0.13+ds-0", "trixie", "trixie"),
        ];
        assert_eq!(
            chosen(&offers),
            Some(("bookworm 1:10.0.2+ds-2~bpo12+1".into(), Some("bookworm-backports".into())))
        );
        assert_eq!(chosen(&offers[1..]), Some(("trixie 1:10.0.13+ds-0".into(), None)));
        assert_eq!(chosen(&offers[1..2]), None);
    }

    #[test]
    fn firmware_links_are_replaced_and_other_architectures_left_out() {
        let (root, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| root.path().join(name);
        for dir in ["usr/share/qemu/keymaps", "usr/share/seabios"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        fs::write(at("usr/share/seabios/bios.bin"), "bios").unwrap();
        fs::write(at("usr/share/qemu/slof.img"), "ppc").unwrap();
        std::os::unix::fs::symlink("../seabios/bios.bin", at("usr/share/qemu/bios.bin")).unwrap();
        copy_firmware(root.path(), "usr/share/qemu", to.path()).unwrap();
        copy_firmware(root.path(), "usr/share/absent", to.path()).unwrap();
        let names: Vec<_> =
            fs::read_dir(to.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["bios.bin"]);
        assert!(fs::symlink_metadata(to.path().join("bios.bin")).unwrap().is_file());
    }
}
