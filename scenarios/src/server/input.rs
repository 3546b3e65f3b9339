//! The server that the host wants to be tested. Comes in an environment variable, as the model's input does, because a
//! scenario is called with nothing but its id, its seed and its budgets.

use serde::{Deserialize, Serialize};

use super::ability::Ability;
use super::adapter::Adapter;
use super::words::Word;
use crate::context::{Context, During, Stop};
use crate::rig;

/// The variable, which holds a [`ServerInput`] as JSON.
pub const VARIABLE: &str = "UBLK_SERVER";

/// An adapter, and where its program is in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInput {
    /// The adapter.
    pub adapter: Adapter,
    /// What `{program}` is.
    pub program: String,
}

impl ServerInput {
    /// What this process was given.
    pub(super) fn read() -> Result<Self, Stop> {
        let text = std::env::var(VARIABLE).map_err(|_| {
            Stop::error("no server was named: these scenarios run with `vm-e2e --server NAME`")
        })?;
        serde_json::from_str(&text).during(format_args!("read {VARIABLE}"))
    }

    /// Skips unless the adapter says that the server can do it, and the driver reports that it can.
    pub(super) fn need(&self, context: &mut Context, ability: Ability) -> Result<(), Stop> {
        let Adapter { name, can, lacks, .. } = &self.adapter;
        let probe = format!("adapter {name}: {ability}");
        if let Some(why) = lacks.get(&ability) {
            return Err(Stop::skip(probe, format_args!("lacks it: {why}")));
        }
        if !can.contains_key(&ability) {
            return Err(Stop::skip(probe, "not under `can`"));
        }
        // What no flag stands for needs no driver that can be asked.
        rig::offered(ability.features())?;
        context.step(format_args!("{probe}: under `can`"));
        Ok(())
    }

    /// Skips unless the start can be told it.
    pub(super) fn need_word(&self, word: Word) -> Result<(), Stop> {
        if self.adapter.takes(word) {
            return Ok(());
        }
        let name = &self.adapter.name;
        Err(Stop::skip(format_args!("adapter {name}: start.argv"), format_args!("has no {word}")))
    }
}
