//! A cache that is trusted blindly turns one bad disk block into a kernel that oopses for no reason.
//! The manifest says what an entry must hold, and a hit is a hit only when it does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::key::Key;
use crate::fsio::{self, At, IoError};

/// The manifest's file name inside an entry.
pub const MANIFEST_NAME: &str = "manifest.json";

/// What one regular file of an entry must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Length, in bytes.
    pub size_bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// The content of an entry, written when it was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The kind of entry (`kernel`, `image`).
    pub kind: String,
    /// The parts of its key, for people who wonder what a directory is.
    pub key: Vec<String>,
    /// Regular files by path relative to the entry.
    pub files: BTreeMap<String, FileRecord>,
    /// Symbolic links and their targets, by path relative to the entry.
    pub links: BTreeMap<String, String>,
    /// Files whose hash, and not only size, is checked on each hit.
    pub critical: Vec<String>,
}

impl Manifest {
    /// Records everything under `dir`.
    pub fn of(dir: &Path, kind: &str, key: &Key, critical: &[&str]) -> Result<Manifest, IoError> {
        let mut files = BTreeMap::new();
        let mut links = BTreeMap::new();
        for found in WalkDir::new(dir).sort_by_file_name() {
            let found = found.map_err(std::io::Error::from).at("list", dir)?;
            let relative = found.path().strip_prefix(dir).unwrap_or(found.path());
            let name = relative.to_string_lossy().into_owned();
            if found.file_type().is_symlink() {
                let target = fs::read_link(found.path()).at("read the link", found.path())?;
                links.insert(name, target.to_string_lossy().into_owned());
            } else if found.file_type().is_file() {
                let size_bytes =
                    found.metadata().map_err(std::io::Error::from).at("stat", found.path())?.len();
                let sha256 = fsio::sha256_file(found.path())?;
                files.insert(name, FileRecord { size_bytes, sha256 });
            }
        }
        let critical = critical.iter().map(|s| (*s).to_owned()).collect();
        Ok(Manifest { kind: kind.to_owned(), key: key.parts().to_vec(), files, links, critical })
    }

    /// Reads the manifest of an entry.
    ///
    /// The error is a sentence fragment that completes "is corrupt: …".
    pub fn read(dir: &Path) -> Result<Manifest, String> {
        let text =
            fs::read(dir.join(MANIFEST_NAME)).map_err(|e| format!("{MANIFEST_NAME}: {e}"))?;
        serde_json::from_slice(&text).map_err(|e| format!("{MANIFEST_NAME}: {e}"))
    }

    /// Compares `dir` with the manifest: the size of every file, the target of every link, the hash
    /// of the critical files.
    ///
    /// The error is a sentence fragment that completes "is corrupt: …".
    pub fn verify(&self, dir: &Path) -> Result<(), String> {
        for (name, record) in &self.files {
            let found = fs::symlink_metadata(dir.join(name)).map_err(|e| format!("{name}: {e}"))?;
            if found.len() != record.size_bytes {
                return Err(format!(
                    "{name} has {} bytes where {} were written",
                    found.len(),
                    record.size_bytes
                ));
            }
        }
        for (name, target) in &self.links {
            let found = fs::read_link(dir.join(name)).map_err(|e| format!("{name}: {e}"))?;
            if found.as_os_str() != target.as_str() {
                return Err(format!("the link {name} points elsewhere"));
            }
        }
        for name in &self.critical {
            let record = self.files.get(name).ok_or(format!("{name} is not in {MANIFEST_NAME}"))?;
            let found = fsio::sha256_file(&dir.join(name)).map_err(|e| e.to_string())?;
            if found != record.sha256 {
                return Err(format!("the content of {name} changed since it was written"));
            }
        }
        Ok(())
    }
}
