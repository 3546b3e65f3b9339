//! Does the device keep what is written to it?
//!
//! The main workload is generated; the others ask one question each about order, durability, option or
//! filesystem that a random workload would not ask clearly.

mod durability;
mod filesystem;
mod fio;
mod options;
pub(crate) mod scattered;
pub(crate) mod waves;

pub(crate) use filesystem::filesystem_known;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    scattered::SCENARIOS,
    durability::SCENARIOS,
    options::SCENARIOS,
    filesystem::SCENARIOS,
    fio::SCENARIOS,
];
