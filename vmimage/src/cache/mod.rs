//! A content-addressed cache on disk. Kernels and images take minutes to fetch and build, several
//! processes may want the same one at once, and any of them may be killed at any moment: so an entry
//! is built in a directory of its own under a lock and appears by one rename, whole or not at all.

mod key;
mod manifest;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fd_lock::{RwLock, RwLockWriteGuard};

pub use key::Key;
pub use manifest::{FileRecord, MANIFEST_NAME, Manifest};

use crate::fsio::{self, At, IoError};
use crate::progress::Progress;

/// How long to wait for another process that builds the same entry. Longer than any build here may
/// take with its own limits added up; a dead process frees its lock at once.
const LOCK_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Why the cache could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The disk has less than what is about to be written.
    #[error(
        "not enough space in {}: {need_bytes} bytes needed, {have_bytes} free: free some, or name another cache directory",
        dir.display()
    )]
    NoSpace {
        /// The cache's root.
        dir: PathBuf,
        /// What the next step would write, in bytes.
        need_bytes: u64,
        /// What is free, in bytes.
        have_bytes: u64,
    },
    /// Another process has held the entry's lock for too long.
    #[error("another process has been building {what} for {} s: end it and run again", LOCK_LIMIT.as_secs())]
    Locked {
        /// Kind and hash of the entry.
        what: String,
    },
    /// A builder did not write a file it had named as critical; a bug of this crate.
    #[error("bug: the builder of {what} wrote a bad entry: {reason}")]
    BadBuild {
        /// Kind and hash of the entry.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A cache below one directory. Cloning is cheap and shares the progress receiver.
#[derive(Clone)]
pub struct Cache {
    root: PathBuf,
    progress: Arc<dyn Progress>,
}

/// One whole, verified entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The directory that holds its files. Nobody may write there.
    pub dir: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

impl Entry {
    /// The path of a file of this entry, by its name relative to the entry.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The SHA-256 of a file of this entry as recorded when it was built.
    pub fn sha256(&self, name: &str) -> Option<&str> {
        self.manifest.files.get(name).map(|f| f.sha256.as_str())
    }
}

impl Cache {
    /// Opens (and makes) the cache below `root`, and removes what dead processes left half-built.
    pub fn open(
        root: impl Into<PathBuf>,
        progress: Arc<dyn Progress>,
    ) -> Result<Cache, CacheError> {
        let root = root.into();
        for part in ["entries", "locks", "tmp"] {
            fsio::create_dir_all(&root.join(part))?;
        }
        // apt wants absolute paths, and a caller may change directory.
        let root = root.canonicalize().at("find", &root)?;
        let cache = Cache { root, progress };
        cache.sweep()?;
        Ok(cache)
    }

    /// The directory everything is below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The receiver given to [`Cache::open`].
    pub fn progress(&self) -> &dyn Progress {
        self.progress.as_ref()
    }

    /// Fails unless `need_bytes` can be written below the root.
    pub fn require_space(&self, need_bytes: u64) -> Result<(), CacheError> {
        match fsio::free_bytes(&self.root) {
            Some(have_bytes) if have_bytes < need_bytes => {
                Err(CacheError::NoSpace { dir: self.root.clone(), need_bytes, have_bytes })
            }
            _ => Ok(()),
        }
    }

    /// The directory an entry has or would have.
    pub fn entry_dir(&self, kind: &str, key: &Key) -> PathBuf {
        self.root.join("entries").join(kind).join(key.hash())
    }

    /// The entry, if it is there and whole. A corrupt one is reported as a note and is `None`.
    pub fn entry(&self, kind: &str, key: &Key) -> Option<Entry> {
        self.verified(kind, key).unwrap_or_else(|reason| {
            let dir = self.entry_dir(kind, key);
            let dir = dir.display();
            self.progress.note(&format!("cached {kind} {dir} is corrupt ({reason}): rebuilding"));
            None
        })
    }

    fn verified(&self, kind: &str, key: &Key) -> Result<Option<Entry>, String> {
        let dir = self.entry_dir(kind, key);
        if !dir.exists() {
            return Ok(None);
        }
        let manifest = Manifest::read(&dir)?;
        manifest.verify(&dir)?;
        Ok(Some(Entry { dir, manifest }))
    }

    /// The entry, built first if it is not there.
    ///
    /// `build` fills the empty directory it is given; its files become the entry by one rename when
    /// it returns `Ok`. `critical` names the files whose hash is checked on every later hit.
    pub fn get_or_build<E: From<CacheError>>(
        &self,
        kind: &str,
        key: &Key,
        critical: &[&str],
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Entry, E> {
        if let Some(entry) = self.entry(kind, key) {
            return Ok(entry);
        }
        let name = format!("{kind}-{}", key.hash());
        let mut lock = self.lock_file(&name)?;
        let _guard = self.acquire(&mut lock, &name)?;
        // Another process may have built it while we waited for the lock. A corrupt one was noted above.
        if let Ok(Some(entry)) = self.verified(kind, key) {
            return Ok(entry);
        }
        let tmp = self.root.join("tmp").join(&name);
        // We hold the lock, so whoever left this behind is dead.
        fsio::remove_tree(&tmp).map_err(CacheError::from)?;
        fsio::create_dir_all(&tmp).map_err(CacheError::from)?;
        let built = build(&tmp).and_then(|()| Ok(self.publish(kind, key, critical, &tmp)?));
        if built.is_err() {
            // The build's own error is the one to report.
            let _ = fsio::remove_tree(&tmp);
        }
        built
    }

    fn publish(
        &self,
        kind: &str,
        key: &Key,
        critical: &[&str],
        tmp: &Path,
    ) -> Result<Entry, CacheError> {
        let manifest = Manifest::of(tmp, kind, key, critical)?;
        let what = || format!("{kind} {}", key.hash());
        if let Some(missing) = critical.iter().find(|name| !manifest.files.contains_key(**name)) {
            let reason = format!("{missing} is missing");
            return Err(CacheError::BadBuild { what: what(), reason });
        }
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| CacheError::BadBuild { what: what(), reason: e.to_string() })?;
        fsio::write(&tmp.join(MANIFEST_NAME), &text)?;
        let dir = self.entry_dir(kind, key);
        // Only a corrupt entry can be in the way here.
        fsio::remove_tree(&dir)?;
        fsio::rename(tmp, &dir)?;
        Ok(Entry { dir, manifest })
    }

    /// Removes the oldest entries of `kind` beyond the `keep` newest, but never `in_use`. For kinds that are rebuilt with every
    /// change of the source and would fill the disk; what is removed in error is only built again.
    pub fn keep_newest(&self, kind: &str, keep: usize, in_use: &Entry) -> Result<(), CacheError> {
        let dir = self.root.join("entries").join(kind);
        let mut entries: Vec<_> = fs::read_dir(&dir)
            .at("list", &dir)?
            .flatten()
            .filter_map(|found| Some((found.metadata().ok()?.modified().ok()?, found.path())))
            .collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(keep);
        for (_, path) in entries.into_iter().take(surplus) {
            if path != in_use.dir {
                fsio::remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Runs `work` while holding a named lock of this cache, waiting for other processes.
    pub fn locked<T, E: From<CacheError>>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut lock = self.lock_file(name)?;
        let _guard = self.acquire(&mut lock, name)?;
        work()
    }

    fn lock_file(&self, name: &str) -> Result<RwLock<File>, CacheError> {
        let path = self.root.join("locks").join(format!("{name}.lock"));
        let file = File::options().create(true).append(true).open(&path);
        Ok(RwLock::new(file.at("open the lock", &path)?))
    }

    fn acquire<'l>(
        &self,
        lock: &'l mut RwLock<File>,
        name: &str,
    ) -> Result<RwLockWriteGuard<'l, File>, CacheError> {
        let start = Instant::now();
        let mut told = false;
        // The first loop only waits: a guard of a failed attempt would keep `lock` borrowed.
        while !is_free(lock) {
            if start.elapsed() > LOCK_LIMIT {
                return Err(CacheError::Locked { what: name.to_owned() });
            }
            if !told && start.elapsed() > Duration::from_secs(1) {
                self.progress.note(&format!("waiting for another process that builds {name}"));
                told = true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        lock.write().at("lock", &self.root.join("locks").join(name)).map_err(Into::into)
    }

    /// Removes temporary directories whose key nobody holds the lock of.
    fn sweep(&self) -> Result<(), CacheError> {
        let tmp = self.root.join("tmp");
        for found in fs::read_dir(&tmp).at("list", &tmp)?.flatten() {
            let name = found.file_name().to_string_lossy().into_owned();
            let mut lock = self.lock_file(&name)?;
            if let Ok(_guard) = lock.try_write() {
                fsio::remove_tree(&found.path())?;
            }
        }
        Ok(())
    }
}

fn is_free(lock: &mut RwLock<File>) -> bool {
    lock.try_write().is_ok()
}

#[cfg(test)]
mod tests;
