//! Packages on their way to this machine: downloaded, checked against the signed index, unpacked without running anything of them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Archive, ArchiveError, Deb, LockEntry, Record, apt, record};
use crate::command;
use crate::fsio::{self, At};

impl Archive {
    /// Downloads package files into `dest` and checks each against the signed index.
    pub fn download(
        &self,
        family: &str,
        records: &[Record],
        dest: &Path,
    ) -> Result<Vec<Deb>, ArchiveError> {
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        let (state, apt) = self.family(family)?;
        fsio::create_dir_all(dest)?;
        let total_bytes: u64 = records.iter().map(|r| r.size_bytes).sum();
        self.cache.require_space(total_bytes)?;
        let detail = match records.len() {
            1 => format!("{} {}", first.name, first.version),
            n => format!("{} and {} more packages", first.name, n - 1),
        };
        self.cache.progress().stage("download", &detail);
        let mut command = apt.command("apt-get", &["download", "-q"]);
        command.current_dir(dest);
        command.args(records.iter().map(|r| format!("{}={}", r.name, r.version)));
        let done = command::run_watched(&mut command, apt::DOWNLOAD_LIMIT, || {
            self.cache.progress().bytes(size_of_dir(dest), Some(total_bytes));
        })?;
        if !done.status.success() {
            self.cache.require_space(1 << 20)?;
            let (what, family, reason) = (detail, family.to_owned(), apt::reason(&done));
            if done.stderr.contains("404") {
                // The next run fetches fresh lists.
                let _ = fs::remove_file(state.stamp());
                return Err(ArchiveError::Gone { what, family, reason });
            }
            return Err(ArchiveError::Download { what, family, reason });
        }
        self.cache.progress().bytes(total_bytes, Some(total_bytes));
        verified_debs(records, family, dest)
    }

    /// Downloads packages below `dir` and unpacks them into `dir/root`, running nothing of them.
    /// Returns the root.
    pub fn unpack(
        &self,
        family: &str,
        records: &[Record],
        dir: &Path,
    ) -> Result<PathBuf, ArchiveError> {
        let unpacked_bytes: u64 = records.iter().map(|r| r.installed_bytes + r.size_bytes).sum();
        self.cache.require_space(unpacked_bytes)?;
        let root = dir.join("root");
        fsio::create_dir_all(&root)?;
        let debs = self.download(family, records, &dir.join("debs"))?;
        for deb in &debs {
            apt::unpack(&deb.path, &root)?;
        }
        fsio::remove_tree(&dir.join("debs"))?;
        Ok(root)
    }
}

/// The lock lines of packages that were used from one family.
pub fn lock_entries(family: &str, records: &[Record]) -> Vec<LockEntry> {
    let mut lock: Vec<LockEntry> = records
        .iter()
        .map(|r| LockEntry {
            name: r.name.clone(),
            version: r.version.clone(),
            sha256: r.sha256.clone(),
            origin: family.to_owned(),
        })
        .collect();
    lock.sort();
    lock
}

fn verified_debs(records: &[Record], family: &str, dest: &Path) -> Result<Vec<Deb>, ArchiveError> {
    let mut files = Vec::new();
    for found in fs::read_dir(dest).at("list", dest)?.flatten() {
        if let Some(id) = record::parse_file_name(&found.file_name().to_string_lossy()) {
            files.push((id, found.path()));
        }
    }
    records
        .iter()
        .map(|r| {
            let id = (r.name.clone(), r.version.clone());
            let path = files.iter().find(|(found, _)| *found == id).map(|(_, path)| path.clone());
            let path = path.ok_or_else(|| ArchiveError::Download {
                what: r.name.clone(),
                family: family.to_owned(),
                reason: "apt left no file".into(),
            })?;
            let found = fsio::sha256_file(&path)?;
            if found != r.sha256 {
                let expected = r.sha256.clone();
                return Err(ArchiveError::WrongHash { package: r.name.clone(), found, expected });
            }
            Ok(Deb { name: r.name.clone(), version: r.version.clone(), sha256: found, path })
        })
        .collect()
}

fn size_of_dir(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
}
