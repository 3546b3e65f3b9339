//! Fuzzing of the raw protocol: commands that are wrong in any field, memory and holders of the char device, and what the kernel
//! makes of it.
//!
//! A case is a list of [`Act`]s, done by a process of its own; after each the kernel is looked at, every device but a
//! bystander's has to be gone, and the bystander must not have noticed.

mod act;
mod allowed;
mod case;
mod clients;
mod course;
mod findings;
mod generate;
mod hand;
mod holding;
mod judge;
mod lab;
mod limits;
mod maps;
mod process;
mod rings;
mod seeds;
mod shot;

use reports::budget::BudgetClass;

use self::generate::Theme;
use crate::scenario::Scenario;

pub use act::{Act, Hold, Racing, Stage, numbered};
pub use case::Failure;
pub use clients::main as client_main;
pub use hand::{holder_main, main as hand_main};
pub use limits::strip;
pub use shot::{Base, Change, Dev, Other, Place, Shot, To};

/// What every run does of it. Those that explore begin the same way in each, see docs/fuzzing.md.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "fuzz/sqe",
        title: "commands that are wrong in any field are answered once, with an errno that they may have, and harm nobody",
        covers: &["fuzz"],
        budget: BudgetClass::Long,
        run: |context| course::run(context, Theme::Shots, "fuzz/sqe"),
        ..Scenario::DRIVER
    },
    Scenario {
        id: "fuzz/memory",
        title: "mappings, reads and writes of the char device at any place are what they may be, and harm nobody",
        covers: &["fuzz"],
        budget: BudgetClass::Long,
        run: |context| course::run(context, Theme::Memory, "fuzz/memory"),
        ..Scenario::DRIVER
    },
    Scenario {
        id: "fuzz/holders",
        title: "whoever holds the char device, and however: it is busy as long as somebody does, and goes afterwards",
        covers: &["fuzz"],
        budget: BudgetClass::Long,
        run: |context| course::run(context, Theme::Holders, "fuzz/holders"),
        ..Scenario::DRIVER
    },
    Scenario {
        id: "fuzz/stop-by-a-server-that-dies",
        title: "a server that has sent DEL_DEV for its own device, and is killed while a request is with it, goes",
        covers: &["fuzz"],
        budget: BudgetClass::Normal,
        known_bug: findings::stop_bug,
        run: findings::stop_by_a_server_that_dies,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "fuzz/stop-beside-a-ring-that-ends",
        title: "STOP_DEV and the end of its server's ring may meet, and the kernel has nothing to complain of",
        covers: &["fuzz"],
        budget: BudgetClass::Normal,
        known_bug: findings::meeting_bug,
        run: findings::stop_beside_a_ring_that_ends,
        ..Scenario::DRIVER
    },
];

/// The one that only runs with an input; not listed.
pub const BY_INPUT: &[Scenario] = &[Scenario {
    id: "fuzz/replay",
    title: "the acts of a reproducer are answered as they may be",
    covers: &["fuzz"],
    budget: BudgetClass::Long,
    run: course::replay,
    ..Scenario::DRIVER
}];
