//! The numbers behind the drawings, absolute and in full.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::perf::{Cell, CellResult, PerfReport, Role, SubjectResult};

use super::super::clean::line;
use super::super::units;
use super::bars::label;
use super::frame::{folded, head, number, server, table};
use super::{benches, compared, counts, lives, reference};

/// Every table that has something to say.
pub(super) fn all(report: &PerfReport) -> Markup {
    let cells: BTreeSet<Cell> =
        report.subjects.iter().flat_map(|s| s.cells.iter().map(|cell| cell.cell)).collect();
    let cells: Vec<Cell> = cells.into_iter().collect();
    html! {
        // Where subjects are compared, what one does by itself is not said.
        @if report.comparisons.is_empty() {
            @if !cells.is_empty() { (absolute(report, &cells)) }
            (latencies(report))
            (lives::tables(report))
        } @else {
            (compared::tables(report))
        }
        (skipped(report))
        (counts::table(report))
        (benches::table(report))
    }
}

fn absolute(report: &PerfReport, cells: &[Cell]) -> Markup {
    html! {
        h3 .minor {
            "Thousand I/Os per second" (at(cells))
            @if let Some(name) = reference(report) { span .dim { ", and the ratio to " (line(name)) } }
        }
        (grid(report, cells, "I/Os per second", |cell| Some(html! {
            (format!("{:.1}", cell.median_iops / 1000.0))
            @if let Some(ratio) = cell.ratio { " " span .ratio { (format!("{ratio:.2}")) } }
        })))
        @if report.clock == "instructions" {
            (folded("Instructions for each I/O, of application, kernel and server together", "", &grid(report, cells, "Instructions", |cell| {
                Some(html! { (units::count(cell.cost_ns_per_io.round() as u64)) })
            })))
        }
        (intervals(report, cells))
    }
}

/// The length of the I/Os where it is the same in all cells; else the cells' labels say it.
fn at(cells: &[Cell]) -> String {
    let lengths: BTreeSet<u32> = cells.iter().map(|cell| cell.block_bytes).collect();
    match lengths.len() {
        1 => lengths
            .first()
            .map_or_else(String::new, |len| format!(" at {}", units::bytes(u64::from(*len)))),
        _ => String::new(),
    }
}

fn grid(
    report: &PerfReport,
    cells: &[Cell],
    name: &str,
    text: impl Fn(&CellResult) -> Option<Markup>,
) -> Markup {
    let measured = |s: &&SubjectResult| !s.cells.is_empty();
    let body = html! {
        @for subject in report.subjects.iter().filter(measured) {
            tr .ours[subject.role == Role::Ours] {
                (server(subject))
                @for wanted in cells {
                    @let found = subject.cells.iter().find(|cell| cell.cell == *wanted);
                    @match found.and_then(&text) {
                        Some(text) => td .n { (text) },
                        None => (number(None)),
                    }
                }
            }
        }
    };
    table(name, &head(&["Server", "Mode"], cells.iter().map(|cell| label(*cell))), &body)
}

/// Where the medians really are, as far as the samples can tell.
fn intervals(report: &PerfReport, cells: &[Cell]) -> Markup {
    let all = || report.subjects.iter().flat_map(|subject| &subject.cells);
    let Some(interval) = all().find_map(|cell| cell.interval_iops) else { return html! {} };
    let samples = all().map(|cell| cell.samples_iops.len()).max().unwrap_or(0);
    let title =
        format!("Intervals of the medians, {:.0}\u{202f}% sure", interval.confidence * 100.0);
    let samples = units::things(samples as u64, "sample");
    let explained = format!("from up to {samples} each, thousand I/Os per second");
    let grid = grid(report, cells, "Intervals", |cell| {
        let interval = cell.interval_iops?;
        let (low, high) = (interval.low / 1000.0, interval.high / 1000.0);
        Some(html! { (format!("{low:.1}\u{2013}{high:.1}")) })
    });
    folded(&title, &explained, &grid)
}

/// The tails, where they were measured.
fn latencies(report: &PerfReport) -> Markup {
    const PERCENTS: [f64; 4] = [50.0, 99.0, 99.9, 99.99];
    let all = report.subjects.iter().flat_map(|s| s.cells.iter().map(move |cell| (s, cell)));
    let measured: Vec<_> = all.filter(|(_, cell)| !cell.latency.is_empty()).collect();
    if measured.is_empty() {
        return html! {};
    }
    let at = |cell: &CellResult, percent: f64| {
        let point = cell.latency.iter().find(|point| (point.percent - percent).abs() < 1e-6)?;
        Some(format!("{:.1}", point.latency_ns as f64 / 1000.0))
    };
    let body = html! {
        @for (subject, cell) in measured {
            tr .ours[subject.role == Role::Ours] {
                (server(subject))
                td { (label(cell.cell)) }
                @for percent in PERCENTS { (number(at(cell, percent))) }
            }
        }
    };
    let head = head(&["Server", "Mode", "Cell"], PERCENTS.map(|percent| format!("p{percent}")));
    let explained = "microseconds of the guest\u{2019}s time";
    folded("Latency by percentile", explained, &table("Latency by percentile", &head, &body))
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
