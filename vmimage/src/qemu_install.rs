//! A QEMU that can be trusted, wherever it has to come from. Old ones make guests oops at random under
//! emulation; so where the machine's is old or absent, a newer one is unpacked from the archive and
//! run through its own loader with its own libraries, on whatever libc the machine has.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::{Arch, Facts};
use crate::archive::{Archive, ArchiveError, Record, lock_entries, version};
use crate::cache::{CacheError, Entry, Key};
use crate::elf::{ElfError, LibrarySearch};
use crate::fsio::{self, At, IoError};
use crate::machine::{MIN_QEMU, ProgramError, QemuProgram};
use crate::sysroot::{self, Sysroot};

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
    #[error("the package {package} {version} holds no {emulator}: name a QEMU with --qemu")]
    Layout {
        /// The package.
        package: &'static str,
        /// The program that it should hold.
        emulator: &'static str,
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

/// A QEMU for guests of `arch` that is new enough: the one named, else the one on `PATH`, else one from the archive,
/// which has to be this machine's, whatever the guest's is.
///
/// One that is named and too old, or for other guests, is an error; one on `PATH` that is too old is passed over.
pub fn provide(
    archive: &Archive,
    arch: Arch,
    named: Option<&Path>,
) -> Result<QemuProgram, QemuInstallError> {
    let facts = arch.facts();
    if let Some(path) = named {
        let program = inspect(path, "--qemu")?;
        program.require_minimum()?;
        program.require_machine(arch)?;
        return Ok(program);
    }
    if let Some(path) = on_path(facts.emulator) {
        let usable = inspect(&path, "PATH").and_then(|p| p.require_minimum().map(|()| p));
        match usable {
            Ok(program) => return Ok(program),
            Err(reason) => {
                let text = format!("not using {}: {reason}", path.display());
                archive.cache().progress().note(&text);
            }
        }
    }
    from_archive(archive, facts)
}

fn inspect(path: &Path, origin: &str) -> Result<QemuProgram, ProgramError> {
    QemuProgram::inspect(path.to_owned(), Vec::new(), Vec::new(), path, origin.to_owned())
}

fn on_path(emulator: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(emulator)).find(|file| file.is_file())
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

fn from_archive(archive: &Archive, facts: &'static Facts) -> Result<QemuProgram, QemuInstallError> {
    let offers = archive.madison(facts.qemu_package)?;
    let Some(choice) = choose(&offers) else {
        let mut found: Vec<&str> = offers.iter().map(|(version, _, _)| version.as_str()).collect();
        found.dedup();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        return Err(QemuInstallError::NoneNewEnough { found });
    };
    let all =
        archive.closure(&choice.family, &[facts.qemu_package], choice.target_release.as_deref())?;
    let mut key = Key::new([LAYOUT]);
    all.iter().for_each(|r| key.push(format!("{} {} {}", r.name, r.version, r.sha256)));
    let emulator = format!("bin/{}", facts.emulator);
    let critical = [emulator.as_str(), "lib/loader"];
    let entry = archive.cache().get_or_build("qemu", &key, &critical, |tmp| {
        Build { archive, facts, choice: &choice }.run(&all, tmp)
    })?;
    program_of(&entry, facts, &choice)
}

struct Build<'a> {
    archive: &'a Archive,
    facts: &'static Facts,
    choice: &'a Choice,
}

impl Build<'_> {
    fn run(&self, all: &[Record], tmp: &Path) -> Result<(), QemuInstallError> {
        let work = tmp.join("work");
        let programs = |root: &Path| Ok(vec![self.emulator(root)?]);
        let asked = [&[self.facts.qemu_package], self.facts.qemu_data_packages].concat();
        let family = &self.choice.family;
        let sysroot = sysroot::unpack::<QemuInstallError>(
            self.archive,
            family,
            all,
            &asked,
            &work,
            programs,
        )?;
        let emulator = self.emulator(&sysroot.root)?;
        fsio::copy(&emulator, &tmp.join("bin").join(self.facts.emulator))?;
        self.copy_libraries(&sysroot, &tmp.join("lib"))?;
        for (from, to) in self.facts.firmware {
            copy_firmware(&self.search(&sysroot.root), &sysroot.root, from, &tmp.join(to))?;
        }
        let lock_path = tmp.join("lock.json");
        let lock = serde_json::to_vec_pretty(&lock_entries(family, &sysroot.used));
        fsio::write(&lock_path, &lock.map_err(std::io::Error::from).at("write", &lock_path)?)?;
        fsio::remove_tree(&work)?;
        Ok(())
    }

    fn search(&self, root: &Path) -> LibrarySearch {
        LibrarySearch::sysroot(root, self.archive.arch())
    }

    fn emulator(&self, root: &Path) -> Result<PathBuf, QemuInstallError> {
        let found = self.search(root).resolve(&Path::new("usr/bin").join(self.facts.emulator));
        found.ok_or_else(|| self.layout())
    }

    fn layout(&self) -> QemuInstallError {
        QemuInstallError::Layout {
            package: self.facts.qemu_package,
            emulator: self.facts.emulator,
            version: self.choice.version.clone(),
        }
    }

    fn copy_libraries(&self, sysroot: &Sysroot, to: &Path) -> Result<(), QemuInstallError> {
        let Some((_, loader)) = &sysroot.closure.loader else { return Err(self.layout()) };
        fsio::copy(loader, &to.join("loader"))?;
        for (name, path) in &sysroot.closure.libraries {
            fsio::copy(path, &to.join(name))?;
        }
        // No header names it: glibc opens it when a thread ends.
        if let Some(path) = self.search(&sysroot.root).find("libgcc_s.so.1") {
            fsio::copy(&path, &to.join("libgcc_s.so.1"))?;
        }
        Ok(())
    }
}

/// Copies what an x86 machine may load: option ROMs and BIOS images, not the firmware of other
/// architectures nor keyboard maps. Links are replaced by what they lead to.
fn copy_firmware(
    search: &LibrarySearch,
    root: &Path,
    from: &str,
    to: &Path,
) -> Result<(), QemuInstallError> {
    let dir = root.join(from);
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

fn program_of(
    entry: &Entry,
    facts: &Facts,
    choice: &Choice,
) -> Result<QemuProgram, QemuInstallError> {
    let emulator = entry.path("bin").join(facts.emulator);
    let prefix_args: Vec<OsString> = vec![
        // The machine's own library cache must not lend it a library of another release.
        "--inhibit-cache".into(),
        "--library-path".into(),
        entry.path("lib").into(),
        emulator.clone().into(),
    ];
    let firmware_args =
        facts.firmware.iter().flat_map(|(_, to)| ["-L".into(), entry.path(to).into()]).collect();
    let origin = format!("{} {} from {}", facts.qemu_package, choice.version, choice.family);
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
        let search = LibrarySearch::sysroot(root.path(), Arch::HOST);
        copy_firmware(&search, root.path(), "usr/share/qemu", to.path()).unwrap();
        copy_firmware(&search, root.path(), "usr/share/absent", to.path()).unwrap();
        let names: Vec<_> =
            fs::read_dir(to.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["bios.bin"]);
        assert!(fs::symlink_metadata(to.path().join("bios.bin")).unwrap().is_file());
    }
}
