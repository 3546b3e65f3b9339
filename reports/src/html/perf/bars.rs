//! Bars against peers: how far each server is from the reference, to the right where it is faster.
//!
//! They begin at 1 and not at 0: a ratio's point of rest is 1, and both directions have to be seen.

use maud::{Markup, html};

use crate::perf::{BLOCK_BYTES, Cell, CellResult, Operation, Role, SubjectResult};

use super::super::clean::line;
use super::super::units;
use super::chart::{Scale, px, tick, ticks};
use super::panel::{Common, Panel, series};

const WIDTH: f64 = 340.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 4.0;
const AXIS: f64 = 20.0;
/// Height of a cell's row, whatever the number of its bars: rows of all modes can be read across.
const ROW: f64 = 23.0;
const BAR_MAX: f64 = 10.0;
/// Between the bars of one cell.
const GAP: f64 = 1.5;

/// The ratios of one mode; nothing where there are none.
pub(super) fn figure(common: &Common<'_>, panel: &Panel<'_>) -> Markup {
    let servers: Vec<&SubjectResult> = panel
        .subjects
        .iter()
        .copied()
        .filter(|s| s.role != Role::Reference && s.cells.iter().any(|cell| cell.ratio.is_some()))
        .collect();
    let Some(first) = servers.first() else { return html! {} };
    let cells: Vec<Cell> = first.cells.iter().map(|cell| cell.cell).collect();
    let bottom = TOP + ROW * cells.len() as f64;
    let bar_height = ((ROW - 6.0) / servers.len() as f64 - GAP).min(BAR_MAX);
    let bars_height = (bar_height + GAP) * servers.len() as f64 - GAP;
    let scale = Scale::new(common.ratios, (LEFT, WIDTH - RIGHT));
    let reference = super::reference(common.report).unwrap_or("reference");
    html! {
        figure .drawing {
            figcaption {
                "I/Os per second, ratio to " (line(reference))
                @if !panel.has_reference() { " in its copy mode" }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (px(bottom + AXIS)) } role="img" aria-label=(summary(panel, &servers)) {
                @for value in ticks(common.ratios.0, common.ratios.1, 5) {
                    line .grid.rest[(value - 1.0).abs() < 1e-9] x1=(px(scale.at(value))) x2=(px(scale.at(value))) y1="0" y2=(px(bottom)) {}
                    text .tick x=(px(scale.at(value))) y=(px(bottom + 14.0)) text-anchor="middle" { (tick(value)) }
                }
                @for (number, cell) in cells.iter().enumerate() {
                    @let middle = TOP + ROW * (number as f64 + 0.5);
                    text .label x="0" y=(px(middle + 3.8)) { (label(*cell)) }
                    @for (place, server) in servers.iter().enumerate() {
                        @if let Some(result) = server.cells.iter().find(|result| result.cell == *cell) {
                            @let y = middle - bars_height / 2.0 + (bar_height + GAP) * place as f64;
                            (bar(common, scale, server, result, (y, bar_height)))
                        }
                    }
                }
                line .rest x1=(px(scale.at(1.0))) x2=(px(scale.at(1.0))) y1="0" y2=(px(bottom)) {}
            }
        }
    }
}

fn bar(
    common: &Common<'_>,
    scale: Scale,
    server: &SubjectResult,
    result: &CellResult,
    (y, height): (f64, f64),
) -> Markup {
    let Some(ratio) = result.ratio.filter(|ratio| ratio.is_finite()) else { return html! {} };
    let (rest, end) = (scale.at(1.0), scale.at(ratio));
    let class = series(common.report, server);
    html! {
        rect class={ "bar " (class) } x=(px(rest.min(end))) y=(px(y)) width=(px((end - rest).abs().max(0.6))) height=(px(height)) {
            title { (server.name) " " (result.cell.name()) ": " (format!("{ratio:.3}")) }
        }
        @if server.role == Role::Ours {
            text .value x=(px(rest.max(end) + 4.0)) y=(px(y + height / 2.0 + 3.8)) { (format!("{ratio:.2}")) }
        }
    }
}

/// `read 32`, `read 64 KiB 32`, `read 32 \u{d7} 4`: what, how long unless 4 KiB, how many in flight, how many
/// jobs.
pub(super) fn label(cell: Cell) -> String {
    let operation = match cell.operation {
        Operation::Read => "read",
        Operation::Write => "write",
    };
    let length = match cell.block_bytes {
        BLOCK_BYTES => String::new(),
        bytes => format!(" {}", units::bytes(u64::from(bytes))),
    };
    match cell.jobs {
        0 | 1 => format!("{operation}{length} {}", cell.depth),
        jobs => format!("{operation}{length} {} \u{d7} {jobs}", cell.depth),
    }
}

/// The drawing in words.
fn summary(panel: &Panel<'_>, servers: &[&SubjectResult]) -> String {
    let range = |server: &&SubjectResult| {
        let ratios = server.cells.iter().filter_map(|cell| cell.ratio);
        let (low, high) =
            ratios.fold((f64::MAX, f64::MIN), |(low, high), r| (low.min(r), high.max(r)));
        format!("{} {low:.2} to {high:.2}", server.name)
    };
    let ranges: Vec<String> = servers.iter().map(range).collect();
    format!("Ratios in mode {}: {}", panel.mode, ranges.join(", "))
}
