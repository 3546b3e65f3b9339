//! Programs for the guest: fio, mkfs, a shell. They come from packages that are unpacked, never
//! installed, and of those only the programs asked for and the libraries they load go on: the rest of
//! fio's dependencies (a Python, a Perl) would be larger than the kernel.

use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::archive::{Archive, ArchiveError, LockEntry, Record, lock_entries};
use crate::cache::{CacheError, Entry, Key};
use crate::elf::{ElfError, LibraryClosure, LibrarySearch};
use crate::fsio::{self, At, IoError};
use crate::initramfs::Content;
use crate::sysroot;

/// Raise when the layout of a cached userland changes.
const LAYOUT: &str = "userland layout 1";

/// Libraries that no header names: glibc opens this one when a thread is cancelled or exits.
const OPENED_AT_RUN_TIME: [&str; 1] = ["libgcc_s.so.1"];

/// Where packages put programs, in both the merged and the old layout.
const PROGRAM_DIRS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// Why there is no such userland.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserlandError {
    /// No family has all the packages.
    #[error(
        "no release in the archive has all of {packages}: name another archive with --archive URI --suite S --keyring FILE"
    )]
    NoFamily {
        /// The packages asked for.
        packages: String,
    },
    /// The packages hold no such program or file.
    #[error("the packages {packages} of {family} hold no {what}")]
    NoProgram {
        /// The packages asked for.
        packages: String,
        /// The family they came from.
        family: String,
        /// The program or file that was looked for.
        what: String,
    },
    /// A program's libraries cannot be listed.
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

/// One file for the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Its absolute path in the guest.
    pub guest: String,
    /// Its content.
    pub content: Content,
    /// Its permission bits.
    pub mode: u32,
}

/// What is asked of the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserlandRequest {
    /// Packages (`e2fsprogs`).
    pub packages: Vec<String>,
    /// Programs by name (`mkfs.ext4`); links among them are kept as links.
    pub programs: Vec<String>,
    /// Other files by path below the root (`etc/mke2fs.conf`).
    pub data: Vec<String>,
    /// The family to take all from; `None` takes the first that has every package.
    pub family: Option<String>,
}

/// Programs with everything they need, ready for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Userland {
    /// Regular files.
    pub files: Vec<GuestFile>,
    /// Symbolic links: absolute guest path, target.
    pub symlinks: Vec<(String, String)>,
    /// What it came from.
    pub lock: Vec<LockEntry>,
}

impl Userland {
    /// Programs from the archive, unpacked into the cache unless they are there.
    pub fn from_archive(
        archive: &Archive,
        request: &UserlandRequest,
    ) -> Result<Userland, UserlandError> {
        let packages: Vec<&str> = request.packages.iter().map(String::as_str).collect();
        let family = match &request.family {
            Some(family) => family.clone(),
            None => first_family_with(archive, &packages)?,
        };
        let all = archive.closure(&family, &packages, None)?;
        let mut key = Key::new([LAYOUT, &family]);
        for list in [&request.programs, &request.data] {
            key.push(list.join(" "));
        }
        all.iter().for_each(|r| key.push(format!("{} {} {}", r.name, r.version, r.sha256)));
        let build = Build { archive, request, family: &family };
        let entry = archive
            .cache()
            .get_or_build("userland", &key, &[LOCK_NAME], |tmp| build.run(&all, tmp))?;
        of_entry(&entry)
    }

    /// A program that the user brought, with the libraries of this machine. It gets a directory and a
    /// loader of its own in the guest, because its libc is not the one of the other programs.
    pub fn from_host(program: &Path, name: &str, arch: Arch) -> Result<Userland, UserlandError> {
        let program = program.canonicalize().at("find", program)?;
        let search = LibrarySearch::host(arch);
        let closure = search.closure(std::slice::from_ref(&program))?;
        let lock = vec![LockEntry {
            name: program.display().to_string(),
            version: String::new(),
            sha256: fsio::sha256_file(&program)?,
            origin: "file".into(),
        }];
        let file = |guest: String, path: PathBuf| GuestFile {
            guest,
            content: Content::Path(path),
            mode: 0o755,
        };
        let Some((_, loader)) = closure.loader else {
            let files = vec![file(format!("/usr/bin/{name}"), program)];
            return Ok(Userland { files, symlinks: Vec::new(), lock });
        };
        let home = format!("/opt/{name}");
        let mut files = vec![
            file(format!("{home}/bin/{name}"), program),
            file(format!("{home}/loader"), loader),
            GuestFile {
                guest: format!("/usr/bin/{name}"),
                content: Content::Bytes(
                    format!(
                        "#!/bin/sh\nexec {home}/loader --library-path {home}/lib {home}/bin/{name} \"$@\"\n"
                    )
                    .into_bytes(),
                ),
                mode: 0o755,
            },
        ];
        let mut libraries = closure.libraries;
        for name in OPENED_AT_RUN_TIME {
            if let Some(path) = search.find(name) {
                libraries.insert(name.to_owned(), path);
            }
        }
        let in_lib = |(name, path): (String, PathBuf)| {
            let base = name.rsplit('/').next().unwrap_or(&name).to_owned();
            file(format!("{home}/lib/{base}"), path)
        };
        files.extend(libraries.into_iter().map(in_lib));
        Ok(Userland { files, symlinks: Vec::new(), lock })
    }
}

fn first_family_with(archive: &Archive, packages: &[&str]) -> Result<String, UserlandError> {
    for family in archive.families()? {
        let records = archive.records(&family, packages)?;
        if packages.iter().all(|name| records.iter().any(|r| r.name == *name)) {
            return Ok(family);
        }
    }
    Err(UserlandError::NoFamily { packages: packages.join(" ") })
}

/// The file in a cached userland that holds its lock lines.
const LOCK_NAME: &str = "lock.json";

struct Build<'a> {
    archive: &'a Archive,
    request: &'a UserlandRequest,
    family: &'a str,
}

impl Build<'_> {
    fn run(&self, all: &[Record], tmp: &Path) -> Result<(), UserlandError> {
        let asked: Vec<&str> = self.request.packages.iter().map(String::as_str).collect();
        let work = tmp.join("work");
        let files = |root: &Path| {
            Ok::<_, UserlandError>(self.programs(root)?.into_iter().map(|p| p.file).collect())
        };
        let sysroot = sysroot::unpack(self.archive, self.family, all, &asked, &work, files)?;
        self.install(&sysroot.root, &sysroot.closure, &tmp.join("root"))?;
        let lock = serde_json::to_vec_pretty(&lock_entries(self.family, &sysroot.used));
        let lock_path = tmp.join(LOCK_NAME);
        fsio::write(&lock_path, &lock.map_err(std::io::Error::from).at("write", &lock_path)?)?;
        fsio::remove_tree(&work)?;
        Ok(())
    }

    fn find(
        &self,
        search: &LibrarySearch,
        root: &Path,
        name: &str,
    ) -> Result<Found, UserlandError> {
        let missing = || UserlandError::NoProgram {
            packages: self.request.packages.join(" "),
            family: self.family.to_owned(),
            what: name.to_owned(),
        };
        PROGRAM_DIRS
            .iter()
            .find_map(|dir| {
                let file = search.resolve(&Path::new(dir).join(name))?;
                // What a link leads to keeps its own name, next to the link.
                let guest_dir = if dir.ends_with("sbin") { "usr/sbin" } else { "usr/bin" };
                let own_name = file.file_name()?.to_string_lossy().into_owned();
                debug_assert!(file.starts_with(root));
                Some(Found { guest_dir, name: name.to_owned(), own_name, file })
            })
            .ok_or_else(missing)
    }

    fn programs(&self, root: &Path) -> Result<Vec<Found>, UserlandError> {
        let search = LibrarySearch::sysroot(root, self.archive.arch());
        self.request.programs.iter().map(|name| self.find(&search, root, name)).collect()
    }

    /// Copies programs, libraries and data into the layout they have in the guest.
    fn install(
        &self,
        root: &Path,
        closure: &LibraryClosure,
        to: &Path,
    ) -> Result<(), UserlandError> {
        for program in self.programs(root)? {
            let dir = to.join(program.guest_dir);
            fsio::copy(&program.file, &dir.join(&program.own_name))?;
            if program.name != program.own_name {
                let link = dir.join(&program.name);
                std::os::unix::fs::symlink(&program.own_name, &link)
                    .at("create the link", &link)?;
            }
        }
        let search = LibrarySearch::sysroot(root, self.archive.arch());
        let opened =
            OPENED_AT_RUN_TIME.iter().filter_map(|n| Some(((*n).to_owned(), search.find(n)?)));
        // The first place the guest's loader looks.
        let library_dir = to.join(self.archive.arch().facts().library_dir());
        for (name, path) in closure.libraries.clone().into_iter().chain(opened) {
            fsio::copy(&path, &library_dir.join(name))?;
        }
        if let Some((name, path)) = &closure.loader {
            // `/lib64` of the guest is a link to `usr/lib64`.
            fsio::copy(path, &to.join("usr").join(name.trim_start_matches('/')))?;
        }
        for name in &self.request.data {
            let found =
                search.resolve(Path::new(name)).ok_or_else(|| UserlandError::NoProgram {
                    packages: self.request.packages.join(" "),
                    family: self.family.to_owned(),
                    what: name.clone(),
                })?;
            fsio::copy(&found, &to.join(name))?;
        }
        Ok(())
    }
}

struct Found {
    guest_dir: &'static str,
    name: String,
    own_name: String,
    file: PathBuf,
}

fn of_entry(entry: &Entry) -> Result<Userland, UserlandError> {
    let mut files = Vec::new();
    for (name, record) in &entry.manifest.files {
        let Some(guest) = name.strip_prefix("root") else { continue };
        // Configuration is data; everything else is a program or a library, and set-user-id bits of
        // the package have no place in a guest that is root throughout.
        let mode = if guest.starts_with("/etc/") { 0o644 } else { 0o755 };
        let content = Content::Cached { path: entry.path(name), sha256: record.sha256.clone() };
        files.push(GuestFile { guest: guest.to_owned(), content, mode });
    }
    let links = entry.manifest.links.iter();
    let symlinks = links
        .filter_map(|(name, to)| Some((name.strip_prefix("root")?.to_owned(), to.clone())))
        .collect();
    let lock_path = entry.path(LOCK_NAME);
    let lock = serde_json::from_slice(&fsio::read(&lock_path)?)
        .map_err(std::io::Error::from)
        .at("read", &lock_path)?;
    Ok(Userland { files, symlinks, lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_comes_with_its_own_loader_and_libraries() {
        let userland = Userland::from_host(Path::new("/bin/ls"), "fio", Arch::HOST).unwrap();
        let guest: Vec<&str> = userland.files.iter().map(|f| f.guest.as_str()).collect();
        for path in
            ["/opt/fio/bin/fio", "/opt/fio/loader", "/opt/fio/lib/libc.so.6", "/usr/bin/fio"]
        {
            assert!(guest.contains(&path), "{path} of {guest:?}");
        }
        assert_eq!(userland.lock[0].origin, "file");
        assert_eq!(userland.lock[0].sha256.len(), 64);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error =
            Userland::from_host(Path::new("/nonexistent/fio"), "fio", Arch::HOST).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/fio"), "{error}");
    }
}
