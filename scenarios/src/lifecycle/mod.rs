//! Nothing is left behind, however a server ends.
//!
//! What people suffer from with ublk servers is not throughput but tasks in D state and devices that
//! cannot be deleted. Each scenario ends a server in one way and looks at what remains.

mod ends;
mod endurance;
mod leaks;
pub(crate) mod load;
mod presence;

use crate::Scenario;
use ublk::target::RamTarget;

use crate::context::{Context, During, Stop};
use crate::process::ServerProcess;

/// The group, in the order in which it is run; the first scenario of all is the fresh-state check.
pub const SCENARIOS: &[&[Scenario]] =
    &[presence::SCENARIOS, ends::SCENARIOS, leaks::SCENARIOS, endurance::SCENARIOS];

/// A small ramdisk, served by a process of its own.
fn small(context: &mut Context) -> Result<ServerProcess, Stop> {
    ServerProcess::start(context, &["ram", "--size", "8M", "--queues", "2", "--depth", "16"])
}

/// A ramdisk for a server in this process.
fn ramdisk() -> Result<RamTarget, Stop> {
    RamTarget::new(4 << 20).during("make a ramdisk")
}
