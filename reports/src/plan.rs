//! What a run is going to do, written down before it does it.
//!
//! The host sends a [`Plan`] to the agent in the guest and keeps it; a scenario that is in the plan and
//! is not reported is an error, however clean the rest looks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Budgets;

/// Version of the plan and event format; both sides refuse another one.
pub const PROTOCOL_VERSION: u32 = 1;

/// Everything one boot of the guest is asked to do. One line of JSON on the virtio-serial port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// [`PROTOCOL_VERSION`] of the writer.
    pub protocol_version: u32,
    /// Random for each boot; every message of the guest repeats it.
    pub nonce: String,
    /// Seed from which every random choice of the scenarios is derived.
    pub seed: u64,
    /// Scaled limits.
    pub budgets: Budgets,
    /// What to run, in this order.
    pub scenarios: Vec<PlannedScenario>,
    /// What else the agent switches on.
    pub debug: DebugOptions,
    /// Handed to each scenario's process: what the model's scenarios are asked to do. Not read by anybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_input: Option<String>,
    /// The same: the server that the server family is asked of, its adapter with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// One scenario of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedScenario {
    /// Catalogue id, as `startup/start-before-fetch`.
    pub id: String,
    /// Wall-clock limit in milliseconds, already scaled.
    pub budget_ms: u64,
    /// What has to be seen for the run to be green.
    pub expect: Expectation,
}

/// What has to be seen of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Expectation {
    /// An ordinary scenario: pass, or skip with a printed probe.
    Pass,
    /// A deliberate disaster that the harness has to catch.
    Canary {
        /// Which disaster.
        canary: Canary,
    },
    /// A scenario that fails because of a bug somebody else has to fix. Passing is an error.
    KnownBug {
        /// Kernel commit or issue.
        reference: String,
    },
}

/// The five deliberate disasters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Canary {
    /// The guest kernel panics: the virtual machine is lost and the console says why.
    Panic,
    /// The scenario never ends: the watchdog reports a hang with blocked-task stacks.
    Hang,
    /// The server changes one byte: the data oracle reports a mismatch.
    CorruptByte,
    /// The kernel prints a WARNING: the health check reports it though the scenario passed.
    Warn,
    /// The server dies of SIGSEGV: the health check reports the segfault.
    Segfault,
}

impl Canary {
    /// All of them; a full run plans every one.
    pub const ALL: [Self; 5] =
        [Self::Panic, Self::Hang, Self::CorruptByte, Self::Warn, Self::Segfault];
}

/// Extra observation, for `vm-debug` and `coverage driver`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugOptions {
    /// Switch on dynamic debug of `ublk_drv` and `io_uring`.
    pub dynamic_debug: bool,
    /// Record a function trace of `ublk_*` and `io_uring_cmd*`.
    pub function_trace: bool,
    /// Dump each control SQE (128 bytes) and I/O command SQE as hex.
    pub sqe_dump: bool,
    /// The deliberate bug that servers are to have; only programs that `cargo xtask mutants` built have any.
    #[serde(default)]
    pub mutant: Option<String>,
    /// Take the driver's branch counters out after each scenario; the kernel has to be built with them.
    #[serde(default)]
    pub driver_counters: bool,
}
