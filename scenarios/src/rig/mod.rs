//! What driver scenarios are built from: a device made by raw commands, a hand that sends I/O commands,
//! a minimal server, and a raw control client.
//!
//! Everything here removes what it made: a scenario that fails half-way must not cost the next one its
//! clean kernel.

mod batch;
mod control;
mod device;
mod fetcher;
mod served;
mod server;

pub use batch::BatchHand;
pub use control::{
    AT_ONCE_MAX, RawControl, arena, backing_file, control_payload, feature_bits, features, offered,
    offers, only_result,
};
pub use device::{Rig, per_io_daemon, plain_params};
pub use fetcher::Fetcher;
pub use served::{Touchy, served, stop_served};
pub use server::RawServer;

/// `EIO`, positive.
pub const EIO: i32 = nix::libc::EIO;
/// `EBUSY`, positive.
pub const EBUSY: i32 = nix::libc::EBUSY;
/// `EINVAL`, positive.
pub const EINVAL: i32 = nix::libc::EINVAL;
/// `ENODEV`, positive.
pub const ENODEV: i32 = nix::libc::ENODEV;
/// `EEXIST`, positive.
pub const EEXIST: i32 = nix::libc::EEXIST;
/// `EACCES`, positive.
pub const EACCES: i32 = nix::libc::EACCES;
/// `EPERM`, positive.
pub const EPERM: i32 = nix::libc::EPERM;
/// `EFAULT`, positive.
pub const EFAULT: i32 = nix::libc::EFAULT;
/// `ENOENT`, positive.
pub const ENOENT: i32 = nix::libc::ENOENT;
/// `E2BIG`, positive.
pub const E2BIG: i32 = nix::libc::E2BIG;
/// `ENOBUFS`, positive.
pub const ENOBUFS: i32 = nix::libc::ENOBUFS;
/// `EOPNOTSUPP`, positive.
pub const EOPNOTSUPP: i32 = nix::libc::EOPNOTSUPP;
