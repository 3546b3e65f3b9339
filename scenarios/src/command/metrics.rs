//! Numbers are true: what was sent is what is counted, measured and told, in each of the forms.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use serde_json::Value;

use super::ran::{Daemon, Running, Scratch, json, run_to};
use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, Stop};
use crate::process::check_no_nodes;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "command/stats-are-what-was-sent",
        title: "stats read under load only grow, and end with exactly the requests, bytes and latencies sent",
        covers: &["cli.stats", "S1"],
        run: are_what_was_sent,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/prometheus-says-what-stats-say",
        title: "the Prometheus text is well formed, and its numbers are those of the JSON",
        covers: &["cli.stats"],
        run: prometheus_agrees,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/stats-watch-ends-with-the-server",
        title: "a watch shows each interval's requests, and ends when the server does",
        covers: &["cli.stats"],
        run: watch_ends,
        ..Scenario::SERVER
    },
];

const WRITES: u64 = 150;
const READS: u64 = 100;
const FLUSHES: u64 = 7;
const WRITE_BYTES: u64 = 4096;
const READ_BYTES: u64 = 16 << 10;

/// A disk with a cache of its own, so that flushes get to the server, which measures.
fn measured(context: &mut Context, file: &Scratch) -> Result<Daemon, Stop> {
    let path = file.text();
    let arguments = ["file", "--path", &path, "--size", "8M", "--queues", "2", "--latency"];
    Daemon::start(context, &arguments)
}

fn stats(context: &mut Context, id: &str) -> Result<Value, Stop> {
    let mut list: Vec<Value> = json(context, &["stats", id, "--json"])?;
    list.pop().ok_or_else(|| Stop::error("stats of one device are an empty list"))
}

fn send(device: &BlockDevice) -> std::io::Result<()> {
    let write = AlignedBuffer::zeroed(WRITE_BYTES as usize);
    let mut read = AlignedBuffer::zeroed(READ_BYTES as usize);
    for number in 0..WRITES {
        device.write_at(number * WRITE_BYTES, &write)?;
        if number < READS {
            device.read_at(number * READ_BYTES, &mut read)?;
        }
        if number < FLUSHES {
            device.flush()?;
        }
    }
    Ok(())
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(u64::MAX)
}

/// Requests, bytes and measured latencies of each class, by its name.
fn operations(sample: &Value) -> BTreeMap<String, (u64, u64, u64)> {
    let list = sample["operations"].as_array().cloned().unwrap_or_default();
    let entry = |operation: &Value| {
        let name = operation["op"].as_str().unwrap_or_default().to_owned();
        let measured = number(&operation["latency"], "count");
        (name, (number(operation, "requests"), number(operation, "bytes"), measured))
    };
    list.iter().map(entry).collect()
}

fn are_what_was_sent(context: &mut Context) -> Result<String, Stop> {
    let file = Scratch::new("disk");
    let daemon = measured(context, &file)?;
    let device = BlockDevice::open(&daemon.live.block_device, context.command_timeout())?;
    let before = operations(&stats(context, &daemon.id())?);
    let done = AtomicBool::new(false);
    let (sent, looks) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send(&device);
            done.store(true, Ordering::Relaxed);
            sent
        });
        let looks = look_on(context, &daemon.id(), &done);
        (sender.join(), looks)
    });
    let looks = looks?;
    sent.map_err(|_| Stop::error("the sender panicked"))??;
    let after_sample = stats(context, &daemon.id())?;
    let after = operations(&after_sample);
    for (op, requests, bytes) in [
        ("read", READS, READS * READ_BYTES),
        ("write", WRITES, WRITES * WRITE_BYTES),
        ("flush", FLUSHES, 0),
        ("other", 0, 0),
    ] {
        let (was, is) = (before[op], after[op]);
        let seen = (is.0 - was.0, is.1 - was.1, is.2 - was.2);
        let what = format!("requests, bytes and latencies of {op}");
        context.check_eq(FailureKind::State, what, &seen, &(requests, bytes, requests))?;
    }
    check_latencies(context, &after_sample)?;
    context.check_eq(
        FailureKind::State,
        "errors",
        &number(&after_sample["total"], "errors"),
        &0,
    )?;
    drop(device);
    daemon.signal(Signal::SIGTERM)?;
    daemon.check_ended(context)?;
    check_no_nodes(context, daemon.live.id)?;
    Ok(format!("{} requests, looked at {looks} times meanwhile", WRITES + READS + FLUSHES))
}

/// Reads stats until `done`; no number may ever fall.
fn look_on(context: &mut Context, id: &str, done: &AtomicBool) -> Result<u32, Stop> {
    let mut looks = 0;
    let mut last = BTreeMap::new();
    while !done.load(Ordering::Relaxed) || looks == 0 {
        let now = operations(&stats(context, id)?);
        for (op, seen) in &now {
            let earlier: (u64, u64, u64) = last.get(op).copied().unwrap_or_default();
            let grows = seen.0 >= earlier.0 && seen.1 >= earlier.1 && seen.2 >= earlier.2;
            let what = format_args!("{op} only grows ({earlier:?}, {seen:?})");
            context.check(FailureKind::State, what, grows)?;
        }
        last = now;
        looks += 1;
    }
    Ok(looks)
}

/// Quantiles are in order, and a request takes some time but less than the scenario.
fn check_latencies(context: &mut Context, sample: &Value) -> Result<(), Stop> {
    for operation in sample["operations"].as_array().into_iter().flatten() {
        let latency = &operation["latency"];
        if number(latency, "count") == 0 {
            continue;
        }
        let steps = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
        let times = steps.map(|name| number(latency, name));
        let mean = number(latency, "mean_ns");
        let sound = times.is_sorted()
            && times[0] > 0
            && (1..=times[4]).contains(&mean)
            && times[4] < 60_000_000_000;
        context.check(FailureKind::State, format_args!("{operation} is possible"), sound)?;
    }
    Ok(())
}

/// Series of a Prometheus text, by their names with labels. Anything that is not the format is an error.
fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let mut series = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let (kind, rest) = head.split_once(' ').ok_or(line)?;
            let name = rest.split(' ').next().unwrap_or_default();
            if kind != "HELP" && kind != "TYPE" {
                return Err(format!("{line:?} is no head"));
            }
            name.clone_into(&mut family);
            continue;
        }
        let (name, value) = line.rsplit_once(' ').ok_or(line)?;
        let labels =
            name.strip_prefix(&family).ok_or_else(|| format!("{line:?} below {family}"))?;
        let labels =
            labels.trim_start_matches(['_', 'b', 'u', 'c', 'k', 'e', 't', 's', 'm', 'o', 'n']);
        let inner = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or(line)?;
        for label in inner.split(',') {
            let (_, quoted) = label.split_once('=').ok_or(line)?;
            if quoted.len() < 2 || !quoted.starts_with('"') || !quoted.ends_with('"') {
                return Err(format!("{label:?} is no label"));
            }
        }
        let value: f64 = value.parse().map_err(|_| format!("{line:?} has no number"))?;
        if series.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(series)
}

fn prometheus_agrees(context: &mut Context) -> Result<String, Stop> {
    let file = Scratch::new("disk");
    let daemon = measured(context, &file)?;
    let device = BlockDevice::open(&daemon.live.block_device, context.command_timeout())?;
    send(&device)?;
    drop(device);
    let sample = stats(context, &daemon.id())?;
    let text = run_to(context, 0, &["stats", &daemon.id(), "--prometheus"])?.stdout;
    context.evidence("prometheus", &text);
    let series = parse(&text).map_err(|wrong| Stop::fail(FailureKind::State, wrong))?;
    context.check(FailureKind::State, "it ends with a newline", text.ends_with('\n'))?;
    // Of all queues together: each has its own series.
    let sum = |name: &str, op: &str| -> u64 {
        let labels = [format!("device=\"ublkb{}\"", daemon.live.id), format!("op=\"{op}\"")];
        let of =
            |key: &str| key.starts_with(name) && labels.iter().all(|label| key.contains(label));
        series.iter().filter(|(key, _)| of(key)).map(|(_, value)| *value as u64).sum()
    };
    for (op, (requests, bytes, measured)) in operations(&sample) {
        if op != "other" {
            let told = sum("ublk_requests_total{", &op);
            context.check_eq(FailureKind::State, format!("{op} requests"), &told, &requests)?;
        }
        if bytes > 0 {
            let told = sum("ublk_request_bytes_total{", &op);
            context.check_eq(FailureKind::State, format!("{op} bytes"), &told, &bytes)?;
        }
        let told = sum("ublk_request_duration_seconds_count{", &op);
        context.check_eq(FailureKind::State, format!("{op} latencies"), &told, &measured)?;
    }
    let ends: Vec<(&String, &f64)> =
        series.iter().filter(|(key, _)| key.contains("le=\"+Inf\"")).collect();
    context.check_eq(FailureKind::State, "histograms (2 queues, 4 classes)", &ends.len(), &8)?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.check_ended(context)?;
    check_no_nodes(context, daemon.live.id)?;
    Ok(format!("{} series", series.len()))
}

fn watch_ends(context: &mut Context) -> Result<String, Stop> {
    let daemon = Daemon::start(context, &["ram", "--size", "8M"])?;
    let id = daemon.id();
    let device = BlockDevice::open(&daemon.live.block_device, context.command_timeout())?;
    let watch = Running::start(context, &["stats", &id, "--watch", "0.2", "--json"])?;
    // Some intervals' worth of work, then the end.
    let begin = Instant::now();
    let buffer = AlignedBuffer::zeroed(4096);
    let mut wrote: u64 = 0;
    while begin.elapsed() < Duration::from_millis(1200) {
        device.write_at((wrote % 2048) * 4096, &buffer)?;
        wrote += 1;
    }
    // The last full interval is seen before the server goes.
    std::thread::sleep(Duration::from_millis(500) + context.quiet());
    drop(device);
    daemon.signal(Signal::SIGTERM)?;
    daemon.check_ended(context)?;
    let ran = watch.wait(context.command_timeout() * 4)?;
    context.check_eq(FailureKind::State, "exit code of the watch", &ran.code, &Some(0))?;
    let (mut seen, mut busy, mut intervals) = (0, 0, 0);
    for line in ran.stdout.lines() {
        let samples: Vec<Value> = serde_json::from_str(line).map_err(|error| {
            Stop::fail(FailureKind::State, format_args!("{line:?} is no list: {error}"))
        })?;
        for sample in &samples {
            let interval_ms = number(sample, "interval_ms");
            let what = format_args!("an interval of {interval_ms} ms is one of 200 or more");
            context.check(FailureKind::State, what, (200..60_000).contains(&interval_ms))?;
            let (writes, ..) = operations(sample)["write"];
            seen += writes;
            busy += u32::from(writes > 0);
            intervals += 1;
        }
    }
    let what = format_args!("{seen} of {wrote} writes in {busy} of {intervals} intervals");
    // What was sent before the watch's first look is in no interval.
    context.check(FailureKind::State, what, seen <= wrote && seen > wrote / 4 && busy >= 2)?;
    check_no_nodes(context, daemon.live.id)?;
    Ok(format!("{seen} of {wrote} writes in {intervals} intervals"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_format_is_told() {
        let good = "# HELP a_total B.\n# TYPE a_total counter\na_total{x=\"1\",y=\"z\"} 7\n";
        assert_eq!(parse(good).unwrap()["a_total{x=\"1\",y=\"z\"}"], 7.0);
        for bad in [
            "# TYPE b_total counter\na_total{x=\"1\"} 7\n",
            "# TYPE a_total counter\na_total{x=\"1\"} seven\n",
            "# TYPE a_total counter\na_total{x=1} 7\n",
            "# TYPE a_total counter\na_total{x=\"1\"} 7\na_total{x=\"1\"} 8\n",
            "# NOTE a_total counter\n",
            "a_total\n",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
