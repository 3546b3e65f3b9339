//! The same cells over commits: whether it got faster, and with which change.
//!
//! Under the instruction clock the numbers themselves repeat, so they are drawn. By wall clock a machine's
//! mood would be drawn; there it is the ratio to the reference that was measured in the same minutes.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::perf::{Cell, CellResult, Operation, PerfReport, Role, SubjectResult};

use super::super::clean::line;
use super::super::selection::{Chosen, Timeline};
use super::super::units;
use super::bars::label;
use super::chart::{Scale, apart, mark, path, px, tick, ticks};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 176.0;
const LEFT: f64 = 34.0;
const RIGHT: f64 = 66.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 24.0;
/// Commits named below a drawing; all are in the table.
const NAMES_MAX: usize = 3;
/// Lines in one drawing, of the shapes that can still be told apart.
const LINES: [&str; 4] = ["ours", "reference", "peer-0", "peer-1"];

/// What only reports made alike may be compared in.
fn conditions(report: &PerfReport) -> (&str, u32, Option<&str>) {
    (&report.clock, report.cpus, report.kernel.release.as_deref())
}

/// One line: a cell over the runs in which it was measured.
struct Course {
    cell: Cell,
    /// Index of the run, and the number.
    points: Vec<(usize, f64)>,
}

/// A drawing for each mode and operation of the newest report; nothing without an older one made alike.
pub(super) fn over_commits(perfs: &Timeline<'_, PerfReport>) -> Markup {
    let Some(newest) = perfs.all.last() else { return html! {} };
    let alike: Vec<&Chosen<'_, PerfReport>> = perfs
        .all
        .iter()
        .filter(|chosen| conditions(chosen.report) == conditions(newest.report))
        .collect();
    let other = perfs.all.len() - alike.len();
    if !perfs.has_history() {
        return html! {};
    }
    let absolute = newest.report.clock == "instructions";
    let drawings: Vec<Markup> = newest
        .report
        .subjects
        .iter()
        .filter(|subject| subject.role == Role::Ours)
        .flat_map(|subject| {
            [Operation::Read, Operation::Write]
                .map(|operation| figure(&alike, subject, operation, absolute))
        })
        .flatten()
        .collect();
    html! {
        h3 #performance-history { "Over commits" span .tally { (units::things(alike.len() as u64, "report")) } }
        p .dim {
            @if absolute { "Thousand I/Os per second of ours, which under the instruction clock repeat; each line a depth." }
            @else { "Ratio of ours to the reference, which was measured beside it; each line a depth." }
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

fn value(cell: &CellResult, absolute: bool) -> Option<f64> {
    let value = if absolute { Some(cell.median_iops / 1000.0) } else { cell.ratio };
    value.filter(|value| value.is_finite())
}

fn ours<'a>(report: &'a PerfReport, mode: &str) -> Option<&'a SubjectResult> {
    report.subjects.iter().find(|s| s.role == Role::Ours && s.mode == mode)
}

fn courses(
    alike: &[&Chosen<'_, PerfReport>],
    mode: &str,
    operation: Operation,
    absolute: bool,
) -> Vec<Course> {
    let mut by_cell: BTreeMap<Cell, Vec<(usize, f64)>> = BTreeMap::new();
    for (index, chosen) in alike.iter().enumerate() {
        let Some(subject) = ours(chosen.report, mode) else { continue };
        for cell in subject.cells.iter().filter(|cell| cell.cell.operation == operation) {
            if let Some(value) = value(cell, absolute) {
                by_cell.entry(cell.cell).or_default().push((index, value));
            }
        }
    }
    by_cell
        .into_iter()
        .filter(|(_, points)| points.len() > 1)
        .map(|(cell, points)| Course { cell, points })
        .take(LINES.len())
        .collect()
}

fn figure(
    alike: &[&Chosen<'_, PerfReport>],
    subject: &SubjectResult,
    operation: Operation,
    absolute: bool,
) -> Option<Markup> {
    let courses = courses(alike, &subject.mode, operation, absolute);
    let values = || courses.iter().flat_map(|course| course.points.iter().map(|(_, v)| *v));
    let indices = || courses.iter().flat_map(|course| course.points.iter().map(|(i, _)| *i));
    let (first, last) = (indices().min()?, indices().max()?);
    let low = values().fold(f64::MAX, f64::min);
    let high = values().fold(f64::MIN, f64::max);
    // Not from zero: a change of some percent is what is looked for. The axis says where it begins.
    let margin = ((high - low) * 0.1).max(high * 0.01);
    let (low, high) = ((low - margin).max(0.0), high + margin);
    let y = Scale::new((low, high), (HEIGHT - BOTTOM, TOP));
    let x = Scale::new((first as f64, last as f64), (LEFT + 10.0, WIDTH - RIGHT));
    let name = match operation {
        Operation::Read => "reads",
        Operation::Write => "writes",
    };
    let says = format!("{name} in mode {} over {} reports", subject.mode, last - first + 1);
    Some(html! {
        figure .drawing {
            figcaption { strong { (line(&subject.mode)) } ", " (name) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(says) {
                @for value in ticks(low, high, 4) {
                    line .grid x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(y.at(value))) y2=(px(y.at(value))) {}
                    text .tick x=(px(LEFT - 6.0)) y=(px(y.at(value) + 3.5)) text-anchor="end" { (tick(value)) }
                }
                @for index in named(first, last) {
                    text .tick x=(px(x.at(index as f64))) y=(px(HEIGHT - 6.0)) text-anchor="middle" { (commit(alike[index].report, 7)) }
                }
                @for (course, series) in courses.iter().zip(LINES) {
                    @let places: Vec<(f64, f64)> = course.points.iter().map(|(i, v)| (x.at(*i as f64), y.at(*v))).collect();
                    (path(series, &places))
                    @for ((index, value), (x, y)) in course.points.iter().zip(&places) {
                        (mark(series, *x, *y, &format!("{} at {}: {value:.2}", label(course.cell), commit(alike[*index].report, 10))))
                    }
                }
                (names(&courses, y))
            }
        }
    })
}

/// Which reports are named below a drawing: the ends, and one between.
fn named(first: usize, last: usize) -> Vec<usize> {
    let mut named = vec![first, usize::midpoint(first, last), last];
    named.dedup();
    named.truncate(NAMES_MAX);
    named
}

fn names(courses: &[Course], y: Scale) -> Markup {
    let last = |course: &Course| course.points.last().map_or(0.0, |(_, value)| y.at(*value));
    let places: Vec<f64> = courses.iter().map(last).collect();
    let places = apart(&places, 12.0, (TOP, HEIGHT - BOTTOM));
    html! {
        @for ((course, series), place) in courses.iter().zip(LINES).zip(&places) {
            text class={ "name " (series) } x=(px(WIDTH - RIGHT + 8.0)) y=(px(place + 3.8)) { (label(course.cell)) }
        }
    }
}

fn commit(report: &PerfReport, chars: usize) -> String {
    let known = report.run.commit.as_deref().unwrap_or("unknown");
    let changed = if report.run.dirty { "+" } else { "" };
    known.chars().take(chars).collect::<String>() + changed
}

/// Every number that is drawn, newest first.
fn table(alike: &[&Chosen<'_, PerfReport>]) -> Markup {
    let Some(newest) = alike.last() else { return html! {} };
    let modes: Vec<&SubjectResult> =
        newest.report.subjects.iter().filter(|s| s.role == Role::Ours).collect();
    html! {
        details .text {
            summary { "The numbers over commits" }
            @for mode in modes {
                div .scroll tabindex="0" role="region" aria-label={ "Numbers over commits, mode " (line(&mode.mode)) } {
                    table .grid {
                        caption { (line(&mode.mode)) ", thousand I/Os per second" }
                        thead { tr {
                            th scope="col" { "Commit" } th scope="col" { "Measured" }
                            @for cell in &mode.cells { th .n scope="col" { (label(cell.cell)) } }
                        } }
                        tbody { @for chosen in alike.iter().rev() {
                            @if let Some(subject) = ours(chosen.report, &mode.mode) {
                                tr {
                                    th scope="row" { code { (commit(chosen.report, 10)) } }
                                    td { (units::moment(chosen.report.run.started_at_unix_ms)) }
                                    @for wanted in &mode.cells {
                                        td .n { @match subject.cells.iter().find(|cell| cell.cell == wanted.cell) {
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
    }
}
