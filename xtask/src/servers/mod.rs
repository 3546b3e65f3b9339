//! Servers that are tested under the server family: adapters that are shipped or somebody's file, and their programs in the
//! guest.

mod file;
mod provide;
mod shipped;

pub(crate) use file::Typed;
pub(crate) use provide::Server;
