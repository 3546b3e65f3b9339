//! The same cells over commits: whether it got faster, and with which change.
//!
//! Drawn as change since the oldest report, because what is looked for is some percent of numbers that lie far
//! apart. Under the instruction clock the numbers themselves repeat; by wall clock a machine's mood would be
//! drawn, so there it is the ratio to the reference that was measured in the same minutes.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::perf::{Cell, CellResult, Operation, PerfReport, Role, SubjectResult};

use super::super::clean::line;
use super::super::selection::{Chosen, Timeline};
use super::super::units;
use super::bars::label;
use super::chart::{Scale, apart, mark, path, px, ticks};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 176.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 66.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 24.0;
/// Percent that a drawing shows to both sides at least: below that is noise.
const PERCENT_MIN: f64 = 2.0;
/// Looks of the lines, one for each depth; writes have the same, dashed.
const LINES: [&str; 4] = ["ours", "reference", "peer-0", "peer-1"];

/// What only reports made alike may be compared in.
fn conditions(report: &PerfReport) -> (&str, u32, Option<&str>) {
    (&report.clock, report.cpus, report.kernel.release.as_deref())
}

/// One line: a cell over the reports in which it was measured.
struct Course {
    cell: Cell,
    look: String,
    /// Index of the report, and the change since the first in percent.
    points: Vec<(usize, f64)>,
}

/// A drawing for each mode of the newest report; nothing without an older one.
pub(super) fn over_commits(perfs: &Timeline<'_, PerfReport>) -> Markup {
    let Some(newest) = perfs.all.last() else { return html! {} };
    if !perfs.has_history() {
        return html! {};
    }
    let same =
        |chosen: &&Chosen<'_, PerfReport>| conditions(chosen.report) == conditions(newest.report);
    let alike: Vec<&Chosen<'_, PerfReport>> = perfs.all.iter().filter(same).collect();
    let other = perfs.all.len() - alike.len();
    let ours = newest.report.subjects.iter().filter(|subject| subject.role == Role::Ours);
    let drawings: Vec<Markup> = ours.filter_map(|subject| figure(&alike, subject)).collect();
    html! {
        h3 #performance-history { "Over commits" span .tally { (units::things(alike.len() as u64, "report")) } }
        p .dim {
            "Change since the oldest report in percent, upwards is faster: of "
            @if newest.report.clock == "instructions" { "I/Os per second, which repeat under the instruction clock." }
            @else { "the ratio to the reference, which was measured beside it." }
            " Writes are dashed."
            @if other > 0 {
                " " (units::things(other as u64, "report")) " of another kernel, clock or number of CPUs cannot be compared and "
                (if other == 1 { "is" } else { "are" }) " left out."
            }
        }
        @if drawings.is_empty() {
            p { "No older report was made in the same way, so there is nothing to draw." }
        } @else {
            div .drawings.over-commits { @for drawing in &drawings { (drawing) } }
        }
        (table(&alike))
    }
}

/// The same server in the same mode; `ublk-file` is another than `ublk`.
fn same_of<'a>(report: &'a PerfReport, subject: &SubjectResult) -> Option<&'a SubjectResult> {
    let same = |other: &&SubjectResult| {
        other.role == Role::Ours && other.name == subject.name && other.mode == subject.mode
    };
    report.subjects.iter().find(same)
}

/// What is compared of a cell.
fn value(report: &PerfReport, cell: &CellResult) -> Option<f64> {
    let absolute = report.clock == "instructions";
    let value = if absolute { Some(cell.median_iops) } else { cell.ratio };
    value.filter(|value| value.is_finite() && *value > 0.0)
}

fn courses(alike: &[&Chosen<'_, PerfReport>], subject: &SubjectResult) -> Vec<Course> {
    let mut by_cell: BTreeMap<Cell, Vec<(usize, f64)>> = BTreeMap::new();
    for (index, chosen) in alike.iter().enumerate() {
        let cells = same_of(chosen.report, subject).map(|subject| subject.cells.as_slice());
        for cell in cells.unwrap_or_default() {
            if let Some(value) = value(chosen.report, cell) {
                by_cell.entry(cell.cell).or_default().push((index, value));
            }
        }
    }
    by_cell.retain(|_, points| points.len() > 1);
    let mut depths: Vec<u16> = by_cell.keys().map(|cell| cell.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    by_cell
        .into_iter()
        .map(|(cell, values)| {
            let first = values[0].1;
            let points = values.into_iter().map(|(i, v)| (i, (v / first - 1.0) * 100.0)).collect();
            let place = depths.iter().position(|depth| *depth == cell.depth).unwrap_or(0);
            let dashed = if cell.operation == Operation::Write { " dashed" } else { "" };
            Course { cell, look: format!("{}{dashed}", LINES[place.min(LINES.len() - 1)]), points }
        })
        .collect()
}

fn figure(alike: &[&Chosen<'_, PerfReport>], subject: &SubjectResult) -> Option<Markup> {
    let courses = courses(alike, subject);
    let mode = mode(subject);
    let points = || courses.iter().flat_map(|course| &course.points);
    let (first, last) = (points().map(|p| p.0).min()?, points().map(|p| p.0).max()?);
    let (low, high) = points().fold((-PERCENT_MIN, PERCENT_MIN), |(low, high), (_, percent)| {
        (percent.min(low), percent.max(high))
    });
    let y = Scale::new((low, high), (HEIGHT - BOTTOM, TOP));
    let x = Scale::new((first as f64, last as f64), (LEFT + 10.0, WIDTH - RIGHT));
    Some(html! {
        figure .drawing {
            figcaption { strong { (line(&mode)) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(summary(&mode, &courses)) {
                @for value in ticks(low, high, 5) {
                    @let zero = value.abs() < 1e-9;
                    line .grid.rest[zero] x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(y.at(value))) y2=(px(y.at(value))) {}
                    text .tick x=(px(LEFT - 6.0)) y=(px(y.at(value) + 3.5)) text-anchor="end" { (percent(value)) }
                }
                @for index in named(first, last) {
                    text .tick x=(px(x.at(index as f64))) y=(px(HEIGHT - 6.0)) text-anchor="middle" { (commit(alike[index].report, 7)) }
                }
                @for course in &courses {
                    @let places: Vec<(f64, f64)> = course.points.iter().map(|(i, v)| (x.at(*i as f64), y.at(*v))).collect();
                    (path(&course.look, &places))
                    @for ((index, value), (x, y)) in course.points.iter().zip(&places) {
                        @let says = format!("{} at {}: {}", label(course.cell), commit(alike[*index].report, 10), percent(*value));
                        (mark(&course.look, *x, *y, &says))
                    }
                }
                (names(&courses, y))
            }
        }
    })
}

fn percent(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    match rounded {
        0.0 => "0".to_owned(),
        _ => format!("{rounded:+}\u{202f}%").replace('-', "\u{2212}"),
    }
}

/// The drawing in words.
fn summary(mode: &str, courses: &[Course]) -> String {
    let said = |course: &Course| {
        let last = course.points.last()?;
        Some(format!("{} {}", label(course.cell), percent(last.1)))
    };
    let all: Vec<String> = courses.iter().filter_map(said).collect();
    format!("Change in mode {mode} since the oldest report: {}", all.join(", "))
}

/// Which reports are named below a drawing: the ends, and one between.
fn named(first: usize, last: usize) -> Vec<usize> {
    let mut named = vec![first, usize::midpoint(first, last), last];
    named.dedup();
    named
}

fn names(courses: &[Course], y: Scale) -> Markup {
    let last = |course: &Course| course.points.last().map_or(0.0, |(_, value)| y.at(*value));
    let places: Vec<f64> = courses.iter().map(last).collect();
    let places = apart(&places, 12.0, (TOP, HEIGHT - BOTTOM));
    html! {
        @for (course, place) in courses.iter().zip(&places) {
            text class={ "name " (course.look) } x=(px(WIDTH - RIGHT + 8.0)) y=(px(place + 3.8)) { (label(course.cell)) }
        }
    }
}

fn commit(report: &PerfReport, chars: usize) -> String {
    let known = report.run.commit.as_deref().unwrap_or("unknown");
    let changed = if report.run.dirty { "+" } else { "" };
    known.chars().take(chars).collect::<String>() + changed
}

/// The numbers behind every drawing, newest first.
fn table(alike: &[&Chosen<'_, PerfReport>]) -> Markup {
    let Some(newest) = alike.last() else { return html! {} };
    let subjects = newest.report.subjects.iter();
    let modes: Vec<&SubjectResult> = subjects.filter(|s| s.role == Role::Ours).collect();
    html! {
        details .text {
            summary { "The numbers over commits" }
            @for mode in modes { (table_of_mode(alike, mode)) }
        }
    }
}

/// The mode alone where it is `ublk` with its null target, as it nearly always is.
fn mode(subject: &SubjectResult) -> String {
    match subject.name.as_str() {
        "ublk" => subject.mode.clone(),
        name => format!("{name} {}", subject.mode),
    }
}

fn table_of_mode(alike: &[&Chosen<'_, PerfReport>], subject: &SubjectResult) -> Markup {
    let mode = mode(subject);
    html! {
        div .scroll tabindex="0" role="region" aria-label={ "Numbers over commits, mode " (line(&mode)) } {
            table .grid {
                caption { (line(&mode)) ", thousand I/Os per second" }
                thead { tr {
                    th scope="col" { "Commit" } th scope="col" { "Measured" }
                    @for cell in &subject.cells { th .n scope="col" { (label(cell.cell)) } }
                } }
                tbody { @for chosen in alike.iter().rev() {
                    @if let Some(found) = same_of(chosen.report, subject) {
                        tr {
                            th scope="row" { code { (commit(chosen.report, 10)) } }
                            td { (units::moment(chosen.report.run.started_at_unix_ms)) }
                            @for wanted in &subject.cells {
                                td .n { @match found.cells.iter().find(|cell| cell.cell == wanted.cell) {
                                    Some(cell) => (format!("{:.1}", cell.median_iops / 1000.0)),
                                    None => span .dim { "\u{2013}" },
                                } }
                            }
                        }
                    }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_its_sign() {
        assert_eq!(percent(1.04), "+1\u{202f}%");
        assert_eq!(percent(-2.26), "\u{2212}2.3\u{202f}%");
        assert_eq!(percent(-0.01), "0");
    }

    #[test]
    fn the_ends_are_named() {
        assert_eq!(named(0, 1), [0, 1]);
        assert_eq!(named(0, 8), [0, 4, 8]);
    }
}
