//! File operations whose errors name the path. `std::io::Error` alone says "No such file or
//! directory" and leaves the reader to guess which; every file this crate touches goes through here.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// An I/O failure with the action and the path it happened on.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(action, path, source))]
pub struct IoError {
    /// What was tried, a verb: `read`, `create`.
    pub action: &'static str,
    /// The path it was tried on.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

fn describe(action: &str, path: &Path, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "no space left to {action} {} ({} bytes free there): free some and run again",
            path.display(),
            free_bytes(path).unwrap_or(0)
        ),
        io::ErrorKind::PermissionDenied => {
            format!("cannot {action} {}: permission denied for this user", path.display())
        }
        _ => format!("cannot {action} {}: {source}", path.display()),
    }
}

/// Gives a bare `io::Result` its action and path.
pub trait At<T> {
    /// Turns the error into an [`IoError`] that names `action` and `path`.
    fn at(self, action: &'static str, path: &Path) -> Result<T, IoError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, IoError> {
        self.map_err(|source| IoError { action, path: path.to_owned(), source })
    }
}

/// Bytes an unprivileged user may still write on the file system of `path`, or of its nearest
/// existing parent. `None` where the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|p| p.exists())?;
    let stat = nix::sys::statvfs::statvfs(existing).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Creates a directory and its parents.
pub fn create_dir_all(path: &Path) -> Result<(), IoError> {
    fs::create_dir_all(path).at("create the directory", path)
}

/// Reads a whole text file; bytes that are not UTF-8 are replaced.
pub fn read_text(path: &Path) -> Result<String, IoError> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, IoError> {
    fs::read(path).at("read", path)
}

/// Writes a whole file, replacing what was there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    fs::write(path, bytes).at("write", path)
}

/// Writes a file so that a reader sees the old content or the new, never half of it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).at("create a file in", dir)?;
    file.write_all(bytes).at("write", path)?;
    file.persist(path).map_err(|e| e.error).at("write", path)?;
    Ok(())
}

/// Copies a file's content and permission bits.
pub fn copy(from: &Path, to: &Path) -> Result<u64, IoError> {
    if let Some(parent) = to.parent() {
        create_dir_all(parent)?;
    }
    // A read error names the source, everything else the target, which is where a disk fills up.
    File::open(from).at("read", from)?;
    fs::copy(from, to).at("write", to)
}

/// Renames within one file system.
pub fn rename(from: &Path, to: &Path) -> Result<(), IoError> {
    if let Some(parent) = to.parent() {
        create_dir_all(parent)?;
    }
    fs::rename(from, to).at("move into place", to)
}

/// Removes a tree; one that is not there is no error.
pub fn remove_tree(path: &Path) -> Result<(), IoError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}

/// SHA-256 of a file as 64 lower-case hex digits.
pub fn sha256_file(path: &Path) -> Result<String, IoError> {
    let mut file = File::open(path).at("read", path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 18];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => hash.update(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).at("read", path),
        }
    }
}

/// SHA-256 of bytes as 64 lower-case hex digits.
pub fn sha256_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_a_file_is_the_known_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_file(file.path()).unwrap(), known);
        assert_eq!(sha256_bytes(b"abc"), known);
    }

    #[test]
    fn errors_name_the_path_on_one_line() {
        let error = read(Path::new("/nonexistent/file")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/file"), "{error}");
        assert!(!error.contains('\n'));
        let full = IoError {
            action: "write",
            path: "/tmp/x".into(),
            source: io::ErrorKind::StorageFull.into(),
        };
        assert!(full.to_string().starts_with("no space left to write /tmp/x ("), "{full}");
    }
}
