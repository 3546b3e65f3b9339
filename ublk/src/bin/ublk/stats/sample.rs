//! A server's numbers, from its beginning or of an interval, as they are shown.

use std::time::Duration;

use serde::Serialize;
use ublk::queue::{CounterSnapshot, DurationsSnapshot, LatencySnapshot, OpClass};
use ublk::server::Status;

/// One device's numbers.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    pub(super) id: u32,
    pub(super) pid: u32,
    pub(super) target: String,
    pub(super) state: String,
    pub(super) queues: u16,
    pub(super) depth: u16,
    /// What `operations` is about; since the server's start where there is none.
    pub(super) interval_ms: Option<u64>,
    /// Of the interval.
    pub(super) operations: Vec<Operation>,
    /// Since the server's start, always.
    pub(super) total: CounterSnapshot,
    /// As `total`, per queue.
    pub(super) counters: Vec<CounterSnapshot>,
}

/// One class of requests.
#[derive(Debug, Serialize)]
pub(super) struct Operation {
    pub(super) op: &'static str,
    pub(super) requests: u64,
    pub(super) bytes: u64,
    /// None where the server does not measure.
    pub(super) latency: Option<Latency>,
}

/// How long a class of requests took, in nanoseconds; each quantile is at most an eighth too high.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) mean_ns: u64,
    pub(super) p50_ns: u64,
    pub(super) p90_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    pub(super) max_ns: u64,
}

impl Sample {
    /// Since the server's start.
    pub(super) fn total(server: &Status) -> Self {
        let total = CounterSnapshot::total(&server.counters);
        let latency = latency(server);
        let operations = OpClass::ALL.map(|op| {
            let (requests, bytes) = counted(&total, op);
            let latency = latency.as_ref().map(|all| Latency::new(all.class(op)));
            Operation { op: op.name(), requests, bytes, latency }
        });
        Self {
            id: server.info.id,
            pid: server.pid,
            target: server.target.clone(),
            state: server.info.state.clone(),
            queues: server.info.queues,
            depth: server.info.depth,
            interval_ms: None,
            operations: operations.into(),
            total,
            counters: server.counters.clone(),
        }
    }

    /// What happened between two answers of one server.
    pub(super) fn between(earlier: &Status, server: &Status, interval: Duration) -> Self {
        let before = CounterSnapshot::total(&earlier.counters);
        let latency =
            latency(server).map(|now| now.since(&LatencySnapshot::total(&earlier.latency)));
        let mut sample = Self::total(server);
        sample.interval_ms = Some(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
        for (operation, op) in sample.operations.iter_mut().zip(OpClass::ALL) {
            let (requests, bytes) = counted(&before, op);
            operation.requests = operation.requests.saturating_sub(requests);
            operation.bytes = operation.bytes.saturating_sub(bytes);
            operation.latency = latency.as_ref().map(|all| Latency::new(all.class(op)));
        }
        sample
    }
}

fn latency(server: &Status) -> Option<LatencySnapshot> {
    (!server.latency.is_empty()).then(|| LatencySnapshot::total(&server.latency))
}

/// Requests and bytes of a class.
fn counted(total: &CounterSnapshot, op: OpClass) -> (u64, u64) {
    match op {
        OpClass::Read => (total.reads, total.bytes_read),
        OpClass::Write => (total.writes, total.bytes_written),
        OpClass::Flush => (total.flushes, 0),
        _ => (total.discards + total.write_zeroes, 0),
    }
}

impl Latency {
    fn new(seen: &DurationsSnapshot) -> Self {
        let quantile = |share| seen.quantile_ns(share).unwrap_or(0);
        Self {
            count: seen.count(),
            mean_ns: seen.mean_ns().unwrap_or(0),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            max_ns: seen.max_ns,
        }
    }
}
