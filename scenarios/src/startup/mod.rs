//! In which order, by whom and in what shape a device is brought up, and what each mistake is answered.
//!
//! Every claim and every bug of the seed project's notes is a scenario here. Where a kernel answers
//! differently, the difference is data beside the expectation.

mod commands;
mod descriptors;
mod mapper;
mod order;
mod ownership;
mod params;
mod sqe;

pub use mapper::main as mapper;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    order::SCENARIOS,
    commands::SCENARIOS,
    params::SCENARIOS,
    sqe::SCENARIOS,
    descriptors::SCENARIOS,
    mapper::SCENARIOS,
    ownership::SCENARIOS,
];
