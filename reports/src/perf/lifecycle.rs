//! What a server's beginning, end and replacement took, gathered over its visits at one depth.

use super::event::Measured;
use super::plan::Subject;
use super::report::StartUpResult;
use crate::stats::median;

/// Samples before they are summed up.
#[derive(Debug, Default)]
pub(super) struct Life {
    start_ns: Vec<u64>,
    stop_ns: Vec<u64>,
    recovery_ns: Vec<u64>,
    resident_bytes: Option<u64>,
}

impl Life {
    /// Adds a visit. One whose server is to be killed starts with a recovery asked for and ends with another
    /// server than it began with, so only what it was made for counts of it. A start whose allocations were counted is
    /// dearer by a trap for each, three quarters of it at times, and is no sample.
    pub(super) fn take(&mut self, measured: &Measured) {
        if measured.recovery_ns.is_some() {
            self.recovery_ns.extend(measured.recovery_ns);
            return;
        }
        if measured.start_up.is_some_and(|start| start.allocations.is_none()) {
            self.start_ns.extend(measured.start_up.map(|start| start.elapsed_ns));
            self.stop_ns.extend(measured.stop_ns);
        }
        self.resident_bytes = self.resident_bytes.max(measured.resident_bytes);
    }

    /// The entry of the report; none of a subject that never started.
    pub(super) fn result(self, subject: &Subject, depth: u16) -> Option<StartUpResult> {
        Some(StartUpResult {
            name: subject.name.clone(),
            mode: subject.mode.clone(),
            depth,
            median_ns: median_ns(&self.start_ns)?,
            stop_median_ns: median_ns(&self.stop_ns),
            recovery_median_ns: median_ns(&self.recovery_ns),
            samples_ns: self.start_ns,
            stop_samples_ns: self.stop_ns,
            recovery_samples_ns: self.recovery_ns,
            resident_bytes: self.resident_bytes,
        })
    }
}

fn median_ns(samples: &[u64]) -> Option<u64> {
    let samples: Vec<f64> = samples.iter().map(|ns| *ns as f64).collect();
    (!samples.is_empty()).then(|| median(&samples) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::event::StartUp;
    use super::*;

    /// Ours took 8.0 ms with a probe on each of its allocations: no sample of a start without.
    #[test]
    fn a_start_whose_allocations_were_counted_is_no_sample() {
        let started = |elapsed_ns, allocations| Measured {
            start_up: Some(StartUp { elapsed_ns, allocations }),
            stop_ns: Some(1),
            resident_bytes: Some(elapsed_ns),
            ..Measured::default()
        };
        let mut life = Life::default();
        life.take(&started(2, None));
        life.take(&started(8, Some(4000)));
        assert_eq!((life.start_ns, life.stop_ns), (vec![2], vec![1]));
        assert_eq!(life.resident_bytes, Some(8));
    }
}
