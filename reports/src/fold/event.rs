//! What each message of the guest may follow, and what it does to the trace of its boot.

use std::collections::BTreeSet;

use crate::event::{GuestEvent, GuestFacts};
use crate::plan::PROTOCOL_VERSION;

use super::boot::{BootTrace, Finish, Finished, Ready, RunTrace};

impl BootTrace<'_> {
    /// Takes one message. `wrong` holds what is already wrong with its line and gets what is found here.
    pub(super) fn event(
        &mut self,
        at_ms: u64,
        event: GuestEvent,
        started: &mut BTreeSet<String>,
        wrong: &mut Vec<String>,
    ) {
        let greets = matches!(event, GuestEvent::Ready(_) | GuestEvent::Refused { .. });
        if !greets && self.ready.is_none() {
            wrong.push("a message came before the agent was ready".to_owned());
        }
        match event {
            GuestEvent::Ready(facts) => self.on_ready(at_ms, *facts, wrong),
            GuestEvent::Refused { reason } => self.on_refused(reason, wrong),
            GuestEvent::ScenarioStarted { id } => self.on_started(at_ms, id, started, wrong),
            GuestEvent::Step { id, text } => {
                self.speaks_of(&id, wrong).kept.step(&text);
            }
            GuestEvent::Evidence { id, name, text } => {
                self.speaks_of(&id, wrong).kept.evidence(&name, text);
            }
            // Read beside the report, by whoever asked for them; they decide nothing.
            GuestEvent::Counters { id, .. } => drop(self.speaks_of(&id, wrong)),
            GuestEvent::ScenarioFinished { id, outcome, duration_ms, health } => {
                self.on_scenario_finished(&id, Finish { outcome, duration_ms, health }, wrong);
            }
            GuestEvent::Finished { reported, stopped_early } => {
                self.on_finished(reported, stopped_early, wrong);
            }
        }
    }

    fn on_ready(&mut self, at_ms: u64, facts: GuestFacts, wrong: &mut Vec<String>) {
        if self.ready.is_some() || self.refused.is_some() {
            wrong.push("the agent greeted twice".to_owned());
        }
        if facts.protocol_version != PROTOCOL_VERSION {
            wrong.push(format!(
                "the agent speaks protocol version {}, this host {PROTOCOL_VERSION}",
                facts.protocol_version
            ));
        }
        if let Some(what) = wrong.first() {
            self.distrusted.get_or_insert_with(|| what.clone());
        }
        if self.ready.is_none() {
            self.ready = Some(Ready { at_ms, facts });
        }
    }

    fn on_refused(&mut self, reason: String, wrong: &mut Vec<String>) {
        if self.ready.is_some() || self.refused.is_some() {
            wrong.push("the agent refused its plan after it had greeted".to_owned());
        }
        self.refused.get_or_insert(reason);
    }

    fn on_started(
        &mut self,
        at_ms: u64,
        id: String,
        started: &mut BTreeSet<String>,
        wrong: &mut Vec<String>,
    ) {
        if !self.planned.contains(id.as_str()) {
            wrong.push(format!("{id} was started, which is not in this boot's plan"));
        }
        if !started.insert(id.clone()) {
            wrong.push(format!("{id} was started a second time"));
        }
        if let Some(running) = self.running() {
            wrong.push(format!("{id} was started while {} was running", running.id));
        }
        let tainted = wrong.first().cloned();
        self.runs.push(RunTrace { id, started_at_ms: at_ms, tainted, ..RunTrace::default() });
    }

    fn on_scenario_finished(&mut self, id: &str, finish: Finish, wrong: &mut Vec<String>) {
        if self.runs.iter().any(|run| run.id == id && run.finish.is_some()) {
            wrong.push(format!("{id} finished a second time"));
        } else if self.running().is_none_or(|run| run.id != id) {
            wrong.push(format!("{id} finished and was not running"));
        }
        let run = self.speaks_of(id, wrong);
        run.finish.get_or_insert(finish);
    }

    fn on_finished(&mut self, reported: u32, stopped_early: bool, wrong: &mut Vec<String>) {
        if reported as usize != self.reported() {
            wrong.push(format!(
                "the agent counts {reported} reported scenarios, the host {}",
                self.reported()
            ));
        }
        if let Some(run) = self.runs.last_mut().filter(|run| run.finish.is_none()) {
            let what = format!("the agent finished while {} was running", run.id);
            run.tainted.get_or_insert_with(|| what.clone());
            wrong.push(what);
        }
        if !stopped_early && self.reported() < self.planned.len() {
            wrong.push(format!(
                "the agent finished with {} of {} scenarios, and not early",
                self.reported(),
                self.planned.len()
            ));
        }
        self.finished.get_or_insert(Finished { stopped_early });
    }

    /// The trace that a message about `id` belongs to, tainted by what is wrong with the message.
    fn speaks_of(&mut self, id: &str, wrong: &mut Vec<String>) -> &mut RunTrace {
        let at = match self.runs.iter().rposition(|run| run.id == id) {
            Some(at) => at,
            None => {
                wrong.push(format!("a message about {id}, which was not started in this boot"));
                self.runs.push(RunTrace { id: id.to_owned(), ..RunTrace::default() });
                self.runs.len() - 1
            }
        };
        let run = &mut self.runs[at];
        if let Some(what) = wrong.first() {
            run.tainted.get_or_insert_with(|| what.clone());
        }
        run
    }
}
