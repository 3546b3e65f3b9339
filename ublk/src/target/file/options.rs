//! How a backing file is to be opened.

use std::path::PathBuf;

/// How a backing file is to be opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    pub(super) path: PathBuf,
    pub(super) size_bytes: Option<u64>,
    pub(super) direct: bool,
    pub(super) read_only: bool,
}

impl FileOptions {
    /// The file as it is, buffered and writable.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), size_bytes: None, direct: false, read_only: false }
    }

    /// Serve that many bytes. A file that is missing is created, one that is shorter grows; a longer
    /// one keeps its tail.
    #[must_use]
    pub fn size_bytes(mut self, size_bytes: u64) -> Self {
        self.size_bytes = Some(size_bytes);
        self
    }

    /// Bypass the page cache with O_DIRECT.
    #[must_use]
    pub fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Open for reading only.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }
}
