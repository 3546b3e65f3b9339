//! Reads a `perf.json` that any version of this program wrote, and refuses what it cannot understand.
//!
//! A file of another minor version of the same major is read: fields it lacks have defaults, fields it
//! has more are skipped. A file that was cut off, or whose major differs, is a refusal and never a number.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::report::{PERF_SCHEMA_VERSION, PerfReport};

/// Why a JSON file of the performance lane could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerfLoadError {
    /// The file system refused.
    #[error("read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file ends before its text does.
    #[error(
        "the {what} ends in the middle (line {line}); it was cut off, so make it again to get a whole one"
    )]
    Truncated {
        /// What it should be.
        what: &'static str,
        /// Line of the file, from 1.
        line: usize,
    },
    /// No version stands in it.
    #[error("the {what} does not say its schema version; one of version {known} is wanted")]
    Unversioned {
        /// What it should be.
        what: &'static str,
        /// The version that can be read.
        known: &'static str,
    },
    /// It is of another major version.
    #[error(
        "the {what} has schema version {found}, this program reads {known}; use the program that wrote it"
    )]
    Version {
        /// What it should be.
        what: &'static str,
        /// What it says.
        found: String,
        /// The version that can be read.
        known: &'static str,
    },
    /// It is something else.
    #[error("not a {what}: {source}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads a `perf.json`.
///
/// # Errors
/// [`PerfLoadError`], for a file that cannot be read, is cut off, is of another major version, or is none.
pub fn load_perf(path: &Path) -> Result<PerfReport, PerfLoadError> {
    parse_perf(&read(path)?)
}

/// Reads the text of a `perf.json`.
///
/// # Errors
/// [`PerfLoadError`] as for [`load_perf`].
pub fn parse_perf(text: &str) -> Result<PerfReport, PerfLoadError> {
    parse(text, "performance report", PERF_SCHEMA_VERSION)
}

pub(crate) fn read(path: &Path) -> Result<String, PerfLoadError> {
    std::fs::read_to_string(path)
        .map_err(|source| PerfLoadError::Io { path: path.to_owned(), source })
}

/// Reads versioned JSON: the version first, before the rest is believed to have a known shape.
pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    what: &'static str,
    known: &'static str,
) -> Result<T, PerfLoadError> {
    #[derive(serde::Deserialize)]
    struct Version {
        schema_version: Option<String>,
    }
    let malformed = |source: serde_json::Error| match source.is_eof() {
        true => PerfLoadError::Truncated { what, line: source.line() },
        false => PerfLoadError::Malformed { what, source },
    };
    let version: Version = serde_json::from_str(text).map_err(malformed)?;
    let Some(found) = version.schema_version else {
        return Err(PerfLoadError::Unversioned { what, known });
    };
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if major(&found) != major(known) {
        return Err(PerfLoadError::Version { what, found, known });
    }
    serde_json::from_str(text).map_err(malformed)
}
