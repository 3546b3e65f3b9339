//! What the host asks of a scenario of the model: how long, or which steps. Comes in an environment variable, because a
//! scenario is called with nothing but its id, its seed and its budgets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plant::Plant;
use super::step::Step;
use crate::context::{Context, During, Stop};
use crate::fuzz::Act;

/// The variable, which holds an [`Input`] as JSON.
pub const VARIABLE: &str = "UBLK_MODEL_INPUT";

/// Time of a scenario when nobody asks for more, on a machine that is not emulated, in milliseconds.
const SHORT_MS: u64 = 700;

/// What is asked for. All of it may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Input {
    /// How long to go on, in milliseconds.
    pub time_ms: Option<u64>,
    /// Steps to do instead of random ones.
    pub steps: Vec<Step>,
    /// Acts to do instead, of a reproducer of the fuzzer's.
    pub acts: Vec<Act>,
    /// Cases that the fuzzer begins with, by scenario.
    pub corpus: BTreeMap<String, Vec<Vec<Act>>>,
    /// How often to do them; 0 is once.
    pub times: u32,
    /// Walks of `model/orders` that an earlier machine has done; the order of walks follows from `orders_seed`.
    pub orders_done: u64,
    /// Seed of the order of walks; none takes the run's.
    pub orders_seed: Option<u64>,
    /// Also does steps that the model keeps out of, see [`World::forbids`](super::World::forbids).
    pub bold: bool,
    /// Turns one of the model's expectations round, to see that it is found.
    pub plant: Option<Plant>,
}

impl Input {
    /// What this process was given.
    pub(crate) fn read() -> Result<Self, Stop> {
        match std::env::var(VARIABLE) {
            Ok(text) => serde_json::from_str(&text).during(format_args!("read {VARIABLE}")),
            Err(_) => Ok(Self::default()),
        }
    }

    pub(crate) fn time_limit(&self, context: &Context) -> Duration {
        let short_ms = SHORT_MS * u64::from(context.budgets.scale);
        Duration::from_millis(self.time_ms.unwrap_or(short_ms))
    }
}
