//! How requests reach the target: options of every command that adds a device.

use clap::Args;
use ublk::server::{DataMode, ServerBuilder};

/// How bytes move, and on how many threads.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaneArgs {
    /// How bytes move: copy, get-data, user-copy, zero-copy, auto-zero-copy or auto-zero-copy-fallback.
    #[arg(long, value_name = "MODE", default_value = "copy", help_heading = "Data plane")]
    pub(crate) mode: DataMode,
    /// Commands for many tags at once (Linux 7.0 or newer).
    #[arg(long, help_heading = "Data plane")]
    pub(crate) batch: bool,
    /// Threads; one for each queue unless given. More than queues share their tags (Linux 6.16 or newer).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Data plane")]
    pub(crate) threads: Option<u16>,
}

impl PlaneArgs {
    /// Chooses it for a server.
    pub(crate) fn apply(&self, builder: ServerBuilder) -> ServerBuilder {
        let builder = builder.data_mode(self.mode).batch(self.batch);
        match self.threads {
            Some(threads) => builder.threads(usize::from(threads)),
            None => builder,
        }
    }
}
