//! Does the device keep what is written to it, however its bytes move and on however many threads?
//!
//! The workload is that of `data/scattered-*`: what differs is the data plane. Each mode is served by the
//! same targets, which is the claim that is tested.

/// A scenario of scattered I/O: `NAME, id, title, target: queues x depth, features it needs, options of ublk add`.
macro_rules! kind {
    ($name:ident, $id:literal, $title:literal, $target:literal: $queues:literal x $depth:literal, $needs:expr, $options:expr) => {
        const $name: $crate::Scenario = $crate::Scenario {
            id: $id,
            title: $title,
            covers: &["S4", "S13"],
            budget: reports::budget::BudgetClass::Long,
            known_bug: |kernel| {
                kernel.page_registration_bug().filter(|_| super::registers_pages($target, $options))
            },
            run: |context| {
                crate::rig::offered($needs)?;
                let setup = $crate::data::scattered::Setup {
                    target: $target,
                    queues: $queues,
                    depth: $depth,
                    block_bytes: 512,
                    options: $options,
                };
                $crate::data::scattered::run(context, setup)
            },
            ..$crate::Scenario::SERVER
        };
    };
}

mod affinity;
mod asynchronous;
mod hints;
mod kinds;
mod shared;
mod threads;

use crate::Scenario;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    kinds::SCENARIOS,
    shared::SCENARIOS,
    threads::SCENARIOS,
    asynchronous::SCENARIOS,
    affinity::SCENARIOS,
    hints::SCENARIOS,
];

/// Whether a server with these options has the pages of requests registered.
fn registers_pages(target: &str, options: &[&str]) -> bool {
    // A ramdisk wants its bytes, and gets them by user copy.
    target == "file" && options.iter().any(|option| option.contains("zero-copy"))
}
