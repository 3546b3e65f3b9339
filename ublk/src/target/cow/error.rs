//! Why an overlay cannot be used.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::layout::{CLUSTER_BYTES_MAX, CLUSTER_BYTES_MIN};
use crate::target::FileTargetError;

/// Why a copy-on-write device cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CowTargetError {
    /// The base could not be opened.
    #[error("base: {0}")]
    Base(#[source] FileTargetError),
    /// The overlay's file could not be opened or created.
    #[error("overlay: {0}")]
    Overlay(#[source] FileTargetError),
    /// The cluster is no power of two, or too small or large.
    #[error(
        "cluster of {bytes} bytes is not a power of two from {CLUSTER_BYTES_MIN} to {CLUSTER_BYTES_MAX}"
    )]
    Cluster {
        /// What was asked for.
        bytes: u32,
    },
    /// The base is empty, or has more clusters than a map can be kept of.
    #[error("a base of {base_bytes} bytes in clusters of {cluster_bytes} is impossible, \
        give 1 to {max} clusters", max = super::layout::CLUSTERS_MAX)]
    BaseSize {
        /// Size of the base.
        base_bytes: u64,
        /// The cluster.
        cluster_bytes: u32,
    },
    /// There is something else in the overlay's place.
    #[error("the overlay holds something that is no overlay, name a file that does not exist")]
    NotAnOverlay,
    /// An overlay of a later version of this crate.
    #[error("the overlay has format {found}, this server knows {known}")]
    Version {
        /// What its header says.
        found: u32,
        /// What this crate writes.
        known: u32,
    },
    /// The base is not the one the overlay was made for.
    #[error(
        "the base has {is_bytes} bytes and had {was_bytes} when the overlay was made, \
        bring the old one back or start a new overlay"
    )]
    BaseChanged {
        /// Size when the overlay was made.
        was_bytes: u64,
        /// Size now.
        is_bytes: u64,
    },
    /// The overlay lost its end.
    #[error("the overlay has {is_bytes} bytes instead of {needed_bytes}")]
    Truncated {
        /// What its header asks for.
        needed_bytes: u64,
        /// What there is.
        is_bytes: u64,
    },
    /// Another server has it.
    #[error("{path:?} is in use by another server, stop that first")]
    InUse {
        /// The overlay.
        path: PathBuf,
    },
    /// It could not be read or written.
    #[error("overlay: {0}")]
    Io(#[from] io::Error),
}
