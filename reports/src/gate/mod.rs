//! Whether a tree is slower than it was: a decision over reports, made without looking at anything else.
//!
//! Three outcomes, because two would have to lie: better or equal, regressed, inconclusive. A [`Gate`] takes
//! one report after another and answers with a [`Next`]: a decision, or what has to be measured first. It
//! asks for more while it cannot tell, and for a fresh machine before it calls anything a regression.
//!
//! Under the instruction clock one sample is worth a day of the wall clock's, so a stored [`Baseline`] is
//! good enough, as long as kernel, QEMU, fio and compiler are the same. By the wall clock only programs in
//! the same run are compared, and one of them with itself: where that differs, the run is void.

mod baseline;
mod compare;
mod decision;
mod metric;
mod noise;
mod process;
mod refusal;
mod render;

pub use baseline::{
    Acceptance, BASELINE_SCHEMA_VERSION, Baseline, BaselineMetric, Environment, MetricNoise,
};
pub use compare::{BASE, CONTROL, Reference};
pub use decision::{DECISION_SCHEMA_VERSION, Decision, Finding, GateStatus, Verdict};
pub use metric::{Kind, MetricId, Tolerance};
pub use process::{Gate, Next, Options};
pub use refusal::Refusal;
pub use render::{markdown, terminal};
