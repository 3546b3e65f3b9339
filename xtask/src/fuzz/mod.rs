//! What `vm-fuzz` and `replay` share: a machine that does as the model's input says, and what can be learnt from its end,
//! which may be a crash.

mod cases;
mod corpus;
mod round;
mod shrink;

pub(crate) use cases::Cases;
pub(crate) use corpus::Corpus;
pub(crate) use round::{Bench, LastCase, RoundEnd, plain};
pub(crate) use shrink::{acts_again, shrink_crash, steps_again};

/// The scenario that does given steps.
pub(crate) const REPLAY: &str = "model/replay";
/// The scenario that does given acts.
pub(crate) const REPLAY_ACTS: &str = "fuzz/replay";
