//! Curves over depth: where a server stops gaining from more in flight.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::perf::{Operation, SubjectResult};

use super::super::clean::line;
use super::chart::{Scale, apart, mark, path, px, tick, ticks};
use super::panel::{Common, Panel, series};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 168.0;
const LEFT: f64 = 30.0;
const RIGHT: f64 = 62.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// The curve of one server.
struct Curve<'a> {
    subject: &'a SubjectResult,
    series: String,
    /// Depth and I/Os per second, by depth.
    points: Vec<(u16, f64)>,
}

/// I/Os per second by depth, a line for each server; nothing where one depth only was measured.
pub(super) fn figure(common: &Common<'_>, panel: &Panel<'_>, operation: Operation) -> Markup {
    let curves: Vec<Curve<'_>> =
        panel.subjects.iter().map(|subject| curve(common, subject, operation)).collect();
    let depths: BTreeSet<u16> =
        curves.iter().flat_map(|curve| curve.points.iter().map(|(depth, _)| *depth)).collect();
    if depths.len() < 2 {
        return html! {};
    }
    let octave = |depth: u16| f64::from(depth.max(1)).log2();
    let ends = depths.first().zip(depths.last()).map_or((1, 1), |(low, high)| (*low, *high));
    let x = Scale::new((octave(ends.0), octave(ends.1)), (LEFT + 8.0, WIDTH - RIGHT));
    let top_k = common.iops_max / 1000.0;
    let y = Scale::new((0.0, top_k), (HEIGHT - BOTTOM, TOP));
    let name = match operation {
        Operation::Read => "Reads",
        Operation::Write => "Writes",
    };
    html! {
        figure .drawing {
            figcaption { (name) ", thousand per second by depth" }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(summary(panel, name, &curves)) {
                @for value in ticks(0.0, top_k, 4) {
                    line .grid x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(y.at(value))) y2=(px(y.at(value))) {}
                    text .tick x=(px(LEFT - 6.0)) y=(px(y.at(value) + 3.5)) text-anchor="end" { (tick(value)) }
                }
                @for depth in &depths {
                    text .tick x=(px(x.at(octave(*depth)))) y=(px(HEIGHT - 6.0)) text-anchor="middle" { (depth) }
                }
                @for curve in curves.iter().rev() { (drawn(curve, |depth| x.at(octave(depth)), |iops| y.at(iops / 1000.0))) }
                (names(&curves, |iops| y.at(iops / 1000.0)))
            }
        }
    }
}

fn curve<'a>(common: &Common<'_>, subject: &'a SubjectResult, operation: Operation) -> Curve<'a> {
    // One length only: those of different lengths are no curve. The shortest is the server's own cost.
    let shortest = subject.cells.iter().map(|cell| cell.cell.block_bytes).min();
    let own = subject
        .cells
        .iter()
        .filter(|cell| cell.cell.operation == operation && Some(cell.cell.block_bytes) == shortest);
    let mut points: Vec<(u16, f64)> = own.map(|cell| (cell.cell.depth, cell.median_iops)).collect();
    points.retain(|(_, iops)| iops.is_finite());
    points.sort_by_key(|(depth, _)| *depth);
    Curve { subject, series: series(common.report, subject), points }
}

fn drawn(curve: &Curve<'_>, x: impl Fn(u16) -> f64, y: impl Fn(f64) -> f64) -> Markup {
    let places: Vec<(f64, f64)> = curve.points.iter().map(|(d, iops)| (x(*d), y(*iops))).collect();
    html! {
        (path(&curve.series, &places))
        @for ((depth, iops), (x, y)) in curve.points.iter().zip(&places) {
            @let says = format!("{} at depth {depth}: {:.1} thousand", curve.subject.name, iops / 1000.0);
            (mark(&curve.series, *x, *y, &says))
        }
    }
}

/// Each server's name at the end of its line: no legend has to be looked up.
fn names(curves: &[Curve<'_>], y: impl Fn(f64) -> f64) -> Markup {
    let ended: Vec<(&Curve<'_>, f64)> =
        curves.iter().filter_map(|c| Some((c, y(c.points.last()?.1)))).collect();
    let places: Vec<f64> = ended.iter().map(|(_, place)| *place).collect();
    let places = apart(&places, 12.0, (TOP, HEIGHT - BOTTOM));
    html! {
        @for ((curve, _), place) in ended.iter().zip(&places) {
            text class={ "name " (curve.series) } x=(px(WIDTH - RIGHT + 8.0)) y=(px(place + 3.8)) { (line(&curve.subject.name)) }
        }
    }
}

/// The drawing in words.
fn summary(panel: &Panel<'_>, name: &str, curves: &[Curve<'_>]) -> String {
    let said = |curve: &Curve<'_>| {
        let last = curve.points.last()?;
        let thousand = last.1 / 1000.0;
        Some(format!("{} {thousand:.0} thousand at depth {}", curve.subject.name, last.0))
    };
    let all: Vec<String> = curves.iter().filter_map(said).collect();
    format!("{name} in mode {}: {}", panel.mode, all.join(", "))
}
