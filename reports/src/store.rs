//! Puts a run's files into its folder, and reads them back.
//!
//! Every file is written beside its place and renamed into it: whoever reads one, at whatever moment,
//! reads a whole one. A reader refuses what it does not understand instead of guessing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::event::Record;
use crate::html;
use crate::render;
use crate::report::{Report, SCHEMA_VERSION};

/// Why the files of a run could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file system refused.
    #[error("write {path}: {source}; check space and permissions of the report folder", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A form could not be made, which is a bug of this crate.
    #[error("make {name}: {reason}; this is a bug of the reports crate")]
    Render {
        /// The file's name.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

/// Why a file of a run could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file system refused.
    #[error("read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file ends before its text does.
    #[error(
        "the report ends in the middle (line {line}); it was cut off, run again to get a whole one"
    )]
    Truncated {
        /// Line of the file, from 1.
        line: usize,
    },
    /// The report is of another major version.
    #[error(
        "the report has schema version {found}, this program reads {SCHEMA_VERSION}; use the version of the program that wrote it"
    )]
    Version {
        /// What the report says.
        found: String,
    },
    /// The text is no report.
    #[error("not a report: {0}")]
    Malformed(serde_json::Error),
    /// A line of the events is no record.
    #[error("line {line} is not an event record: {source}")]
    Event {
        /// Line of the file, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Writes `events.jsonl`, `report.json`, `junit.xml`, `ktap.txt` and `report.html` into `dir`, which is made
/// where it is missing. Returns their paths in that order.
///
/// # Errors
///
/// [`WriteError`]; the files written before it are whole, and none is half-written.
pub fn write_all(
    dir: &Path,
    report: &Report,
    records: &[Record],
) -> Result<Vec<PathBuf>, WriteError> {
    make_folder(dir)?;
    let text = events(records)
        .map_err(|e| WriteError::Render { name: "events.jsonl", reason: e.to_string() })?;
    let mut paths = vec![write_file(&dir.join("events.jsonl"), text.as_bytes())?];
    paths.extend(write_report(dir, report)?);
    Ok(paths)
}

fn make_folder(dir: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(dir).map_err(|source| WriteError::Io { path: dir.to_owned(), source })
}

/// The same without the records, for a report that was merged from others.
///
/// # Errors
///
/// As [`write_all`].
pub fn write_report(dir: &Path, report: &Report) -> Result<Vec<PathBuf>, WriteError> {
    make_folder(dir)?;
    let broken = |name| move |reason: String| WriteError::Render { name, reason };
    let files = [
        ("report.json", json(report).map_err(|e| broken("report.json")(e.to_string()))?),
        ("junit.xml", render::junit(report).map_err(|e| broken("junit.xml")(e.to_string()))?),
        ("ktap.txt", render::ktap(report)),
    ];
    let mut paths = files
        .into_iter()
        .map(|(name, text)| write_file(&dir.join(name), text.as_bytes()))
        .collect::<Result<Vec<_>, _>>()?;
    // Last, because it links to what lies beside it.
    paths.push(write_html(dir, html::Document::Run(report))?);
    Ok(paths)
}

/// Writes `report.html` of one report into the folder of its other files. Returns its path.
///
/// # Errors
///
/// [`WriteError::Io`]; a page that was there before is then still whole.
pub fn write_html(dir: &Path, document: html::Document<'_>) -> Result<PathBuf, WriteError> {
    let source = html::Source { document, artifacts: html::artifacts(dir, "") };
    write_file(&dir.join("report.html"), html::page(&[source]).as_bytes())
}

/// Reads a `report.json`.
///
/// # Errors
///
/// [`LoadError`], for a file that cannot be read, is cut off, is of another major version, or is none.
pub fn load(path: &Path) -> Result<Report, LoadError> {
    let text = fs::read_to_string(path)
        .map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    parse_report(&text)
}

/// Reads the text of a `report.json`.
///
/// # Errors
///
/// [`LoadError`] as for [`load`].
pub fn parse_report(text: &str) -> Result<Report, LoadError> {
    /// The version alone, to be asked before the rest is believed to have a known shape.
    #[derive(Deserialize)]
    struct Version {
        schema_version: String,
    }
    let malformed = |error: serde_json::Error| match error.is_eof() {
        true => LoadError::Truncated { line: error.line() },
        false => LoadError::Malformed(error),
    };
    let Version { schema_version: found } = serde_json::from_str(text).map_err(malformed)?;
    if major(&found) != major(SCHEMA_VERSION) {
        return Err(LoadError::Version { found });
    }
    serde_json::from_str(text).map_err(malformed)
}

/// Reads the text of an `events.jsonl`.
///
/// # Errors
///
/// [`LoadError::Event`] with the first line that is no record.
pub fn parse_events(text: &str) -> Result<Vec<Record>, LoadError> {
    (1..)
        .zip(text.lines())
        .map(|(line, record)| {
            serde_json::from_str(record).map_err(|source| LoadError::Event { line, source })
        })
        .collect()
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

fn events(records: &[Record]) -> serde_json::Result<String> {
    let mut text = String::new();
    for record in records {
        text.push_str(&serde_json::to_string(record)?);
        text.push('\n');
    }
    Ok(text)
}

fn json(report: &Report) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

/// Puts `bytes` where `path` says, in one step. Returns the path.
///
/// # Errors
///
/// [`WriteError::Io`]; a file that was there before is then still whole.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<PathBuf, WriteError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map(|()| path.to_owned()).map_err(|source| {
        // Nothing more can be done about a leftover than to try.
        drop(fs::remove_file(&beside));
        WriteError::Io { path: path.to_owned(), source }
    })
}
