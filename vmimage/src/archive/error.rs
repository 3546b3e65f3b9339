//! Why the archive could not serve, in one line with what to do: most people who meet this module meet it here.

use std::path::PathBuf;

use crate::cache::CacheError;
use crate::command::CommandError;
use crate::fsio::IoError;

/// How to go on without an archive, said wherever there is none.
const BRING_YOUR_OWN: &str = "bring your own with --qemu, --kernel BZIMAGE --modules DIR and --fio";

/// Why the archive could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A tool of apt or dpkg is not on `PATH`.
    #[error("`{tool}` is not on PATH, so nothing can be downloaded: {BRING_YOUR_OWN}")]
    NoApt {
        /// The missing tool.
        tool: String,
    },
    /// The machine is no Debian or Ubuntu, or its apt has no source of it.
    #[error(
        "apt on this machine has no source for {release}: name an archive with --archive URI --suite S --keyring FILE, or {BRING_YOUR_OWN}"
    )]
    NoSource {
        /// The release that was looked for.
        release: String,
    },
    /// `--archive` without `--suite`, or the reverse.
    #[error("an archive named by hand needs both --archive URI and --suite S (and --keyring FILE)")]
    HalfSpec,
    /// The keyring named by hand is not there.
    #[error("the archive keyring {} does not exist: give --keyring an existing file", path.display())]
    NoKeyring {
        /// The path given.
        path: PathBuf,
    },
    /// There are no lists and none could be fetched.
    #[error(
        "no package lists could be fetched ({reason}): check the network and apt's proxy settings, or {BRING_YOUR_OWN}"
    )]
    NoLists {
        /// What apt said.
        reason: String,
    },
    /// apt could not answer a question about the index.
    #[error("apt cannot resolve {what} in {family}: {reason}")]
    Query {
        /// What was asked.
        what: String,
        /// The family it was asked in.
        family: String,
        /// What apt said.
        reason: String,
    },
    /// A package could not be downloaded.
    #[error("cannot download {what} from {family}: {reason}: run again when the network is back")]
    Download {
        /// The package, or the first of several.
        what: String,
        /// The family it was to come from.
        family: String,
        /// What apt said.
        reason: String,
    },
    /// The index names a package file that the archive no longer has.
    #[error(
        "{family} lists {what} but no longer has its file ({reason}): run again to use fresh lists, or name another version"
    )]
    Gone {
        /// The package, or the first of several.
        what: String,
        /// The family that lists it.
        family: String,
        /// What apt said.
        reason: String,
    },
    /// A downloaded file is not the one the index names.
    #[error("{package} has SHA-256 {found} where the signed index says {expected}: run again")]
    WrongHash {
        /// The package's name.
        package: String,
        /// The file's hash.
        found: String,
        /// The index's hash.
        expected: String,
    },
    /// A package file could not be unpacked.
    #[error("cannot unpack {}: {reason}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// What dpkg-deb said.
        reason: String,
    },
    /// apt's configuration syntax cannot hold the cache's path.
    #[error("apt cannot work in {} (a space or quote in its path): name another cache directory", path.display())]
    BadCachePath {
        /// The path.
        path: PathBuf,
    },
    /// A family that is not there was named; a bug of the caller.
    #[error("bug: there is no package family `{name}`")]
    NoFamily {
        /// The name given.
        name: String,
    },
    /// A child process gave no answer.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The cache could not serve.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}
