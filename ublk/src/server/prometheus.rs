//! Servers' counters as Prometheus reads them: its text format 0.0.4, in base units.
//!
//! Written here and not with a client crate, for those keep a registry of counters that they own; these are
//! other processes' numbers, and already counted.

use std::fmt::{self, Write};

use super::Status;
use crate::queue::{CounterSnapshot, OpClass};

/// Ends of the buckets that are told, as powers of two of nanoseconds, from 1 µs to 17 s. Exact, because
/// they are ends of the histogram's own buckets too; a metric for each of those would be 300 for a class.
const BUCKET_POWERS: std::ops::RangeInclusive<u32> = 10..=34;

/// A counter, where it is found, and the operation it is about if it is about one.
type Counter = (Option<&'static str>, fn(&CounterSnapshot) -> u64);

/// A family of metrics: name, type, meaning, counters.
type Family = (&'static str, &'static str, &'static str, &'static [Counter]);

/// What there is for each queue.
const FAMILIES: &[Family] = &[
    (
        "ublk_requests_total",
        "counter",
        "Requests answered, with success or not.",
        &[
            (Some("read"), |queue| queue.reads),
            (Some("write"), |queue| queue.writes),
            (Some("flush"), |queue| queue.flushes),
            (Some("discard"), |queue| queue.discards),
            (Some("write_zeroes"), |queue| queue.write_zeroes),
        ],
    ),
    (
        "ublk_request_bytes_total",
        "counter",
        "Bytes of successful requests.",
        &[(Some("read"), |queue| queue.bytes_read), (Some("write"), |queue| queue.bytes_written)],
    ),
    (
        "ublk_fua_writes_total",
        "counter",
        "Writes that had to be durable at once.",
        &[(None, |queue| queue.fua_writes)],
    ),
    (
        "ublk_request_errors_total",
        "counter",
        "Requests answered with an error.",
        &[(None, |queue| queue.errors)],
    ),
    (
        "ublk_target_panics_total",
        "counter",
        "Panics of the target that were caught.",
        &[(None, |queue| queue.panics)],
    ),
    (
        "ublk_requests_withheld_total",
        "counter",
        "Requests deliberately never answered.",
        &[(None, |queue| queue.withheld)],
    ),
    (
        "ublk_requests_in_shared_memory_total",
        "counter",
        "Requests whose bytes were in memory that the client shares.",
        &[(None, |queue| queue.shared)],
    ),
    (
        "ublk_io_uring_enters_total",
        "counter",
        "Calls of io_uring_enter.",
        &[(None, |queue| queue.enters)],
    ),
    (
        "ublk_requests_in_flight_max",
        "gauge",
        "The most requests that the server owned at once.",
        &[(None, |queue| queue.in_flight_max)],
    ),
];

/// The metrics of some devices, as one document for a scrape or a textfile collector.
pub fn prometheus(servers: &[Status]) -> String {
    let mut text = String::new();
    // A String takes whatever it is given.
    let _ = write_all(&mut text, servers);
    text
}

fn write_all(text: &mut String, servers: &[Status]) -> fmt::Result {
    head(text, "ublk_device_info", "gauge", "A device and its server; always 1.")?;
    for server in servers {
        let (device, target) = (device(server), escaped(&server.target));
        let (state, pid) = (escaped(&server.info.state), server.pid);
        writeln!(
            text,
            "ublk_device_info{{device=\"{device}\",target=\"{target}\",state=\"{state}\",pid=\"{pid}\"}} 1"
        )?;
    }
    head(text, "ublk_device_size_bytes", "gauge", "Size of the disk.")?;
    for server in servers {
        let size_bytes = server.params.size_bytes;
        writeln!(text, "ublk_device_size_bytes{{device=\"{}\"}} {size_bytes}", device(server))?;
    }
    for (name, kind, help, counters) in FAMILIES {
        head(text, name, kind, help)?;
        for server in servers {
            let device = device(server);
            for (queue, counted) in server.counters.iter().enumerate() {
                for (op, value) in *counters {
                    let op = op.map(|op| format!(",op=\"{op}\"")).unwrap_or_default();
                    let value = value(counted);
                    writeln!(text, "{name}{{device=\"{device}\",queue=\"{queue}\"{op}}} {value}")?;
                }
            }
        }
    }
    durations(text, servers)
}

/// The histograms; none where no server measures.
fn durations(text: &mut String, servers: &[Status]) -> fmt::Result {
    const NAME: &str = "ublk_request_duration_seconds";
    if servers.iter().all(|server| server.latency.is_empty()) {
        return Ok(());
    }
    head(text, NAME, "histogram", "From a request's arrival until its answer leaves.")?;
    for server in servers {
        let device = device(server);
        for (queue, latency) in server.latency.iter().enumerate() {
            for op in OpClass::ALL {
                let seen = latency.class(op);
                let labels = format!("device=\"{device}\",queue=\"{queue}\",op=\"{}\"", op.name());
                for power in BUCKET_POWERS {
                    let end_ns = 1_u64 << power;
                    let (end, count) = (seconds(end_ns), seen.count_up_to(end_ns - 1));
                    writeln!(text, "{NAME}_bucket{{{labels},le=\"{end}\"}} {count}")?;
                }
                let count = seen.count();
                writeln!(text, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
                writeln!(text, "{NAME}_sum{{{labels}}} {}", seconds(seen.sum_ns))?;
                writeln!(text, "{NAME}_count{{{labels}}} {count}")?;
            }
        }
    }
    Ok(())
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn device(server: &Status) -> String {
    format!("ublkb{}", server.info.id)
}

/// Nanoseconds as seconds, in decimal and without an exponent or a rounding.
fn seconds(ns: u64) -> String {
    let (whole, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let text = format!("{whole}.{rest:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::queue::{LatencyHistogram, LatencySnapshot};
    use crate::server::{DeviceStatus, ParamsStatus};
    use crate::uapi::{DevInfo, Features, Params};

    fn status(id: u32, latency: Vec<LatencySnapshot>) -> Status {
        let mut info = DevInfo::new(2, 64, 4096, Features::empty());
        info.dev_id = id;
        let mut counters = vec![CounterSnapshot::default(); 2];
        counters[1].reads = 7;
        counters[1].bytes_read = 7 * 4096;
        Status {
            pid: 1,
            target: "od\"d\\name\n".into(),
            info: DeviceStatus::from(&info),
            params: ParamsStatus::from(&Params::default()),
            counters,
            latency,
        }
    }

    #[test]
    fn every_queue_of_every_device_has_its_line() {
        let text = prometheus(&[status(0, Vec::new()), status(3, Vec::new())]);
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        has("# TYPE ublk_requests_total counter");
        has("ublk_requests_total{device=\"ublkb0\",queue=\"0\",op=\"read\"} 0");
        has("ublk_requests_total{device=\"ublkb3\",queue=\"1\",op=\"read\"} 7");
        has("ublk_request_bytes_total{device=\"ublkb3\",queue=\"1\",op=\"read\"} 28672");
        has("ublk_device_size_bytes{device=\"ublkb3\"} 0");
        assert!(text.contains("target=\"od\\\"d\\\\name\\n\""), "{text}");
        assert!(!text.contains("duration") && text.ends_with('\n'));
    }

    /// A family's lines stand together under one head, and no series is there twice.
    #[test]
    fn the_document_is_one_that_prometheus_takes() {
        let histogram = LatencyHistogram::default();
        histogram.record(OpClass::Read, 1500);
        let text = prometheus(&[status(0, vec![histogram.snapshot()]), status(1, Vec::new())]);
        let (mut family, mut seen, mut series) = ("", BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                family = head.split(' ').next().unwrap();
                assert!(seen.insert(family), "{family} twice");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} in {family}");
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(series.insert(name), "{line} twice");
            }
        }
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_the_count() {
        let histogram = LatencyHistogram::default();
        for ns in [500, 1500, 3_000_000, 30_000_000_000] {
            histogram.record(OpClass::Write, ns);
        }
        let text = prometheus(&[status(0, vec![histogram.snapshot()])]);
        let value = |suffix: &str, le: &str| {
            let labels = format!("device=\"ublkb0\",queue=\"0\",op=\"write\"{le}");
            let start = format!("ublk_request_duration_seconds{suffix}{{{labels}}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&start));
            line.unwrap_or_else(|| panic!("no {start}")).to_owned()
        };
        assert_eq!(value("_bucket", ",le=\"0.000001024\""), "1");
        assert_eq!(value("_bucket", ",le=\"0.000002048\""), "2");
        assert_eq!(value("_bucket", ",le=\"0.004194304\""), "3");
        assert_eq!(value("_bucket", ",le=\"17.179869184\""), "3");
        assert_eq!(value("_bucket", ",le=\"+Inf\""), "4");
        assert_eq!(value("_count", ""), "4");
        assert_eq!(value("_sum", ""), "30.003002");
    }

    #[test]
    fn seconds_are_exact() {
        let cases = [(0, "0"), (1, "0.000000001"), (1 << 30, "1.073741824"), (2_000_000_000, "2")];
        for (ns, text) in cases {
            assert_eq!(seconds(ns), text);
        }
    }
}
