//! The numbers behind the drawings, absolute and in full.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::perf::{Cell, CellResult, CountResult, PerfReport, Role, SubjectResult};

use super::super::clean::line;
use super::super::units;
use super::bars::label;
use super::reference;

/// Every table that has something to say.
pub(super) fn all(report: &PerfReport) -> Markup {
    let cells: BTreeSet<Cell> =
        report.subjects.iter().flat_map(|s| s.cells.iter().map(|cell| cell.cell)).collect();
    let cells: Vec<Cell> = cells.into_iter().collect();
    html! {
        @if !cells.is_empty() {
            h3 .minor { "Thousand I/Os per second at 4 KiB" @if let Some(name) = reference(report) { span .dim { ", and the ratio to " (line(name)) } } }
            (grid(report, &cells, "I/Os per second", |cell| html! {
                (format!("{:.1}", cell.median_iops / 1000.0))
                @if let Some(ratio) = cell.ratio { " " span .ratio { (format!("{ratio:.2}")) } }
            }))
            @if report.clock == "instructions" {
                details .text {
                    summary { "Instructions for each I/O, of application, kernel and server together" }
                    (grid(report, &cells, "Instructions", |cell| html! { (units::count(cell.cost_ns_per_io.round() as u64)) }))
                }
            }
            (intervals(report, &cells))
            (latencies(report))
        }
        (skipped(report))
        (counts(report))
        (starts(report))
    }
}

fn grid(
    report: &PerfReport,
    cells: &[Cell],
    name: &str,
    text: impl Fn(&CellResult) -> Markup,
) -> Markup {
    let measured = |s: &&SubjectResult| !s.cells.is_empty();
    html! {
        div .scroll tabindex="0" role="region" aria-label=(name) {
            table .grid {
                thead { tr {
                    th scope="col" { "Server" } th scope="col" { "Mode" }
                    @for cell in cells { th .n scope="col" { (label(*cell)) } }
                } }
                tbody { @for subject in report.subjects.iter().filter(measured) {
                    tr .ours[subject.role == Role::Ours] {
                        (server(subject))
                        @for wanted in cells {
                            td .n { @match subject.cells.iter().find(|cell| cell.cell == *wanted) {
                                Some(cell) => (text(cell)), None => span .dim { "\u{2013}" },
                            } }
                        }
                    }
                } }
            }
        }
    }
}

/// Where the medians really are, as far as the samples can tell.
fn intervals(report: &PerfReport, cells: &[Cell]) -> Markup {
    let all = || report.subjects.iter().flat_map(|subject| &subject.cells);
    let Some(interval) = all().find_map(|cell| cell.interval_iops) else { return html! {} };
    let samples = all().map(|cell| cell.samples_iops.len()).max().unwrap_or(0);
    html! {
        details .text {
            summary {
                (format!("Intervals of the medians, {:.0}\u{202f}% sure", interval.confidence * 100.0))
                " " span .dim { "from up to " (units::things(samples as u64, "sample")) " each, thousand I/Os per second" }
            }
            (grid(report, cells, "Intervals", |cell| html! { @match cell.interval_iops {
                Some(interval) => { (format!("{:.1}\u{2013}{:.1}", interval.low / 1000.0, interval.high / 1000.0)) },
                None => span .dim { "\u{2013}" },
            } }))
        }
    }
}

/// The tails, where they were measured.
fn latencies(report: &PerfReport) -> Markup {
    const PERCENTS: [f64; 4] = [50.0, 99.0, 99.9, 99.99];
    let measured = || {
        report
            .subjects
            .iter()
            .flat_map(|s| s.cells.iter().map(move |cell| (s, cell)))
            .filter(|(_, cell)| !cell.latency.is_empty())
    };
    if measured().next().is_none() {
        return html! {};
    }
    html! {
        details .text {
            summary { "Latency by percentile" " " span .dim { "microseconds of the guest\u{2019}s time" } }
            div .scroll tabindex="0" role="region" aria-label="Latency by percentile" {
                table .grid {
                    thead { tr {
                        th scope="col" { "Server" } th scope="col" { "Mode" } th scope="col" { "Cell" }
                        @for percent in PERCENTS { th .n scope="col" { "p" (percent) } }
                    } }
                    tbody { @for (subject, cell) in measured() {
                        tr .ours[subject.role == Role::Ours] {
                            (server(subject))
                            td { (label(cell.cell)) }
                            @for percent in PERCENTS {
                                td .n { @match cell.latency.iter().find(|point| (point.percent - percent).abs() < 1e-6) {
                                    Some(point) => (format!("{:.1}", point.latency_ns as f64 / 1000.0)),
                                    None => span .dim { "\u{2013}" },
                                } }
                            }
                        }
                    } }
                }
            }
        }
    }
}

/// Name and mode, the head of a row.
fn server(subject: &SubjectResult) -> Markup {
    html! {
        th scope="row" { (line(&subject.name)) @if subject.role == Role::Limit { span .dim { " (no server)" } } }
        td { (line(&subject.mode)) }
    }
}

fn skipped(report: &PerfReport) -> Markup {
    let skipped = || report.subjects.iter().filter_map(|s| Some((s, s.skipped.as_ref()?)));
    html! {
        @if skipped().next().is_some() {
            h3 .minor { "Skipped" }
            ul .ids { @for (subject, probe) in skipped() {
                li { code { (line(&subject.name)) "/" (line(&subject.mode)) } " " span .dim { (line(probe)) } }
            } }
        }
    }
}

/// One row for each server, its cells side by side below each thing that is counted.
fn counts(report: &PerfReport) -> Markup {
    let counted = || report.subjects.iter().filter(|subject| !subject.counts.is_empty());
    let all = || counted().flat_map(|subject| &subject.counts);
    let cells: BTreeSet<Cell> = all().map(|count| count.cell).collect();
    if cells.is_empty() {
        return html! {};
    }
    let cost = match report.clock.as_str() {
        "instructions" => "instructions of the server",
        _ => "nanoseconds of the server",
    };
    let mut things: Vec<(&str, Read)> = vec![
        ("io_uring_enter", |count| Some(format!("{:.2}", count.enters_per_io))),
        ("system calls", |count| Some(format!("{:.2}", count.syscalls_per_io))),
        ("context switches", |count| Some(format!("{:.2}", count.switches_per_io))),
    ];
    if all().any(|count| count.server_ns_per_io.is_some()) {
        things.push((cost, |count| Some(units::count(count.server_ns_per_io?.round() as u64))));
    }
    html! {
        h3 .minor { "What the server does for each I/O" span .dim { ", counted" } }
        div .scroll tabindex="0" role="region" aria-label="What the server does for each I/O" {
            table .grid.counted {
                thead {
                    tr {
                        th rowspan="2" scope="col" { "Server" } th rowspan="2" scope="col" { "Mode" }
                        @for (name, _) in &things { th .over scope="colgroup" colspan=(cells.len()) { (name) } }
                        th .over scope="colgroup" colspan="2" { "in all" }
                        th .over scope="colgroup" { "idle" }
                    }
                    tr {
                        @for _ in &things { @for (place, cell) in cells.iter().enumerate() {
                            th .n.begin[place == 0] scope="col" { (label(*cell)) }
                        } }
                        th .n.begin scope="col" { "futex" } th .n scope="col" { "malloc" } th .n scope="col" { "switches/s" }
                    }
                }
                tbody { @for subject in counted() { (count_row(subject, &cells, &things)) } }
            }
        }
    }
}

/// Takes one thing out of what was counted.
type Read = fn(&CountResult) -> Option<String>;

fn count_row(subject: &SubjectResult, cells: &BTreeSet<Cell>, things: &[(&str, Read)]) -> Markup {
    let none = || "\u{2013}".to_owned();
    let of = |cell: &Cell| subject.counts.iter().find(|count| count.cell == *cell);
    let futexes: u64 = subject.counts.iter().map(|count| count.futexes).sum();
    let allocations: Option<u64> = subject.counts.iter().map(|count| count.allocations).sum();
    html! {
        tr .ours[subject.role == Role::Ours] {
            (server(subject))
            @for (_, read) in things { @for (place, cell) in cells.iter().enumerate() {
                td .n.begin[place == 0] { (of(cell).and_then(read).unwrap_or_else(none)) }
            } }
            td .n.begin { (units::count(futexes)) }
            td .n { (allocations.map_or_else(none, units::count)) }
            td .n { (subject.idle_switches_per_s.map_or_else(none, |rate| format!("{rate:.1}"))) }
        }
    }
}

fn starts(report: &PerfReport) -> Markup {
    let depths: BTreeSet<u16> = report.start_up.iter().map(|start| start.depth).collect();
    let mut servers: Vec<(&str, &str)> = Vec::new();
    for start in &report.start_up {
        if !servers.contains(&(&start.name, &start.mode)) {
            servers.push((&start.name, &start.mode));
        }
    }
    if servers.is_empty() {
        return html! {};
    }
    html! {
        details .text {
            summary { "Milliseconds from the program\u{2019}s start to the open device" " " span .dim { "by depth of the queue" } }
            div .scroll tabindex="0" role="region" aria-label="Start-up times" {
                table .grid {
                    thead { tr {
                        th scope="col" { "Server" } th scope="col" { "Mode" }
                        @for depth in &depths { th .n scope="col" { (depth) } }
                    } }
                    tbody { @for (name, mode) in servers {
                        tr {
                            th scope="row" { (line(name)) } td { (line(mode)) }
                            @for depth in &depths {
                                td .n { @match report.start_up.iter().find(|s| (s.name.as_str(), s.mode.as_str(), s.depth) == (name, mode, *depth)) {
                                    Some(start) => (format!("{:.1}", start.median_ns as f64 / 1e6)),
                                    None => span .dim { "\u{2013}" },
                                } }
                            }
                        }
                    } }
                }
            }
        }
    }
}
