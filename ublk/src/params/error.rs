//! Which rule of the kernel a parameter breaks, in words that say what would be right.

use thiserror::Error;

use super::ZoneParamsError;
use crate::uapi::{Features, ParamTypes};

/// Why there are no such parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Not a power of two, or outside of what the kernel takes.
    #[error("{name} of {bytes} bytes is not a power of two from {min} to {max}")]
    Unit {
        /// Which one.
        name: &'static str,
        /// What was asked for.
        bytes: u32,
        /// The smallest the kernel takes.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// The target cannot serve blocks that small.
    #[error(
        "logical block of {bytes} bytes is finer than the target serves, use {min} bytes or more"
    )]
    FinerThanTarget {
        /// What was asked for.
        bytes: u32,
        /// What the target needs.
        min: u32,
    },
    /// A physical block smaller than a logical one.
    #[error("physical block of {physical} bytes is smaller than the logical block of {logical}")]
    PhysicalBelowLogical {
        /// The physical block.
        physical: u32,
        /// The logical block.
        logical: u32,
    },
    /// The largest request is no multiple of the page, or too small or large.
    #[error("largest request of {bytes} bytes is not a multiple of {page} from {page} to {max}")]
    MaxIo {
        /// What was asked for.
        bytes: u32,
        /// The page size.
        page: u32,
        /// The limit.
        max: u32,
    },
    /// The device would have no block at all.
    #[error("{size_bytes} bytes do not fill one logical block of {logical} bytes")]
    TooSmall {
        /// The target's size.
        size_bytes: u64,
        /// The logical block.
        logical: u32,
    },
    /// The unit of discard is no multiple of the logical block.
    #[error(
        "discard granularity of {bytes} bytes is not a multiple of the logical block of {logical}"
    )]
    DiscardGranularity {
        /// What the target said.
        bytes: u32,
        /// The logical block.
        logical: u32,
    },
    /// A limit that breaks its rule.
    #[error("{name} of {value} {rule}")]
    Limit {
        /// Which one.
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Limits of something the device has not got.
    #[error("there is no {operation} to limit: the target has none, or is read-only")]
    Unable {
        /// What it has not got.
        operation: &'static str,
    },
    /// The target's zones are impossible.
    #[error(transparent)]
    Zones(#[from] ZoneParamsError),
    /// A group that means something only on devices with a feature.
    #[error("{group} parameters need a device with {feature}")]
    NeedsFeature {
        /// The group.
        group: ParamTypes,
        /// What the device lacks.
        feature: Features,
    },
}
