//! The host's side of a gate: which trees are built, what is measured of them, and how long.

pub(crate) mod baselines;
pub(crate) mod course;
pub(crate) mod plant;
pub(crate) mod tree;
