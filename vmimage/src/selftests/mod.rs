//! The kernel's own selftests of one driver: their scripts, and their C server built from source. They
//! are the only statement by the driver's authors of what a server must do, so ours is measured against
//! them; and the C server is the peer that performance is compared with. Sources stay in the cache.

mod build;

use std::path::PathBuf;

use crate::archive::{Archive, ArchiveError, LockEntry, Record, lock_entries, version};
use crate::cache::{CacheError, Entry, Key};
use crate::command::CommandError;
use crate::fsio::{At, IoError};
use crate::source_package::{self, SourcePackage, SourcePackageError};

/// Raise when the layout of a cached entry, or the way it is compiled, changes.
const LAYOUT: &str = "selftests layout 1";

/// The liburing the server is linked with, and the kernel's headers for user space.
const LIBURING: &str = "liburing-dev";
const HEADERS: &str = "linux-libc-dev";

/// The C server's name in an entry, in its `scripts` folder's expectations, and in the guest.
pub const SERVER: &str = "kublk";

/// The helper that prints a device's integrity capabilities; some scripts call it.
pub const METADATA_SIZE: &str = "metadata_size";

/// Why there are no selftests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelftestsError {
    /// There are no sources.
    #[error(transparent)]
    NoSource(#[from] SourcePackageError),
    /// The family of the source package lacks one that is needed to compile it.
    #[error("{family} has {source_package} but no {package} to compile its selftests with")]
    NoDevelopment {
        /// The family.
        family: String,
        /// The source package.
        source_package: String,
        /// The package that is missing.
        package: String,
    },
    /// There is no C compiler.
    #[error(
        "`gcc` is not on PATH, so the kernel's selftest server cannot be compiled: install gcc and libc6-dev"
    )]
    NoCompiler,
    /// `tar` could not unpack the sources.
    #[error("cannot unpack the selftests out of {archive} ({reason}): install tar and xz-utils")]
    Unpack {
        /// The tar file's name.
        archive: String,
        /// What tar said.
        reason: String,
    },
    /// The sources do not hold what they should.
    #[error("{package} holds no {what}: its layout is unknown to this version")]
    Layout {
        /// The source package.
        package: String,
        /// What was looked for.
        what: String,
    },
    /// The compiler refused.
    #[error("gcc cannot build {program}: {reason}")]
    Compile {
        /// The program.
        program: &'static str,
        /// The compiler's first error.
        reason: String,
    },
    /// A child process gave no answer.
    #[error(transparent)]
    Command(#[from] CommandError),
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

/// The selftests of one kernel series, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selftests {
    /// The series they were written for: `7.3`.
    pub series: String,
    /// The C server, statically linked.
    pub kublk: PathBuf,
    /// The helper that prints a device's integrity capabilities, statically linked.
    pub metadata_size: PathBuf,
    /// The folder with `test_*.sh`, `test_common.sh`, `settings` and `trace/`. Nobody may write there.
    pub scripts: PathBuf,
    /// Names of the test scripts without `.sh`, sorted: `test_null_01`.
    pub tests: Vec<String>,
    /// What everything was made from.
    pub lock: Vec<LockEntry>,
}

/// The scripts and the C server of `series` (`7.3`); `None` takes the newest the archive has. Built with
/// this machine's gcc unless the cache has them.
pub fn kublk(archive: &Archive, series: Option<&str>) -> Result<Selftests, SelftestsError> {
    let choice = choose(archive, series)?;
    let lock = lock_entries(&choice.family, &choice.packages());
    let mut key = Key::new([LAYOUT, &choice.series, &build::compiler_version()?]);
    lock.iter().for_each(|l| key.push(format!("{} {} {}", l.name, l.version, l.sha256)));
    let cache = archive.cache();
    let entry = cache.get_or_build("selftests", &key, &[SERVER, METADATA_SIZE], |tmp| {
        cache.progress().stage("selftests", &format!("building kublk of {}", choice.series));
        build::run(archive, &choice, tmp)
    })?;
    of_entry(&choice.series, &entry, lock)
}

/// The packages of one series, all of one family.
#[derive(Debug, Clone)]
struct Choice {
    series: String,
    family: String,
    source: Record,
    headers: Record,
    liburing: Record,
}

impl Choice {
    fn packages(&self) -> [Record; 3] {
        [self.source.clone(), self.headers.clone(), self.liburing.clone()]
    }
}

fn choose(archive: &Archive, series: Option<&str>) -> Result<Choice, SelftestsError> {
    let SourcePackage { series, family, record: source } = source_package::find(archive, series)?;
    let beside = |package: &str, version: Option<&str>| {
        let records = archive.records(&family, &[package])?;
        let newest = records
            .into_iter()
            .filter(|r| version.is_none_or(|v| r.version == v))
            .max_by(|a, b| version::compare(&a.version, &b.version));
        newest.ok_or_else(|| SelftestsError::NoDevelopment {
            family: family.clone(),
            source_package: source.name.clone(),
            package: package.to_owned(),
        })
    };
    Ok(Choice {
        // The headers of the very same source: the selftests use what the kernel got last.
        headers: beside(HEADERS, Some(&source.version))?,
        liburing: beside(LIBURING, None)?,
        series,
        family,
        source,
    })
}

fn of_entry(
    series: &str,
    entry: &Entry,
    lock: Vec<LockEntry>,
) -> Result<Selftests, SelftestsError> {
    let scripts = entry.path("scripts");
    let mut tests = Vec::new();
    for found in std::fs::read_dir(&scripts).at("list", &scripts)?.flatten() {
        let name = found.file_name().to_string_lossy().into_owned();
        let test = name.strip_suffix(".sh").filter(|n| n.starts_with("test_"));
        tests.extend(test.filter(|n| *n != "test_common").map(str::to_owned));
    }
    tests.sort();
    Ok(Selftests {
        series: series.to_owned(),
        kublk: entry.path(SERVER),
        metadata_size: entry.path(METADATA_SIZE),
        scripts,
        tests,
        lock,
    })
}
