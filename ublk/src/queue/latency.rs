//! When requests arrived and when their answers left, with two looks at the clock for a batch and none
//! for a request.
//!
//! All requests that one wait brings have arrived by its end, and all answers leave together with the next
//! one: those two moments are what an application sees of a server, so nothing is lost by not looking more
//! often. Only a queue whose latency is wanted has a recorder.

use std::time::Instant;

use super::{LatencyHistogram, OpClass};

/// The times of the requests of one worker. Allocates when it is made, and then no more.
#[derive(Debug)]
pub(super) struct Recorder {
    epoch: Instant,
    /// When the batch that is being taken in arrived.
    batch_ns: u64,
    /// By slot, when its request arrived.
    arrived_ns: Box<[u64]>,
    /// Answers that leave with the next submission. Never more than there are slots.
    leaving: Vec<(u32, OpClass)>,
}

impl Recorder {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            epoch: Instant::now(),
            batch_ns: 0,
            arrived_ns: vec![0; slots].into_boxed_slice(),
            leaving: Vec::with_capacity(slots),
        }
    }

    /// The time, for the two methods that want it.
    pub(super) fn now_ns(&self) -> u64 {
        // 584 years.
        self.epoch.elapsed().as_nanos() as u64
    }

    /// A wait has returned; what it brought arrived at `now_ns`.
    pub(super) fn batch_arrived(&mut self, now_ns: u64) {
        self.batch_ns = now_ns;
    }

    /// This slot's request was in the batch.
    pub(super) fn arrived(&mut self, slot: u32) {
        if let Some(arrived_ns) = self.arrived_ns.get_mut(slot as usize) {
            *arrived_ns = self.batch_ns;
        }
    }

    /// This slot's answer is ready.
    pub(super) fn answered(&mut self, slot: u32, op: OpClass) {
        if self.leaving.len() < self.leaving.capacity() {
            self.leaving.push((slot, op));
        }
    }

    /// The answers leave at `now_ns`; each is recorded where its slot belongs.
    pub(super) fn batch_leaves<'a>(
        &mut self,
        now_ns: u64,
        histogram_of: impl Fn(u32) -> Option<&'a LatencyHistogram>,
    ) {
        for (slot, op) in self.leaving.drain(..) {
            let arrived_ns = self.arrived_ns.get(slot as usize).copied().unwrap_or(now_ns);
            if let Some(histogram) = histogram_of(slot) {
                histogram.record(op, now_ns.saturating_sub(arrived_ns));
            }
        }
    }

    /// Whether the next submission takes answers along.
    pub(super) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_took_from_its_batchs_arrival_to_its_answers_departure() {
        let histogram = LatencyHistogram::default();
        let mut recorder = Recorder::new(3);
        recorder.batch_arrived(1000);
        recorder.arrived(0);
        recorder.arrived(2);
        recorder.answered(0, OpClass::Read);
        recorder.batch_leaves(1100, |_| Some(&histogram));
        // The other one is still with the target when the next batch comes.
        recorder.batch_arrived(2000);
        recorder.arrived(1);
        recorder.answered(1, OpClass::Write);
        recorder.answered(2, OpClass::Flush);
        assert!(recorder.has_leaving());
        recorder.batch_leaves(2500, |_| Some(&histogram));
        assert!(!recorder.has_leaving());
        let seen = histogram.snapshot();
        assert_eq!([seen.read.sum_ns, seen.write.sum_ns, seen.flush.sum_ns], [100, 500, 1500]);
        assert_eq!([seen.read.count(), seen.write.count(), seen.flush.count()], [1; 3]);
    }

    #[test]
    fn a_queue_that_breaks_its_own_rules_loses_a_measurement_and_no_more() {
        let histogram = LatencyHistogram::default();
        let mut recorder = Recorder::new(1);
        recorder.arrived(7);
        for _ in 0..5 {
            recorder.answered(7, OpClass::Read);
        }
        recorder.batch_leaves(5, |_| Some(&histogram));
        assert!(histogram.snapshot().read.count() <= 5);
    }
}
