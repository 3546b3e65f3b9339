//! A comparison: for each cell everybody's I/Os per second as a multiple of ours, with the interval that the
//! multiple lies in.
//!
//! These bars begin at 0: what is compared is how much, and a bar twice as long is twice as fast.

use maud::{Markup, html};

use crate::perf::compared::common_features;
use crate::perf::{Cell, Compared, ComparedCell, Comparison, PerfReport, Role, SubjectResult};

use super::super::clean::line;
use super::super::units;
use super::bars::label;
use super::chart::{Scale, px, tick, ticks};
use super::frame::{folded, head, number, table};

const WIDTH: f64 = 340.0;
/// Room for name and mode.
const LEFT: f64 = 128.0;
const RIGHT: f64 = 34.0;
const AXIS: f64 = 20.0;
const ROW: f64 = 15.0;
const BAR: f64 = 9.0;

/// The drawings of every target, a cell each.
pub(super) fn drawings(report: &PerfReport) -> Markup {
    html! {
        @if !report.comparisons.is_empty() {
            div .panels { @for comparison in &report.comparisons { (panel(comparison)) } }
        }
    }
}

fn panel(comparison: &Comparison) -> Markup {
    let subjects: Vec<&Compared> =
        comparison.subjects.iter().filter(|subject| !subject.cells.is_empty()).collect();
    let highs = subjects.iter().flat_map(|s| s.cells.iter().map(|cell| cell.interval.high));
    let most = highs.filter(|high| high.is_finite()).fold(1.1, f64::max);
    let target = &comparison.target;
    html! {
        section .panel aria-label={ "Target " (line(target)) } {
            h3 { (line(target)) span .dim { ": I/Os per second as a multiple of " (line(&comparison.reference)) "\u{2019}s" } }
            div .drawings {
                @for cell in cells(comparison) { (figure(comparison, &subjects, cell, most)) }
            }
        }
    }
}

fn cells(comparison: &Comparison) -> Vec<Cell> {
    let mut cells: Vec<Cell> =
        comparison.subjects.iter().flat_map(|s| s.cells.iter().map(|cell| cell.cell)).collect();
    cells.sort();
    cells.dedup();
    cells
}

fn figure(comparison: &Comparison, subjects: &[&Compared], cell: Cell, most: f64) -> Markup {
    let scale = Scale::new((0.0, most), (LEFT, WIDTH - RIGHT));
    let bottom = ROW * subjects.len() as f64 + 2.0;
    html! {
        figure .drawing {
            figcaption { (label(cell)) }
            svg viewBox={ "0 0 " (WIDTH) " " (px(bottom + AXIS)) } role="img" aria-label=(summary(subjects, cell)) {
                @for value in ticks(0.0, most, 5) {
                    line .grid x1=(px(scale.at(value))) x2=(px(scale.at(value))) y1="0" y2=(px(bottom)) {}
                    text .tick x=(px(scale.at(value))) y=(px(bottom + 14.0)) text-anchor="middle" { (tick(value)) }
                }
                @for (place, subject) in subjects.iter().enumerate() {
                    @if let Some(found) = subject.cells.iter().find(|found| found.cell == cell) {
                        (bar(comparison, subject, found, scale, ROW * (place as f64 + 0.5)))
                    }
                }
                line .rest x1=(px(scale.at(1.0))) x2=(px(scale.at(1.0))) y1="0" y2=(px(bottom)) {}
            }
        }
    }
}

fn bar(
    comparison: &Comparison,
    subject: &Compared,
    found: &ComparedCell,
    scale: Scale,
    middle: f64,
) -> Markup {
    let (begin, end) = (scale.at(0.0), scale.at(found.ratio));
    let (low, high) = (scale.at(found.interval.low), scale.at(found.interval.high));
    let says = format!(
        "{} {}: {:.3}, {:.3} to {:.3}",
        subject.name, subject.mode, found.ratio, found.interval.low, found.interval.high
    );
    html! {
        text .label x="0" y=(px(middle + 3.8)) { (line(&subject.name)) " " (line(&subject.mode)) }
        rect class={ "bar " (look(comparison, subject)) } x=(px(begin)) y=(px(middle - BAR / 2.0)) width=(px(end - begin)) height=(px(BAR)) {
            title { (line(&says)) }
        }
        path .whisker d={ "M" (px(low)) " " (px(middle)) "H" (px(high)) "M" (px(low)) " " (px(middle - 2.5)) "v5M" (px(high)) " " (px(middle - 2.5)) "v5" } {}
        text .value x=(px(high.max(end) + 4.0)) y=(px(middle + 3.8)) { (format!("{:.2}", found.ratio)) }
    }
}

/// Class of a subject's bars: the same for all modes of one program.
fn look(comparison: &Comparison, subject: &Compared) -> String {
    match subject.role {
        Role::Ours => "ours".to_owned(),
        Role::Limit => "reference".to_owned(),
        Role::Reference | Role::Peer => {
            let mut names: Vec<&str> = Vec::new();
            for peer in comparison.subjects.iter().filter(|s| s.role == subject.role) {
                if !names.contains(&peer.name.as_str()) {
                    names.push(&peer.name);
                }
            }
            let place = names.iter().position(|name| *name == subject.name).unwrap_or(0);
            format!("peer-{}", place.min(3))
        }
    }
}

/// The drawing in words.
fn summary(subjects: &[&Compared], cell: Cell) -> String {
    let said = |subject: &&Compared| {
        let found = subject.cells.iter().find(|found| found.cell == cell)?;
        Some(format!("{} {} {:.2}", subject.name, subject.mode, found.ratio))
    };
    let all: Vec<String> = subjects.iter().filter_map(said).collect();
    format!("Ratios at {}: {}", label(cell), all.join(", "))
}

/// The same numbers, what each is against ours over all cells, and what the devices are.
pub(super) fn tables(report: &PerfReport) -> Markup {
    html! {
        @for comparison in &report.comparisons { (overall(comparison)) }
        @for comparison in &report.comparisons { (ratios(comparison)) }
        @if !report.comparisons.is_empty() { (devices(report)) }
    }
}

fn overall(comparison: &Comparison) -> Markup {
    let against = || comparison.subjects.iter().filter_map(|s| Some((s, s.overall.as_ref()?)));
    if against().next().is_none() {
        return html! {};
    }
    let body = html! {
        @for (subject, overall) in against() {
            tr {
                th scope="row" { (line(&subject.name)) } td { (line(&subject.mode)) } td { (line(&overall.ours)) }
                td .n { (format!("{:.3}", overall.ratio)) }
                td .n { (format!("{:.3}\u{2013}{:.3}", overall.interval.low, overall.interval.high)) }
                td .n { (format!("{:.2}", overall.least)) }
                td .n { (format!("{:.2}", overall.most)) }
            }
        }
    };
    let numbers = ["times", "interval", "least cell", "most"].map(str::to_owned);
    let name = format!("How many times as many I/Os ours does than others, {}", comparison.target);
    html! {
        h3 .minor { (line(&comparison.target)) span .dim { ": how many times as many I/Os ours does, geometric mean over all cells" } }
        (table(&name, &head(&["Than", "Mode", "Ours"], numbers), &body))
    }
}

fn ratios(comparison: &Comparison) -> Markup {
    let cells = cells(comparison);
    let text = |subject: &Compared, cell: &Cell| {
        let found = subject.cells.iter().find(|found| found.cell == *cell)?;
        let interval = found.interval;
        Some(format!("{:.3} [{:.3}, {:.3}]", found.ratio, interval.low, interval.high))
    };
    let body = html! {
        @for subject in comparison.subjects.iter().filter(|subject| !subject.cells.is_empty()) {
            tr .ours[subject.role == Role::Ours] {
                th scope="row" { (line(&subject.name)) } td { (line(&subject.mode)) }
                @for cell in &cells { (number(text(subject, cell))) }
            }
        }
    };
    let name = format!("Ratios with their intervals, {}", comparison.target);
    let head = head(&["Server", "Mode"], cells.iter().map(|cell| label(*cell)));
    folded(&name, &format!("{} is 1", comparison.reference), &table(&name, &head, &body))
}

fn devices(report: &PerfReport) -> Markup {
    let known = || report.subjects.iter().filter_map(|s| Some((s, s.device.as_ref()?)));
    let common = common_features(report);
    let own = |features: &[String]| {
        let own = features.iter().filter(|feature| !common.contains(*feature));
        own.map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let about = |subject: &SubjectResult| {
        let version = subject.version.as_ref().map(|version| format!("version {version}"));
        let said: Vec<String> = version.into_iter().chain(subject.note.clone()).collect();
        said.join("; ")
    };
    let body = html! {
        @for (subject, device) in known() {
            tr {
                th scope="row" { (line(&subject.name)) } td { (line(&subject.mode)) }
                td .n { (units::bytes(device.len_bytes)) }
                td .n { (device.queues) }
                (number(device.tags.map(|tags| tags.to_string())))
                td .n { (device.logical_block_bytes) }
                td .n { (units::bytes(device.io_bytes_max)) }
                td { (line(&device.scheduler)) }
                td { @if device.volatile_cache { "write back" } @else { "write through" } }
                td { (line(&own(&device.features))) }
                td { (line(&about(subject))) }
            }
        }
    };
    let head = html! { tr {
        th scope="col" { "Server" } th scope="col" { "Mode" }
        @for name in ["size", "queues", "tags", "block", "longest I/O"] { th .n scope="col" { (name) } }
        @for name in ["Scheduler", "Cache", "Features beside those that all have", "Note"] { th scope="col" { (name) } }
    } };
    folded("The devices", "as the kernel describes them", &table("The devices", &head, &body))
}
