//! The driver as a model, and the kernel compared with it after every step.
//!
//! [`World`] predicts; an executor does the same steps on the running kernel; sequences are generated at random
//! (`model/sequences`) or exhaustively (`model/orders`), and one that fails is shrunk to its shortest form.

mod case;
mod commands;
mod concurrent;
mod device;
mod effects;
mod findings;
mod generate;
mod graph;
mod input;
mod lab;
mod limits;
mod older;
mod orders;
mod plant;
mod process;
mod profile;
mod queue;
mod replay;
mod reproducer;
mod requests;
mod sequences;
mod served;
mod server;
mod settle;
mod shrink;
mod sort;
mod step;
#[cfg(test)]
mod tests;
mod threads;
mod view;
mod world;

use reports::budget::BudgetClass;

use crate::scenario::Scenario;

pub use case::Difference;
pub use device::{Device, Read, State, Waiting, Waits};
pub use effects::{Answer, Effects, any_of};
pub(crate) use findings::started_again_bug;
pub use generate::{alphabet, sequence};
pub use graph::Graph;
pub use input::{Input, VARIABLE as INPUT_VARIABLE};
pub use plant::Plant;
pub use profile::Profile;
pub use queue::{QUEUES_MAX, Queue, TAGS, Tag};
pub use reproducer::{FORMAT, Reproducer};
pub use server::{TagCounts, main as server_main};
pub use shrink::{Shrinkable, Shrinker};
pub use sort::{Mode, Recovery, Sort};
pub use step::{Step, numbered};
pub(crate) use view::ModuleReferences;
pub use world::World;

/// What the model asks of the kernel.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "model/sequences",
        title: "random sequences over two devices, two servers and a client do what the model says, step by step",
        covers: &["model"],
        budget: BudgetClass::Long,
        run: sequences::run,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "model/orders",
        title: "commands of the lifecycle in every order, from nothing, from a live device and from one that lost its server, \
                do what the model says",
        covers: &["model"],
        budget: BudgetClass::Long,
        run: orders::run,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "model/concurrent",
        title: "control commands that are sent at the same time are answered as some order of them says",
        covers: &["model"],
        budget: BudgetClass::Long,
        run: concurrent::run,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "model/quiesce-of-a-successor",
        title: "a request after QUIESCE_DEV of a device whose next server has fetched is held back",
        covers: &["model"],
        known_bug: findings::quiesce_bug,
        run: findings::quiesce_of_a_successor,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "model/fetch-of-a-served-tag",
        title: "a tag that has a request is not fetched again while another queue is not complete",
        covers: &["model"],
        known_bug: findings::fetch_of_a_served_bug,
        run: findings::fetch_of_a_served,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "model/start-again-after-stop",
        title: "a device that was stopped and left by its server serves again with the next one",
        covers: &["model"],
        known_bug: findings::started_again_bug,
        run: findings::started_again,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "model/registration-while-a-read-waits",
        title: "REG_BUF of a device that waits for a server does not keep STOP_DEV from it",
        covers: &["model"],
        // Its process cannot end where the bug is.
        budget: BudgetClass::HangCanary,
        known_bug: findings::registration_bug,
        run: findings::registration_while_a_read_waits,
        ..Scenario::DRIVER
    },
];

/// Scenarios that only run with an [`Input`]; not listed.
pub const BY_INPUT: &[Scenario] = &[Scenario {
    id: "model/replay",
    title: "the steps of a reproducer do what the model says",
    covers: &["model"],
    budget: BudgetClass::Long,
    run: replay::run,
    ..Scenario::DRIVER
}];
