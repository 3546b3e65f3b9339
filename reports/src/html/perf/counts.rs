//! What a server does for each I/O, counted: one row for each, its cells side by side below each thing.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::perf::{Cell, CountResult, PerfReport, Role, SubjectResult};

use super::super::units;
use super::bars::label;
use super::frame;

/// Takes one thing out of what was counted.
type Read = fn(&CountResult) -> Option<String>;

/// The table; nothing where nothing was counted.
pub(super) fn table(report: &PerfReport) -> Markup {
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
    let name = "What the server does for each I/O";
    html! {
        h3 .minor { (name) span .dim { ", counted" } }
        div .scroll tabindex="0" role="region" aria-label=(name) {
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
                tbody { @for subject in counted() { (row(subject, &cells, &things)) } }
            }
        }
    }
}

fn row(subject: &SubjectResult, cells: &BTreeSet<Cell>, things: &[(&str, Read)]) -> Markup {
    let none = || "\u{2013}".to_owned();
    let of = |cell: &Cell| subject.counts.iter().find(|count| count.cell == *cell);
    let futexes: u64 = subject.counts.iter().map(|count| count.futexes).sum();
    let allocations: Option<u64> = subject.counts.iter().map(|count| count.allocations).sum();
    html! {
        tr .ours[subject.role == Role::Ours] {
            (frame::server(subject))
            @for (_, read) in things { @for (place, cell) in cells.iter().enumerate() {
                td .n.begin[place == 0] { (of(cell).and_then(read).unwrap_or_else(none)) }
            } }
            td .n.begin { (units::count(futexes)) }
            td .n { (allocations.map_or_else(none, units::count)) }
            td .n { (subject.idle_switches_per_s.map_or_else(none, |rate| format!("{rate:.1}"))) }
        }
    }
}
