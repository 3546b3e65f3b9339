//! What a queue has done, readable from any thread while it does it: the proof that bytes went through
//! this server, and the first thing to look at when it is slow.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::{Descriptor, LatencyHistogram};
use crate::target::Op;

/// The counters of one queue. Each has one writer, the queue's thread; a reader may see one request's
/// effect on some and not yet on others.
#[derive(Debug, Default)]
pub struct QueueCounters {
    reads: AtomicU64,
    writes: AtomicU64,
    flushes: AtomicU64,
    discards: AtomicU64,
    write_zeroes: AtomicU64,
    fua_writes: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
    withheld: AtomicU64,
    shared: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    enters: AtomicU64,
    in_flight_max: AtomicU64,
    /// Only where it is wanted: it costs two looks at the clock for each batch.
    latency: Option<Box<LatencyHistogram>>,
}

/// The counters of one queue, or the sum of several, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CounterSnapshot {
    /// Reads answered, with success or not.
    pub reads: u64,
    /// Writes answered.
    pub writes: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Discards answered.
    pub discards: u64,
    /// Write-zeroes answered.
    pub write_zeroes: u64,
    /// Those of the writes that asked to be durable at once.
    pub fua_writes: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Panics of the target that were caught.
    pub panics: u64,
    /// Requests deliberately never answered.
    pub withheld: u64,
    /// Requests whose bytes were in shared memory, and were found there; 0 of a server too old to have counted.
    #[serde(default)]
    pub shared: u64,
    /// Bytes of successful reads.
    pub bytes_read: u64,
    /// Bytes of successful writes.
    pub bytes_written: u64,
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// The most requests the server owned at once.
    pub in_flight_max: u64,
}

/// A single writer needs no atomic read-modify-write.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl QueueCounters {
    /// Counters of a queue whose latencies shall be known too.
    #[must_use]
    pub fn with_latency() -> Self {
        Self { latency: Some(Box::default()), ..Self::default() }
    }

    /// How long requests took; none unless asked for.
    pub fn latency(&self) -> Option<&LatencyHistogram> {
        self.latency.as_deref()
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> CounterSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CounterSnapshot {
            reads: load(&self.reads),
            writes: load(&self.writes),
            flushes: load(&self.flushes),
            discards: load(&self.discards),
            write_zeroes: load(&self.write_zeroes),
            fua_writes: load(&self.fua_writes),
            errors: load(&self.errors),
            panics: load(&self.panics),
            withheld: load(&self.withheld),
            shared: load(&self.shared),
            bytes_read: load(&self.bytes_read),
            bytes_written: load(&self.bytes_written),
            enters: load(&self.enters),
            in_flight_max: load(&self.in_flight_max),
        }
    }

    /// A request is answered with `result`.
    pub(super) fn answered(&self, descriptor: &Descriptor, result: i32) {
        match descriptor.op {
            Op::Read => add(&self.reads, 1),
            Op::Write => add(&self.writes, 1),
            Op::Flush => add(&self.flushes, 1),
            Op::Discard => add(&self.discards, 1),
            Op::WriteZeroes => add(&self.write_zeroes, 1),
            _ => {}
        }
        if descriptor.op == Op::Write && descriptor.fua {
            add(&self.fua_writes, 1);
        }
        if descriptor.shared.is_some() {
            add(&self.shared, 1);
        }
        let Ok(bytes) = u64::try_from(result) else {
            add(&self.errors, 1);
            return;
        };
        match descriptor.op {
            Op::Read => add(&self.bytes_read, bytes),
            Op::Write => add(&self.bytes_written, bytes),
            _ => {}
        }
    }

    /// A request was refused that nothing here understands.
    pub(super) fn refused(&self) {
        add(&self.errors, 1);
    }

    pub(super) fn panicked(&self) {
        add(&self.panics, 1);
    }

    pub(super) fn withheld(&self) {
        add(&self.withheld, 1);
    }

    pub(super) fn set_enters(&self, enters: u64) {
        self.enters.store(enters, Ordering::Relaxed);
    }

    pub(super) fn owned_now(&self, owned: u64) {
        if owned > self.in_flight_max.load(Ordering::Relaxed) {
            self.in_flight_max.store(owned, Ordering::Relaxed);
        }
    }
}

impl CounterSnapshot {
    /// The sum over queues; of `in_flight_max` the largest, for the queues' peaks need not coincide.
    pub fn total<'a>(queues: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut total = Self::default();
        for queue in queues {
            total.reads += queue.reads;
            total.writes += queue.writes;
            total.flushes += queue.flushes;
            total.discards += queue.discards;
            total.write_zeroes += queue.write_zeroes;
            total.fua_writes += queue.fua_writes;
            total.errors += queue.errors;
            total.panics += queue.panics;
            total.withheld += queue.withheld;
            total.shared += queue.shared;
            total.bytes_read += queue.bytes_read;
            total.bytes_written += queue.bytes_written;
            total.enters += queue.enters;
            total.in_flight_max = total.in_flight_max.max(queue.in_flight_max);
        }
        total
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p ublk --lib loom_tests`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A reader beside the one writer: what it sees never shrinks, and nothing is lost in the end.
    #[test]
    fn a_reader_sees_counters_grow_and_none_is_lost() {
        loom::model(|| {
            let counters = Arc::new(QueueCounters::default());
            let writer = {
                let counters = Arc::clone(&counters);
                thread::spawn(move || {
                    for owned in 1..=2 {
                        counters.panicked();
                        counters.owned_now(owned);
                    }
                })
            };
            let see = || {
                let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                (load(&counters.panics), load(&counters.in_flight_max))
            };
            let (first, second) = (see(), see());
            assert!(first.0 <= second.0 && first.1 <= second.1 && second.0 <= 2);
            writer.join().unwrap();
            assert_eq!(see(), (2, 2));
        });
    }
}
