//! The driver's branch counters, where the kernel keeps them: taken out after each scenario, because the next
//! one may take the machine with it, and set back to zero, so that what comes out is that scenario's alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const ROOT: &str = "/sys/kernel/debug/gcov";
const FILE: &str = "ublk_drv.gcda";

/// Folders below [`ROOT`] are those of the machine that built the kernel; deeper is nobody's.
const DEPTH_MAX: usize = 32;

/// Fast, and nine tenths smaller: most counters are zero.
const COMPRESSION_LEVEL: u8 = 1;

/// The counters since the last time, as gcov's file, deflated, in base64.
pub(crate) fn take() -> io::Result<String> {
    let root = Path::new(ROOT);
    let path = find(root, 0)?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("no {FILE} below {ROOT}: no gcov kernel"))
    })?;
    let counters = fs::read(path)?;
    fs::write(root.join("reset"), "1")?;
    Ok(BASE64_STANDARD.encode(miniz_oxide::deflate::compress_to_vec(&counters, COMPRESSION_LEVEL)))
}

fn find(dir: &Path, depth: usize) -> io::Result<Option<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Beside the counters is a link to the notes of the build machine; links are not followed.
        let kind = entry.file_type()?;
        if kind.is_file() && entry.file_name() == FILE {
            return Ok(Some(entry.path()));
        }
        if kind.is_dir() && depth < DEPTH_MAX {
            folders.push(entry.path());
        }
    }
    for folder in folders {
        if let Some(found) = find(&folder, depth + 1)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_wherever_the_kernel_was_built() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b/drivers/block");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.path().join("a/empty")).unwrap();
        fs::write(root.path().join("reset"), "").unwrap();
        assert_eq!(find(root.path(), 0).unwrap(), None);
        fs::write(folder.join(FILE), "x").unwrap();
        assert_eq!(find(root.path(), 0).unwrap(), Some(folder.join(FILE)));
    }
}
