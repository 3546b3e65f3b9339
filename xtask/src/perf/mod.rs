//! The host's side of a perf run: who is compared, in which order, in which machine.

pub(crate) mod benches;
pub(crate) mod choice;
pub(crate) mod deliver;
pub(crate) mod layout;
pub(crate) mod libublk;
pub(crate) mod machine;
pub(crate) mod measure;
mod registry;
pub(crate) mod rublk;
pub(crate) mod subjects;
