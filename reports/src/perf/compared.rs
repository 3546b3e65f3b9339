//! A comparison as tables: ratios with their intervals, what each is against ours, and what the devices are.

use std::collections::BTreeSet;

use super::compare::{Compared, Comparison};
use super::plan::Cell;
use super::render::Rows;
use super::report::{DeviceFacts, PerfReport, SubjectResult};

/// Every table of every target; none of a report without a comparison.
pub(super) fn tables(report: &PerfReport) -> Vec<(String, Rows)> {
    let mut tables = Vec::new();
    for comparison in &report.comparisons {
        let (target, reference) = (&comparison.target, &comparison.reference);
        let title = format!("{target}: I/Os per second as a multiple of {reference}'s");
        tables.push((title, ratios(report, comparison)));
        let overall = overall(comparison);
        if overall.len() > 1 {
            let title = format!("{target}: how many times as many I/Os ours does, over all cells");
            tables.push((title, overall));
        }
    }
    let devices = devices(report);
    if devices.len() > 1 {
        tables.push(("the devices, as the kernel describes them".to_owned(), devices));
    }
    tables
}

/// Who, and what is to be known of it beside its numbers.
pub(super) fn notes(report: &PerfReport) -> Vec<(String, String)> {
    let mut notes: Vec<(String, String)> = Vec::new();
    for subject in &report.subjects {
        let version = subject.version.as_ref().map(|version| format!("version {version}"));
        let said: Vec<&str> =
            [version.as_deref(), subject.note.as_deref()].into_iter().flatten().collect();
        let note = (subject.name.clone(), said.join("; "));
        if !said.is_empty() && !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

fn ratios(report: &PerfReport, comparison: &Comparison) -> Rows {
    let all = comparison.subjects.iter().flat_map(|subject| &subject.cells);
    let cells: BTreeSet<Cell> = all.map(|cell| cell.cell).collect();
    let mut head = vec!["server".to_owned(), "mode".to_owned()];
    head.extend(cells.iter().map(Cell::name));
    let mut rows = vec![head];
    for subject in &comparison.subjects {
        let mut row = vec![subject.name.clone(), subject.mode.clone()];
        match skipped(report, subject) {
            Some(why) => row.push(format!("skipped: {why}")),
            None => row.extend(cells.iter().map(|cell| ratio(subject, comparison, *cell))),
        }
        row.resize(cells.len() + 2, String::new());
        rows.push(row);
    }
    rows
}

fn ratio(subject: &Compared, comparison: &Comparison, cell: Cell) -> String {
    if format!("{}/{}", subject.name, subject.mode) == comparison.reference {
        return "1".to_owned();
    }
    let found = subject.cells.iter().find(|found| found.cell == cell);
    found.map_or_else(
        || "-".to_owned(),
        |found| {
            format!("{:.3} [{:.3}, {:.3}]", found.ratio, found.interval.low, found.interval.high)
        },
    )
}

fn skipped<'a>(report: &'a PerfReport, subject: &Compared) -> Option<&'a str> {
    let same = |other: &&SubjectResult| other.name == subject.name && other.mode == subject.mode;
    report.subjects.iter().find(same)?.skipped.as_deref()
}

fn overall(comparison: &Comparison) -> Rows {
    let head = ["than", "mode", "ours", "times, geometric mean", "least cell", "most"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for subject in &comparison.subjects {
        let Some(overall) = &subject.overall else { continue };
        let interval = overall.interval;
        rows.push(vec![
            subject.name.clone(),
            subject.mode.clone(),
            overall.ours.clone(),
            format!("{:.3} [{:.3}, {:.3}]", overall.ratio, interval.low, interval.high),
            format!("{:.3}", overall.least),
            format!("{:.3}", overall.most),
        ]);
    }
    rows
}

fn devices(report: &PerfReport) -> Rows {
    let head = [
        "server",
        "mode",
        "MiB",
        "queues",
        "tags",
        "block",
        "longest I/O, KiB",
        "scheduler",
        "cache",
        "features, beside those that all have",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let common = common_features(report);
    let known = report.subjects.iter().filter_map(|s| Some((s, s.device.as_ref()?)));
    rows.extend(known.map(|(subject, device)| {
        [vec![subject.name.clone(), subject.mode.clone()], described(device, &common)].concat()
    }));
    rows
}

/// What every ublk device of the run has, and so tells none from another.
pub(crate) fn common_features(report: &PerfReport) -> BTreeSet<String> {
    let devices = report.subjects.iter().filter_map(|subject| subject.device.as_ref());
    let of_ublk = devices.filter(|device| !device.features.is_empty());
    let sets = of_ublk.map(|device| device.features.iter().cloned().collect::<BTreeSet<_>>());
    sets.reduce(|common, own| common.intersection(&own).cloned().collect()).unwrap_or_default()
}

fn described(device: &DeviceFacts, common: &BTreeSet<String>) -> Vec<String> {
    let own = device.features.iter().filter(|feature| !common.contains(*feature));
    let own: Vec<&str> = own.map(String::as_str).collect();
    let features = if own.is_empty() { "-".to_owned() } else { own.join(" ") };
    vec![
        (device.len_bytes >> 20).to_string(),
        device.queues.to_string(),
        device.tags.map_or_else(|| "-".to_owned(), |tags| tags.to_string()),
        device.logical_block_bytes.to_string(),
        (device.io_bytes_max >> 10).to_string(),
        device.scheduler.clone(),
        (if device.volatile_cache { "write back" } else { "write through" }).to_owned(),
        features,
    ]
}
