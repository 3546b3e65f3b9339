//! Which shared libraries a program needs, read from its ELF headers. `ldd` would answer by running
//! the program's loader, which says nothing about a program unpacked from another release and is not
//! safe to run on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use goblin::elf::Elf;

use crate::arch::Arch;
use crate::fsio::{self, IoError};

/// Where the loader of a Debian-like system looks without being told, relative to the root.
fn default_dirs(arch: Arch) -> [PathBuf; 8] {
    let own = |dir: &str| Path::new(dir).join(arch.facts().multiarch);
    [
        own("lib"),
        own("usr/lib"),
        "lib64".into(),
        "usr/lib64".into(),
        "lib".into(),
        "usr/lib".into(),
        own("usr/local/lib"),
        "usr/local/lib".into(),
    ]
}

/// Top directories that are links into `/usr` on a merged system.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Links followed for one path before it counts as a loop, as in the kernel.
const LINK_LIMIT: usize = 40;

/// Why the libraries of a program cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// A library that a file names is nowhere.
    #[error("{} needs the library {library}, which is not below {}", file.display(), root.display())]
    NotFound {
        /// The program or library that needs it.
        file: PathBuf,
        /// The name it is needed by.
        library: String,
        /// The root that was searched.
        root: PathBuf,
    },
    /// A file is no ELF file of the architecture.
    #[error("{} is no Linux program for {arch}: {reason}", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What it should be for.
        arch: Arch,
        /// What is wrong with it.
        reason: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A system to look for libraries in: an unpacked sysroot, or the machine itself.
#[derive(Debug, Clone)]
pub struct LibrarySearch {
    root: PathBuf,
    arch: Arch,
}

/// The libraries that a set of programs needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibraryClosure {
    /// Each library by the name it is needed by, and the regular file that holds it.
    pub libraries: BTreeMap<String, PathBuf>,
    /// The loader that dynamic programs name (`/lib64/ld-linux-x86-64.so.2`), and the regular file
    /// that holds it. `None` where all programs are static.
    pub loader: Option<(String, PathBuf)>,
}

impl LibrarySearch {
    /// A sysroot below `root`; absolute links in it are taken as relative to it.
    pub fn sysroot(root: &Path, arch: Arch) -> LibrarySearch {
        LibrarySearch { root: root.to_owned(), arch }
    }

    /// The machine itself, for programs of `arch`: of another one than the machine's it has static ones at best.
    pub fn host(arch: Arch) -> LibrarySearch {
        LibrarySearch { root: PathBuf::from("/"), arch }
    }

    /// The regular file that `path`, relative to the root, leads to inside the root. `/lib64` and the
    /// like may be missing: since 2025 packages ship their files below `/usr` only, and the links come
    /// from a package that no program depends on.
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let merged = MERGED.iter().any(|top| path.starts_with(top));
        self.walk(path).or_else(|| self.walk(&Path::new("usr").join(path)).filter(|_| merged))
    }

    fn walk(&self, path: &Path) -> Option<PathBuf> {
        let mut todo: Vec<PathBuf> = components_reversed(path);
        let mut at = self.root.clone();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part.as_os_str() == ".." {
                if at != self.root {
                    at.pop();
                }
                continue;
            }
            let mut next = at.join(&part);
            let is_merged = at == self.root && MERGED.iter().any(|top| part.as_os_str() == *top);
            if is_merged && !next.exists() {
                next = self.root.join("usr").join(&part);
            }
            match fs::read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return None;
                    }
                    if target.is_absolute() {
                        at = self.root.clone();
                    }
                    todo.extend(components_reversed(&target));
                }
                Err(_) => at = next,
            }
        }
        at.is_file().then_some(at)
    }

    /// A library by name, in the default directories.
    pub fn find(&self, library: &str) -> Option<PathBuf> {
        default_dirs(self.arch).iter().find_map(|dir| self.resolve(&dir.join(library)))
    }

    /// Everything that `programs` (paths on the host) need to start.
    pub fn closure(&self, programs: &[PathBuf]) -> Result<LibraryClosure, ElfError> {
        let mut closure = LibraryClosure::default();
        let mut todo = programs.to_vec();
        while let Some(file) = todo.pop() {
            let bytes = fsio::read(&file)?;
            let not_elf =
                |reason: String| ElfError::NotElf { path: file.clone(), arch: self.arch, reason };
            let elf = Elf::parse(&bytes).map_err(|e| not_elf(e.to_string()))?;
            if elf.header.e_machine != self.arch.facts().elf_machine {
                return Err(not_elf("it is for another architecture".into()));
            }
            let not_found = |library: &str| ElfError::NotFound {
                file: file.clone(),
                library: library.to_owned(),
                root: self.root.clone(),
            };
            if let (Some(name), None) = (elf.interpreter, &closure.loader) {
                let found = self.resolve(Path::new(name)).ok_or_else(|| not_found(name))?;
                closure.loader = Some((name.to_owned(), found));
            }
            for library in &elf.libraries {
                if closure.libraries.contains_key(*library) {
                    continue;
                }
                let found = self
                    .find_from(&file, &elf, library)
                    .or_else(|| self.find(library))
                    .ok_or_else(|| not_found(library))?;
                closure.libraries.insert((*library).to_owned(), found.clone());
                todo.push(found);
            }
        }
        Ok(closure)
    }

    /// A library in the RUNPATH or RPATH of the file that needs it.
    fn find_from(&self, file: &Path, elf: &Elf<'_>, library: &str) -> Option<PathBuf> {
        if library.contains('/') {
            return self.resolve(Path::new(library));
        }
        let origin = file.parent().unwrap_or(Path::new("/"));
        // With a RUNPATH the loader ignores the RPATH.
        let paths = if elf.runpaths.is_empty() { &elf.rpaths } else { &elf.runpaths };
        paths.iter().flat_map(|list| list.split(':')).filter(|dir| !dir.is_empty()).find_map(
            |dir| {
                let dir = dir.replace("${ORIGIN}", "$ORIGIN");
                let below_origin = dir.strip_prefix("$ORIGIN").map(|rest| {
                    let beside = origin.join(rest.trim_start_matches('/')).join(library);
                    // Links that leave the sysroot are the host's and must not be followed there.
                    let inside = beside.strip_prefix(&self.root).ok().map(Path::to_owned);
                    inside.and_then(|path| self.resolve(&path))
                });
                below_origin.unwrap_or_else(|| self.resolve(&Path::new(&dir).join(library)))
            },
        )
    }
}

/// The normal components of a path, and `..`, last first.
fn components_reversed(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| PathBuf::from(c.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn libraries_of_ls_are_what_its_loader_would_load() {
        let ls = PathBuf::from("/bin/ls").canonicalize().unwrap();
        let closure = LibrarySearch::host(Arch::HOST).closure(&[ls]).unwrap();
        let (name, loader) = closure.loader.unwrap();
        assert_eq!(name, "/lib64/ld-linux-x86-64.so.2");
        // The loader itself is the oracle.
        let listed =
            std::process::Command::new(&loader).args(["--list", "/bin/ls"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let expected: Vec<&str> = listed
            .lines()
            .filter_map(|l| l.trim().split_once(" => "))
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with('/'))
            .collect();
        assert!(expected.contains(&"libc.so.6"), "{listed}");
        for library in expected {
            assert!(closure.libraries.contains_key(library), "{library} of {listed}");
        }
    }

    #[test]
    fn a_missing_library_names_the_file_and_the_root() {
        let empty = tempfile::tempdir().unwrap();
        fs::create_dir_all(empty.path().join("usr/bin")).unwrap();
        let ls = empty.path().join("usr/bin/ls");
        fs::copy("/bin/ls", &ls).unwrap();
        let error = LibrarySearch::sysroot(empty.path(), Arch::HOST)
            .closure(&[ls])
            .unwrap_err()
            .to_string();
        assert!(error.contains("usr/bin/ls needs the library"), "{error}");
        assert!(error.contains(&empty.path().display().to_string()), "{error}");
    }

    #[test]
    fn links_stay_inside_the_sysroot() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("usr/lib/real")).unwrap();
        fs::write(at("usr/lib/real/x.so.1.2"), "x").unwrap();
        symlink("/usr/lib", at("lib")).unwrap();
        symlink("real/x.so.1.2", at("usr/lib/x.so.1")).unwrap();
        symlink("../../../../../../../lib/x.so.1", at("usr/lib/up.so")).unwrap();
        symlink("loop.so", at("usr/lib/loop.so")).unwrap();
        symlink("/bin/ls", at("usr/lib/escape.so")).unwrap();
        let search = LibrarySearch::sysroot(root.path(), Arch::X86_64);
        let real = Some(at("usr/lib/real/x.so.1.2"));
        assert_eq!(search.find("x.so.1"), real);
        assert_eq!(search.resolve(Path::new("/lib/x.so.1")), real);
        assert_eq!(search.find("up.so"), real);
        assert_eq!(search.find("loop.so"), None);
        assert_eq!(search.find("escape.so"), None);
    }

    #[test]
    fn a_merged_sysroot_without_its_top_links_resolves_as_one_with_them() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("usr/lib/x86_64-linux-gnu")).unwrap();
        fs::create_dir_all(at("usr/lib64")).unwrap();
        fs::write(at("usr/lib/x86_64-linux-gnu/ld.so"), "x").unwrap();
        symlink("/lib/x86_64-linux-gnu/ld.so", at("usr/lib64/ld.so")).unwrap();
        let search = LibrarySearch::sysroot(root.path(), Arch::X86_64);
        let real = Some(at("usr/lib/x86_64-linux-gnu/ld.so"));
        assert_eq!(search.resolve(Path::new("/lib64/ld.so")), real);
        // A half-merged one, where some packages still ship files outside of /usr.
        fs::create_dir_all(at("lib64")).unwrap();
        fs::create_dir_all(at("lib")).unwrap();
        fs::remove_file(at("usr/lib64/ld.so")).unwrap();
        symlink("../lib/x86_64-linux-gnu/ld.so", at("usr/lib64/ld.so")).unwrap();
        assert_eq!(search.resolve(Path::new("/lib64/ld.so")), real);
        assert_eq!(search.resolve(Path::new("/opt/ld.so")), None);
    }

    #[test]
    fn a_script_is_no_program() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "#!/bin/sh\n").unwrap();
        let error = LibrarySearch::host(Arch::HOST).closure(&[file.path().to_owned()]).unwrap_err();
        assert!(matches!(error, ElfError::NotElf { .. }), "{error}");
    }
}
