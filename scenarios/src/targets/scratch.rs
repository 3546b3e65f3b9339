//! Files below a target, which are gone when the scenario is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::context::{During, Stop};

/// A path under `/tmp`. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A path at which there is nothing.
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// The path as an argument.
    pub(super) fn text(&self) -> String {
        self.0.display().to_string()
    }

    /// Bytes of storage that the file takes.
    pub(super) fn allocated_bytes(&self) -> Result<u64, Stop> {
        let metadata = fs::metadata(&self.0).during(format_args!("stat {}", self.0.display()))?;
        Ok(metadata.blocks() * 512)
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, Stop> {
        fs::read(&self.0).during(format_args!("read {}", self.0.display()))
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Stop> {
        fs::write(&self.0, bytes).during(format_args!("write {}", self.0.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
