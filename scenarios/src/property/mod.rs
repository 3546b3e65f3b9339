//! Properties of the data path, each stated once and asked in every mode that there is.
//!
//! The groups beside this one ask one question of one mode each. Here a rule is a function of mode, operation and kernel,
//! the requests are generated, and what the kernel does is compared with the rule.

mod batch;
mod client;
mod descriptors;
mod expect;
mod hand;
mod life;
mod lifetime;
mod limits;
mod limits_model;
mod linear;
mod mode;
mod moves;
mod outlived;
mod partial;
mod positions;
mod results;
mod serve;
mod signatures;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    signatures::SCENARIOS,
    results::SCENARIOS,
    descriptors::SCENARIOS,
    positions::SCENARIOS,
    partial::SCENARIOS,
    lifetime::SCENARIOS,
    limits::SCENARIOS,
    linear::SCENARIOS,
    outlived::SCENARIOS,
];
