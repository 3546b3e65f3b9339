//! Reads the records of a run in order and sorts them into boots.
//!
//! The host writes these records, so a wrong one is a bug of ours and not of the guest. It is reported
//! all the same: a record nobody can have made honestly must not end in a verdict.

use std::collections::BTreeSet;

use crate::event::{Record, Seen};
use crate::plan::PlannedScenario;
use crate::report::Violation;
use crate::splat;

use super::KernelInput;
use super::boot::{BootTrace, End};

/// Violations kept in a report; the first ones tell the story, the rest is counted.
const VIOLATIONS_MAX: usize = 100;

/// The violations found so far.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    pub(super) kept: Vec<Violation>,
    pub(super) cut: u64,
}

impl Complaints {
    pub(super) fn add(&mut self, kernel: u32, boot: u32, at_ms: u64, what: impl Into<String>) {
        if self.kept.len() < VIOLATIONS_MAX {
            self.kept.push(Violation { kernel, boot, at_ms, what: what.into() });
        } else {
            self.cut += 1;
        }
    }

    fn of_record(&mut self, record: &Record, what: impl Into<String>) {
        self.add(record.kernel, record.boot, record.at_ms, what);
    }
}

/// What was traced of one kernel.
#[derive(Debug)]
pub(super) struct KernelTrace<'a> {
    pub(super) index: u32,
    planned: BTreeSet<&'a str>,
    pub(super) boots: Vec<BootTrace<'a>>,
    /// Ids that some boot of this kernel has started.
    started: BTreeSet<String>,
}

impl<'a> KernelTrace<'a> {
    pub(super) fn new(index: u32, planned: &'a [PlannedScenario]) -> Self {
        Self {
            index,
            planned: planned.iter().map(|scenario| scenario.id.as_str()).collect(),
            boots: Vec::new(),
            started: BTreeSet::new(),
        }
    }

    /// Takes the next record of this kernel.
    pub(super) fn take(&mut self, record: &'a Record, complaints: &mut Complaints) {
        if let Seen::BootStarted { nonce, planned, shard } = &record.seen {
            self.begin(record, nonce, planned, *shard, complaints);
            return;
        }
        let open = self.boots.iter_mut().rev().find(|b| b.boot == record.boot && b.end.is_none());
        let Some(boot) = open else {
            complaints.of_record(record, "a record of a boot that is not running");
            return;
        };
        match &record.seen {
            Seen::BootStarted { .. } => {}
            Seen::Line { text } => boot.line(record.at_ms, text, &mut self.started, complaints),
            Seen::BootEnded { end, console, console_splat, retried } => {
                // The flag is the host's reading of the same text; either one is enough.
                let splat = *console_splat || splat::contains_crash(console);
                let retried = *retried;
                boot.end(End { at_ms: record.at_ms, end, console, splat, retried }, complaints);
            }
        }
    }

    fn begin(
        &mut self,
        record: &'a Record,
        nonce: &'a str,
        planned: &'a [String],
        shard: u32,
        complaints: &mut Complaints,
    ) {
        if self.boots.iter().any(|boot| boot.shard == shard && boot.end.is_none()) {
            complaints.of_record(record, "a boot began before the one before it had ended");
        }
        if record.boot as usize != self.boots.len() {
            let what =
                format!("boot {} began where boot {} was due", record.boot, self.boots.len());
            complaints.of_record(record, what);
        }
        if nonce.is_empty() {
            complaints.of_record(record, "a boot began without a nonce");
        }
        let mut ids = BTreeSet::new();
        for id in planned {
            if !self.planned.contains(id.as_str()) {
                complaints.of_record(record, format!("boot plans {id}, which the run does not"));
            }
            // Machines may run side by side, but never on the same scenario.
            let running = self.boots.iter().filter(|boot| boot.end.is_none());
            for other in running.filter(|boot| boot.planned.contains(id.as_str())) {
                let what = format!("boot plans {id}, which boot {} is running", other.boot);
                complaints.of_record(record, what);
            }
            if !ids.insert(id.as_str()) {
                complaints.of_record(record, format!("boot plans {id} twice"));
            }
        }
        self.boots.push(BootTrace::new(self.index, record, shard, nonce, ids));
    }
}

/// Sorts `records` into the boots of `kernels`.
pub(super) fn replay<'a>(
    kernels: &'a [KernelInput],
    records: &'a [Record],
    complaints: &mut Complaints,
) -> Vec<KernelTrace<'a>> {
    let mut traces: Vec<_> =
        (0..).zip(kernels).map(|(index, k)| KernelTrace::new(index, &k.planned)).collect();
    let mut nonces = BTreeSet::new();
    let mut now_ms = 0;
    for record in records {
        if record.at_ms < now_ms {
            complaints.of_record(record, format!("the record goes back in time from {now_ms} ms"));
        }
        now_ms = record.at_ms;
        if let Seen::BootStarted { nonce, .. } = &record.seen
            && !nonces.insert(nonce)
        {
            complaints.of_record(record, "two boots have the same nonce");
        }
        match traces.get_mut(record.kernel as usize) {
            Some(trace) => trace.take(record, complaints),
            None => complaints.of_record(record, "a record of a kernel that the run does not have"),
        }
    }
    traces
}
