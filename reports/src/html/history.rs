//! Runs of other commits: one line each, so that nobody takes them for the state of things.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::report::{Report, Verdict};

use super::clean::line;
use super::selection::{Chosen, Timeline};
use super::{badge, units};

/// Changes listed between two states.
const CHANGES_MAX: usize = 50;

/// Every run, the newest first; nothing where there is only one state.
pub(super) fn section(runs: &Timeline<'_, Report>) -> Markup {
    if !runs.has_history() {
        return html! {};
    }
    html! {
        section #history aria-labelledby="history-title" {
            h2 #history-title { "History" span .tally { (units::things(runs.all.len() as u64, "run")) } }
            (changes(runs))
            div .scroll tabindex="0" role="region" aria-labelledby="history-title" {
                table .history {
                    thead { tr {
                        th scope="col" { "Commit" } th scope="col" { "Status" } th scope="col" { "Kernels" }
                        th .n scope="col" { "Passed" } th .n scope="col" { "Failed" } th .n scope="col" { "Errors" }
                        th .n scope="col" { "Skipped" } th .n scope="col" { "Took" } th scope="col" { "Began" }
                    } }
                    tbody {
                        @for (number, run) in runs.all.iter().enumerate().rev() {
                            (row(run, number >= runs.history))
                        }
                    }
                }
            }
        }
    }
}

fn row(run: &Chosen<'_, Report>, current: bool) -> Markup {
    let (report, header) = (run.report, &run.report.run);
    let file = run.artifacts.iter().find(|file| file.name == "report.json");
    let zero = |number: u64| if number == 0 { "n dim" } else { "n" };
    html! {
        tr .current[current] {
            th scope="row" {
                code { (header.commit.as_deref().map_or("unknown".to_owned(), units::short_hash)) }
                @if header.dirty { span .dim { " + changes" } }
                @if current { span .dim { " (above)" } }
            }
            td { (badge::status(report.status)) }
            td { @for (number, kernel) in report.kernels.iter().enumerate() {
                @if number > 0 { ", " } (line(&kernel.kernel.spec))
            } }
            td class=(zero(report.counts.passed)) { (units::count(report.counts.passed)) }
            td class=(zero(report.counts.failed)) { (units::count(report.counts.failed)) }
            td class=(zero(report.counts.errors)) { (units::count(report.counts.errors)) }
            td class=(zero(report.counts.skipped)) { (units::count(report.counts.skipped)) }
            td .n { (units::duration_ms(report.duration_ms)) }
            td {
                @let began = units::moment(header.started_at_unix_ms);
                @match file { Some(file) => a href=(file.href) { (began) }, None => (began) }
            }
        }
    }
}

/// Verdicts by scenario and kernel.
type Verdicts<'a> = BTreeMap<(&'a str, &'a str), Verdict>;

fn verdicts<'a>(runs: &[Chosen<'a, Report>]) -> Verdicts<'a> {
    let of_run = |run: &Chosen<'a, Report>| {
        let report: &'a Report = run.report;
        report.scenarios().map(|(kernel, scenario)| {
            ((scenario.id.as_str(), kernel.kernel.spec.as_str()), scenario.verdict)
        })
    };
    runs.iter().flat_map(of_run).collect()
}

/// What came out otherwise the last time it was run.
fn changes(runs: &Timeline<'_, Report>) -> Markup {
    let before = verdicts(&runs.all[..runs.history]);
    let now = verdicts(runs.current());
    let changed: Vec<_> = now
        .iter()
        .filter_map(|(place, now)| Some((place, *before.get(place)?, *now)))
        .filter(|(_, before, now)| before != now && *now != Verdict::NotRun)
        .collect();
    html! {
        @if changed.is_empty() {
            p .dim { "Every scenario that was run before has the verdict it had." }
        } @else {
            h3 .minor { "Came out otherwise than the last time" }
            ul .changes {
                @for ((id, kernel), before, now) in changed.iter().take(CHANGES_MAX) {
                    li {
                        code { (id) } " " span .dim { "kernel " (line(kernel)) }
                        span .change { (badge::verdict(*before)) " \u{2192} " (badge::verdict(*now)) }
                    }
                }
            }
            @if changed.len() > CHANGES_MAX {
                p .dim { "And " (units::count((changed.len() - CHANGES_MAX) as u64)) " more." }
            }
        }
    }
}
