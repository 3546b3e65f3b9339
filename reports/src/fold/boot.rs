//! One boot: the lines of its guest, checked for authenticity and order before anything is believed.
//!
//! A line that contradicts the protocol is a violation, and taints the scenario it speaks of: it is
//! still traced, because "it said pass, on a line that was out of order" tells more than silence.

use std::collections::BTreeSet;

use crate::event::{BootEnd, GuestFacts, GuestLine, HealthFinding, Outcome, Record};

use super::evidence::Kept;
use super::replay::Complaints;

/// What was traced of one boot.
#[derive(Debug)]
pub(super) struct BootTrace<'a> {
    pub(super) kernel: u32,
    pub(super) boot: u32,
    pub(super) shard: u32,
    pub(super) nonce: &'a str,
    pub(super) planned: BTreeSet<&'a str>,
    pub(super) started_at_ms: u64,
    pub(super) ready: Option<Ready>,
    pub(super) refused: Option<String>,
    pub(super) finished: Option<Finished>,
    pub(super) runs: Vec<RunTrace>,
    pub(super) end: Option<End<'a>>,
    pub(super) notes: Vec<String>,
    /// Why no result of this boot can be believed.
    pub(super) distrusted: Option<String>,
    next_seq: u64,
    /// A line that broke off; harmless only as the last one of a machine that died writing it.
    broken_off: Option<(u64, String)>,
}

/// The agent's `ready`.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) at_ms: u64,
    pub(super) facts: GuestFacts,
}

/// The agent's `finished`.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) stopped_early: bool,
}

/// How the virtual machine went away.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) at_ms: u64,
    pub(super) end: &'a BootEnd,
    pub(super) console: &'a str,
    pub(super) splat: bool,
    pub(super) retried: bool,
}

/// What was traced of one scenario in one boot.
#[derive(Debug, Default)]
pub(super) struct RunTrace {
    pub(super) id: String,
    pub(super) started_at_ms: u64,
    pub(super) finish: Option<Finish>,
    pub(super) kept: Kept,
    /// Why its result is not to be believed.
    pub(super) tainted: Option<String>,
}

/// A scenario's end as the agent reported it.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) outcome: Outcome,
    pub(super) duration_ms: u64,
    pub(super) health: Vec<HealthFinding>,
}

impl<'a> BootTrace<'a> {
    pub(super) fn new(
        kernel: u32,
        record: &Record,
        shard: u32,
        nonce: &'a str,
        planned: BTreeSet<&'a str>,
    ) -> Self {
        Self {
            kernel,
            boot: record.boot,
            shard,
            nonce,
            planned,
            started_at_ms: record.at_ms,
            ready: None,
            refused: None,
            finished: None,
            runs: Vec::new(),
            end: None,
            notes: Vec::new(),
            distrusted: None,
            next_seq: 0,
            broken_off: None,
        }
    }

    /// Takes the next line of the guest. `started` holds the ids that any boot of this kernel started.
    pub(super) fn line(
        &mut self,
        at_ms: u64,
        text: &str,
        started: &mut BTreeSet<String>,
        complaints: &mut Complaints,
    ) {
        if let Some((at_ms, what)) = self.broken_off.take() {
            complaints.add(self.kernel, self.boot, at_ms, what);
        }
        let line: GuestLine = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(error) => {
                let what = format!("a line does not parse: {error}");
                if error.is_eof() {
                    self.broken_off = Some((at_ms, what));
                } else {
                    complaints.add(self.kernel, self.boot, at_ms, what);
                }
                return;
            }
        };
        if line.nonce != self.nonce {
            let what = "a line does not carry this boot's nonce; nothing in it is believed";
            complaints.add(self.kernel, self.boot, at_ms, what);
            return;
        }
        let mut wrong = Vec::new();
        if line.seq != self.next_seq {
            wrong.push(format!("message {} came where {} was due", line.seq, self.next_seq));
        }
        self.next_seq = line.seq.saturating_add(1);
        if self.finished.is_some() {
            wrong.push("a message came after the agent had finished".to_owned());
        }
        self.event(at_ms, line.event, started, &mut wrong);
        for what in wrong {
            complaints.add(self.kernel, self.boot, at_ms, what);
        }
    }

    /// Takes the end of the virtual machine.
    pub(super) fn end(&mut self, end: End<'a>, complaints: &mut Complaints) {
        if let Some((at_ms, what)) = self.broken_off.take() {
            if self.finished.is_some() {
                complaints.add(self.kernel, self.boot, at_ms, what);
            } else {
                self.notes.push("the guest's last message broke off".to_owned());
            }
        }
        if end.retried && self.ready.is_some() {
            let what = "a boot was repeated although its agent had been ready";
            complaints.add(self.kernel, self.boot, end.at_ms, what);
        }
        self.end = Some(end);
    }

    /// The scenario that is running, or was when the boot ended.
    pub(super) fn running(&self) -> Option<&RunTrace> {
        self.runs.last().filter(|run| run.finish.is_none())
    }

    /// Scenarios whose end was reported.
    pub(super) fn reported(&self) -> usize {
        self.runs.iter().filter(|run| run.finish.is_some()).count()
    }

    /// Whether the host saw a crash on the console.
    pub(super) fn splat(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.splat)
    }
}
