//! What `vm-fuzz` and `replay` share: a machine that does as the model's input says, and what can be learnt from its end,
//! which may be a crash.

mod corpus;
mod round;
mod shrink;

pub(crate) use corpus::Corpus;
pub(crate) use round::{Bench, RoundEnd};
pub(crate) use shrink::shrink_crash;

/// The scenario that does given steps.
pub(crate) const REPLAY: &str = "model/replay";
