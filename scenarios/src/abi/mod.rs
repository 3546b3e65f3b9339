//! The kernel's interface, item by item: every command, flag, option and field is used here on its own, so that none
//! exists only in a header.
//!
//! What a kernel has not is skipped by a probe: GET_FEATURES, or a group of parameters that did not come back. Which
//! scenario stands for which item is a table, [`coverage`], and a test of it.

mod auto;
mod batch;
mod buffers;
mod commands;
mod control;
mod copy;
mod copy_faults;
pub mod coverage;
mod flags;
mod in_flight;
mod info;
mod limits;
mod options;
mod refused;
mod shared;
mod sysfs;
mod try_stop;
mod user;
mod zone_operations;
mod zone_report;
mod zones;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    flags::SCENARIOS,
    info::SCENARIOS,
    control::SCENARIOS,
    buffers::SCENARIOS,
    auto::SCENARIOS,
    copy::SCENARIOS,
    copy_faults::SCENARIOS,
    commands::SCENARIOS,
    batch::SCENARIOS,
    in_flight::SCENARIOS,
    limits::SCENARIOS,
    options::SCENARIOS,
    refused::SCENARIOS,
    shared::SCENARIOS,
    sysfs::SCENARIOS,
    try_stop::SCENARIOS,
    zones::SCENARIOS,
    zone_report::SCENARIOS,
    zone_operations::SCENARIOS,
];
