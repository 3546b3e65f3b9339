//! A device's numbers for people: a line about the device, a table of its requests, a line of the rest.

use std::fmt::Write;

use super::sample::{Operation, Sample};
use crate::{out, size};

/// Some lines of text.
pub(super) fn render(sample: &Sample) -> String {
    let mut text = String::new();
    // A String takes whatever it is given.
    let _ = write_all(&mut text, sample);
    text
}

fn write_all(text: &mut String, sample: &Sample) -> std::fmt::Result {
    let Sample { id, pid, target, state, queues, depth, .. } = sample;
    let title = out::bold(&format!("/dev/ublkb{id}"));
    writeln!(text, "{title}  {target}, {state}, {queues} x {depth}, pid {pid}")?;
    let measured = sample.operations.iter().any(|operation| operation.latency.is_some());
    let seconds = sample.interval_ms.map(|ms| (ms as f64 / 1000.0).max(0.001));
    let (requests, bytes) = match seconds {
        None => ("requests", "bytes"),
        Some(_) => ("requests/s", "bytes/s"),
    };
    let durations = if measured {
        format!(" {:>9} {:>9} {:>9} {:>9} {:>9}", "mean", "p50", "p99", "p99.9", "max")
    } else {
        String::new()
    };
    writeln!(text, "  {:<6} {requests:>12} {bytes:>11}{durations}", "")?;
    for operation in &sample.operations {
        write_operation(text, operation, seconds)?;
    }
    let total = &sample.total;
    let per_request = total.enters as f64 / answered(sample).max(1) as f64;
    writeln!(
        text,
        "  in all {} errors, {} panics, {} enters ({per_request:.2} per request), at most {} in flight",
        total.errors, total.panics, total.enters, total.in_flight_max
    )
}

fn answered(sample: &Sample) -> u64 {
    let total = &sample.total;
    total.reads + total.writes + total.flushes + total.discards + total.write_zeroes
}

fn write_operation(
    text: &mut String,
    operation: &Operation,
    seconds: Option<f64>,
) -> std::fmt::Result {
    let rate = |count: u64| seconds.map_or(count, |seconds| (count as f64 / seconds) as u64);
    let (requests, bytes) = (rate(operation.requests), size::format(rate(operation.bytes)));
    write!(text, "  {:<6} {requests:>12} {bytes:>11}", operation.op)?;
    if let Some(seen) = operation.latency.as_ref().filter(|seen| seen.count > 0) {
        for ns in [seen.mean_ns, seen.p50_ns, seen.p99_ns, seen.p999_ns, seen.max_ns] {
            write!(text, " {:>9}", duration(ns))?;
        }
    }
    writeln!(text)
}

/// Three or four digits and a unit.
fn duration(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}
