//! Long texts, folded: there for whoever opens them, in nobody's way before.

use maud::{Markup, html};

use crate::report::{Evidence, PerfCell, PerfSide, ScenarioReport};
use crate::splat;

use super::clean::{Room, line};
use super::units;

/// Crashes shown of one log before it is opened.
const CRASHES_MAX: usize = 3;

/// One folded text.
pub(super) fn folded(room: &Room, title: &str, text: &str, cut_bytes: u64) -> Markup {
    let len_bytes = text.len() as u64 + cut_bytes;
    let shown = room.take(text);
    html! {
        details .text {
            summary { (line(title)) " " span .dim { (units::bytes(len_bytes)) } }
            pre tabindex="0" {
                (shown.head)
                @if shown.left_out_bytes > 0 {
                    "\n" span .cut { (units::bytes(shown.left_out_bytes as u64)) " left out; see report.json" } "\n"
                    (shown.tail)
                }
                @if cut_bytes > 0 {
                    "\n" span .cut { (units::bytes(cut_bytes)) " were not kept; see events.jsonl and the console" }
                }
            }
        }
    }
}

/// The evidence of one scenario; a crash in it is shown before the text it stands in.
pub(super) fn of_scenario(room: &Room, scenario: &ScenarioReport) -> Markup {
    html! {
        (open(room, "Kernel health", scenario.health.iter().map(|finding| finding.text.clone())))
        @for evidence in &scenario.evidence {
            (open(room, "Crash", crashes(evidence)))
            (folded(room, &evidence.name, &evidence.text, evidence.cut_bytes))
        }
        @if !scenario.perf.is_empty() { (numbers(&scenario.perf)) }
    }
}

/// Findings that are seen without being asked for, in one block; nothing where there are none.
fn open(room: &Room, title: &str, findings: impl Iterator<Item = String>) -> Markup {
    let text = findings.map(|text| text.trim_end().to_owned()).collect::<Vec<_>>().join("\n\n");
    if text.is_empty() {
        return html! {};
    }
    let shown = room.take(&text);
    html! {
        figure .loud {
            figcaption { (title) }
            pre tabindex="0" {
                (shown.head)
                @if shown.left_out_bytes > 0 { "\n\u{2026}\n" (shown.tail) }
            }
        }
    }
}

fn crashes(evidence: &Evidence) -> impl Iterator<Item = String> {
    splat::scan(&evidence.text).into_iter().take(CRASHES_MAX).map(|finding| finding.text)
}

/// fio's numbers of a scenario.
fn numbers(cells: &[PerfCell]) -> Markup {
    let sides = |cell: &PerfCell| {
        [("read", cell.read.clone()), ("write", cell.write.clone())]
            .into_iter()
            .filter_map(|(name, side)| Some((name, side?)))
    };
    html! {
        div .scroll tabindex="0" role="region" aria-label="Numbers of the scenario" {
            table .numbers {
                caption { "By wall clock, for information only" }
                thead { tr {
                    th scope="col" { "Job" } th scope="col" { "Direction" }
                    th .n scope="col" { "IOPS" } th .n scope="col" { "Bytes per second" }
                    th .n scope="col" { "Median" } th .n scope="col" { "p99" } th .n scope="col" { "p99.9" }
                } }
                tbody {
                    @for cell in cells { @for (direction, side) in sides(cell) {
                        tr {
                            th scope="row" { (line(&cell.name)) }
                            td { (direction) }
                            td .n { (units::count(side.iops.round() as u64)) }
                            td .n { (units::bytes(side.bandwidth_bytes_per_s)) }
                            @for percent in [50.0, 99.0, 99.9] { td .n { (latency(&side, percent)) } }
                        }
                    } }
                }
            }
        }
    }
}

fn latency(side: &PerfSide, percent: f64) -> String {
    let found = side.latency.iter().find(|point| (point.percent - percent).abs() < 1e-6);
    found.map_or_else(
        || "\u{2013}".to_owned(),
        |point| format!("{:.0}\u{202f}\u{b5}s", point.latency_ns as f64 / 1000.0),
    )
}
