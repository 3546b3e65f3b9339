//! Puts a resolved kernel on disk, in one layout whatever the packages look like: up to 6.18 one
//! package with `boot/vmlinuz-R`, from 6.19 two with everything in `usr/lib/modules/R`.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::built;
use super::{Candidate, Kernel, KernelError, KernelSource, KernelSpec, ResolvedKernel};
use crate::arch::Arch;
use crate::archive::{Archive, LockEntry, lock_entries};
use crate::cache::{Cache, Key};
use crate::fsio::{self, At};

/// Raise when the layout of a cached kernel changes.
const LAYOUT: &str = "kernel layout 1";

/// Checks the files a user brought, before anything is built from them.
pub(super) fn check_files(
    arch: Arch,
    spec: &KernelSpec,
    bzimage: &Path,
    modules_dir: Option<&Path>,
) -> Result<ResolvedKernel, KernelError> {
    let bad = |path: &Path, reason: &str| KernelError::BadFiles {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    if !arch.facts().is_image(&fsio::read(bzimage)?) {
        return Err(bad(bzimage, &format!("it is no {}", arch.facts().image)));
    }
    let modules_dir = modules_dir.map(|dir| {
        let reason = "no modules are there (give the directory lib/modules/RELEASE)";
        find_modules_dir(dir).ok_or_else(|| bad(dir, reason))
    });
    let modules_dir = modules_dir.transpose()?;
    let release = match &modules_dir {
        Some(dir) => dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        None => bzimage.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let source = KernelSource::Files { bzimage: bzimage.to_owned(), modules_dir };
    Ok(ResolvedKernel { spec: spec.clone(), release, source })
}

/// The directory itself if it is one of modules, else the only one below its `lib/modules`, which is
/// what `make modules_install INSTALL_MOD_PATH=DIR` leaves.
fn find_modules_dir(dir: &Path) -> Option<PathBuf> {
    let dir = dir.canonicalize().ok()?;
    let is_one = |d: &Path| d.join("kernel").is_dir() || d.join("modules.builtin").is_file();
    if is_one(&dir) {
        return Some(dir);
    }
    let mut below: Vec<PathBuf> = fs::read_dir(dir.join("lib/modules"))
        .ok()?
        .flatten()
        .map(|e| e.path())
        .filter(|d| is_one(d))
        .collect();
    if below.len() == 1 { below.pop() } else { None }
}

/// Puts a resolved kernel on disk: downloads and unpacks it, unless the cache has it.
pub fn fetch(archive: &Archive, resolved: &ResolvedKernel) -> Result<Kernel, KernelError> {
    match &resolved.source {
        KernelSource::Packages(candidate) => fetch_packages(archive, candidate),
        KernelSource::Built(recipe) => built::fetch(archive, recipe),
        KernelSource::Files { bzimage, modules_dir } => {
            of_files(&resolved.release, bzimage, modules_dir.as_deref())
        }
    }
}

fn fetch_packages(archive: &Archive, candidate: &Candidate) -> Result<Kernel, KernelError> {
    let cache: &Cache = archive.cache();
    let lock = lock_entries(&candidate.family, &candidate.packages);
    let mut key = Key::new([LAYOUT, &candidate.release]);
    lock.iter().for_each(|l| key.push(format!("{} {} {}", l.name, l.version, l.sha256)));
    let entry = cache.get_or_build("kernel", &key, &["vmlinuz"], |tmp| {
        let work = tmp.join("work");
        let root = archive.unpack(&candidate.family, &candidate.packages, &work)?;
        lay_out(&root, &candidate.release, tmp)?;
        Ok::<_, KernelError>(fsio::remove_tree(&work)?)
    })?;
    let config = Some(entry.path("config")).filter(|path| path.exists());
    Ok(Kernel {
        release: candidate.release.clone(),
        vmlinuz: entry.path("vmlinuz"),
        vmlinuz_sha256: entry.sha256("vmlinuz").unwrap_or_default().to_owned(),
        modules_dir: Some(entry.path("modules")),
        config_sha256: entry.sha256("config").map(str::to_owned),
        config,
        identity: key.hash(),
        driver_notes: None,
        lock,
    })
}

/// Moves `vmlinuz`, `config` and `modules/` out of the unpacked packages into `to`.
fn lay_out(root: &Path, release: &str, to: &Path) -> Result<(), KernelError> {
    let layout = |what| KernelError::Layout { release: release.to_owned(), what };
    let modules = ["lib/modules", "usr/lib/modules"].map(|dir| root.join(dir).join(release));
    let first = |paths: Vec<PathBuf>| paths.into_iter().find(|p| p.exists());
    let in_modules = |name: &str| modules.iter().map(|m| m.join(name)).collect::<Vec<_>>();

    let mut images = vec![root.join(format!("boot/vmlinuz-{release}"))];
    images.extend(in_modules("vmlinuz"));
    images.extend(in_modules(&format!("vmlinuz-{release}")));
    fsio::rename(&first(images).ok_or_else(|| layout("kernel image"))?, &to.join("vmlinuz"))?;

    let mut configs = vec![root.join(format!("boot/config-{release}"))];
    configs.extend(in_modules("config"));
    if let Some(config) = first(configs) {
        fsio::rename(&config, &to.join("config"))?;
    }
    let with_modules = modules.iter().find(|m| m.join("kernel").is_dir());
    fsio::rename(with_modules.ok_or_else(|| layout("modules"))?, &to.join("modules"))?;
    Ok(())
}

fn of_files(
    release: &str,
    bzimage: &Path,
    modules_dir: Option<&Path>,
) -> Result<Kernel, KernelError> {
    let vmlinuz_sha256 = fsio::sha256_file(bzimage)?;
    let beside = bzimage.parent().unwrap_or(Path::new("."));
    let mut configs = vec![beside.join(format!("config-{release}")), beside.join(".config")];
    configs.extend(modules_dir.map(|dir| dir.join("config")));
    // In a build tree the configuration is three directories above arch/x86/boot/bzImage.
    configs.extend(beside.ancestors().nth(3).map(|dir| dir.join(".config")));
    let config = configs.into_iter().find(|path| path.is_file());
    let config_sha256 = config.as_deref().map(fsio::sha256_file).transpose()?;
    let mut key = Key::new([LAYOUT, release, &vmlinuz_sha256]);
    for line in modules_dir.map(fingerprint).transpose()?.into_iter().flatten() {
        key.push(line);
    }
    let lock = vec![LockEntry {
        name: bzimage.display().to_string(),
        version: String::new(),
        sha256: vmlinuz_sha256.clone(),
        origin: "file".into(),
    }];
    Ok(Kernel {
        release: release.to_owned(),
        vmlinuz: bzimage.to_owned(),
        vmlinuz_sha256,
        modules_dir: modules_dir.map(Path::to_owned),
        config,
        config_sha256,
        identity: key.hash(),
        driver_notes: beside.ancestors().nth(3).and_then(built::notes_of_tree),
        lock,
    })
}

/// One line per module file with its size and time of change: hashing a whole tree of modules on each
/// run would cost more than building the image.
fn fingerprint(dir: &Path) -> Result<Vec<String>, KernelError> {
    let mut lines = Vec::new();
    for found in WalkDir::new(dir).sort_by_file_name() {
        let found = found.map_err(std::io::Error::from).at("list", dir)?;
        if found.file_type().is_file() {
            let meta = found.metadata().map_err(std::io::Error::from).at("stat", found.path())?;
            let changed = meta.modified().at("stat", found.path())?;
            lines.push(format!("{} {} {changed:?}", found.path().display(), meta.len()));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str) {
        fsio::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), name).unwrap();
    }

    #[test]
    fn both_package_layouts_end_in_one() {
        let layouts: [&[&str]; 3] = [
            &["boot/vmlinuz-R", "boot/config-R", "lib/modules/R/kernel/a.ko"],
            &["boot/vmlinuz-R", "boot/config-R", "usr/lib/modules/R/kernel/a.ko"],
            &[
                "usr/lib/modules/R/vmlinuz",
                "usr/lib/modules/R/config",
                "usr/lib/modules/R/kernel/a.ko",
            ],
        ];
        for files in layouts {
            let (root, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            files.iter().for_each(|name| put(root.path(), name));
            lay_out(root.path(), "R", to.path()).unwrap();
            for name in ["vmlinuz", "config", "modules/kernel/a.ko"] {
                assert!(to.path().join(name).is_file(), "{name} of {files:?}");
            }
        }
    }

    #[test]
    fn packages_without_an_image_or_modules_are_refused() {
        let (root, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(root.path(), "lib/modules/R/kernel/a.ko");
        let error = lay_out(root.path(), "R", to.path()).unwrap_err();
        assert!(matches!(error, KernelError::Layout { what: "kernel image", .. }), "{error}");
    }

    #[test]
    fn files_brought_by_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let bzimage = dir.path().join("bzImage");
        fs::write(&bzimage, vec![0; 4096]).unwrap();
        let spec = KernelSpec::Files {
            bzimage: bzimage.clone(),
            modules_dir: Some(dir.path().to_owned()),
        };
        let error = check_files(Arch::X86_64, &spec, &bzimage, None).unwrap_err().to_string();
        assert!(error.contains("no x86 bzImage"), "{error}");
        let mut image = vec![0; 4096];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        fs::write(&bzimage, image).unwrap();
        let error =
            check_files(Arch::X86_64, &spec, &bzimage, Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("lib/modules/RELEASE"), "{error}");
        put(dir.path(), "lib/modules/6.99.1-mine/kernel/a.ko");
        let resolved = check_files(Arch::X86_64, &spec, &bzimage, Some(dir.path())).unwrap();
        assert_eq!(resolved.release, "6.99.1-mine");
    }
}
