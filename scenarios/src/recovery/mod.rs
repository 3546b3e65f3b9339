//! A device outlives its server: what its users see while nobody serves it, who may take it over, and what remains
//! in the end.
//!
//! Writers that know what was acknowledged run throughout, in a process that is not the server's. After each change
//! of hands the device has to hold exactly what they were told it holds.

mod crash;
mod handover;
pub(crate) mod kit;
mod orphans;
mod owner;
mod plugged;
mod refused;
mod resize;
mod stop;
mod successor;
mod unprivileged;
pub(crate) mod writers;

pub use successor::main as successor;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    crash::SCENARIOS,
    handover::SCENARIOS,
    refused::SCENARIOS,
    orphans::SCENARIOS,
    stop::SCENARIOS,
    plugged::SCENARIOS,
    resize::SCENARIOS,
    unprivileged::SCENARIOS,
    owner::SCENARIOS,
];
