//! The `ublk` command as people and scripts use it: daemons, what their parents say, and numbers that are
//! true while the device is busy. And `runner --here`, the suite as a command.

mod daemon;
mod failure;
mod here;
mod metrics;
mod ran;
mod tools;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] =
    &[daemon::SCENARIOS, failure::SCENARIOS, metrics::SCENARIOS, tools::SCENARIOS, here::SCENARIOS];
