//! The host's side of a gate: what is planted, which programs are built, what is measured of them, and how long.

pub(crate) mod baselines;
pub(crate) mod course;
pub(crate) mod plant;
