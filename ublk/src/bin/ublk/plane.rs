//! How requests reach the target: options of every command that adds a device.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use ublk::server::{DataMode, ServerBuilder, SharedMemory};

use crate::exit::Failure;

/// How bytes move, and on how many threads.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaneArgs {
    /// How bytes move: copy, get-data, user-copy, zero-copy, auto-zero-copy or auto-zero-copy-fallback.
    #[arg(long, value_name = "MODE", default_value = "copy", help_heading = "Data plane")]
    pub(crate) mode: DataMode,
    /// Commands for many tags at once (Linux 7.0 or newer).
    #[arg(long, help_heading = "Data plane")]
    pub(crate) batch: bool,
    /// A file that clients map and do O_DIRECT I/O from: their requests come without a copy. In /dev/shm or in
    /// hugetlbfs; may be given several times (Linux 7.1 or newer).
    #[arg(long, value_name = "PATH", help_heading = "Data plane")]
    pub(crate) shared_memory: Vec<PathBuf>,
    /// Threads; one for each queue unless given. More than queues share their tags (Linux 6.16 or newer).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Data plane")]
    pub(crate) threads: Option<u16>,
}

impl PlaneArgs {
    /// Chooses it for a server.
    pub(crate) fn apply(&self, builder: ServerBuilder) -> Result<ServerBuilder, Failure> {
        let mut builder = builder.data_mode(self.mode).batch(self.batch);
        for path in &self.shared_memory {
            builder = builder.shared_memory(open_shared(path, true)?);
        }
        Ok(match self.threads {
            Some(threads) => builder.threads(usize::from(threads)),
            None => builder,
        })
    }
}

/// Maps all of a file as shared memory.
pub(crate) fn open_shared(path: &Path, writable: bool) -> Result<SharedMemory, Failure> {
    let what = format!("shared memory {}", path.display());
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{what}: {error}"));
    let file = File::options().read(true).write(true).open(path).map_err(|error| failed(&error))?;
    let len_bytes = file.metadata().map_err(|error| failed(&error))?.len();
    let mapped = if writable {
        SharedMemory::from_file(&file, len_bytes)
    } else {
        SharedMemory::read_only_from_file(&file, len_bytes)
    };
    mapped.map_err(|error| failed(&error))
}
