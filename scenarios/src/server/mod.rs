//! Any ublk server as the subject: ours, the kernel's, or one that somebody else has written, called as its adapter says.
//!
//! No oracle here is the server's word. Bytes are compared with a reference and with the file behind the device; what the
//! device is, with what the kernel tells; what is left of a server, with the list of processes from before it. A scenario
//! that a server cannot take part in, by its adapter or by the driver, says which of the two said no.

mod ability;
mod adapter;
mod command;
mod data;
mod ends;
mod geometry;
mod input;
mod processes;
mod recovery;
mod scattered;
mod served;
mod subject;
mod words;

pub use ability::Ability;
pub use adapter::{
    Adapter, AdapterError, Ending, EndingSignal, Finding, Program, Recover, Source, Start,
};
pub use input::{ServerInput, VARIABLE as INPUT_VARIABLE};
pub use words::Word;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    geometry::SCENARIOS,
    scattered::SCENARIOS,
    data::SCENARIOS,
    ends::SCENARIOS,
    recovery::SCENARIOS,
];
