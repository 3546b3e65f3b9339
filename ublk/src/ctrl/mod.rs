//! The control client: every control command, with a deadline, and errors that say what to do.
//!
//! The client owns its ring, so it can be moved between threads, and a command may be started and awaited apart:
//! START_DEV completes only when every tag has been fetched, which a server has to do in between.

mod client;
mod command;
mod dump;
mod error;
mod hints;
mod methods;

pub(crate) use client::open_node;
pub use client::{Control, DEFAULT_DEADLINE, Pending};
pub use command::{Command, Reply};
pub(crate) use dump::SqeDump;
pub use dump::{SQE_DUMP_ENV, SqeDumpError};
pub use error::{CtrlError, OpenError};

/// The control node.
pub const CONTROL_PATH: &str = "/dev/ublk-control";

/// Path of a device's character node, which a server opens; there from ADD_DEV on.
#[must_use]
pub fn char_path(dev_id: u32) -> std::path::PathBuf {
    format!("/dev/ublkc{dev_id}").into()
}

/// Path of a device's block node, which applications open; there from START_DEV on.
#[must_use]
pub fn block_path(dev_id: u32) -> std::path::PathBuf {
    format!("/dev/ublkb{dev_id}").into()
}
