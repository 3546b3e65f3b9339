//! Ours beside its peers: who they are, how each is asked for the same device, and where each comes from.

pub(crate) mod contenders;
mod device;
pub(crate) mod peers;
mod servers;
