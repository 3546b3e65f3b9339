//! User-space block devices over io_uring: the whole ublk ABI, in layers that can each be used alone.

#[allow(unsafe_code)]
// The only door to the kernel: rings, mappings and byte views of wire structs.
pub mod sys;

pub mod ctrl;
pub mod device;
pub mod features;
pub mod params;
pub mod queue;
pub mod raw;
pub mod server;
pub mod tag;
pub mod target;
pub mod testing;
pub mod uapi;

#[cfg(doctest)]
mod soundness;
