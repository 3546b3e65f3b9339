//! The numbers of a measurement, and how they came to be what they are: bars against peers, curves over
//! depth, what a server does for each I/O, and the same over commits.
//!
//! Drawings first, because a shape is seen before a number is read; every drawing has its numbers in a table
//! below, for whoever cannot see it or does not believe it.

mod bars;
mod benches;
mod chart;
mod compared;
mod counts;
mod curves;
mod frame;
mod history;
mod lives;
mod panel;
mod tables;

use maud::{Markup, html};

use crate::perf::{PerfReport, Role};

use super::clean::line;
use super::selection::{Chosen, Timeline};
use super::units;

/// The section of every current measurement, then the history.
pub(super) fn section(perfs: &Timeline<'_, PerfReport>, below_runs: bool) -> Markup {
    if perfs.all.is_empty() {
        return html! {};
    }
    let several = perfs.current().len() > 1;
    html! {
        section #performance aria-labelledby="performance-title" {
            h2 #performance-title { "Performance" }
            @for chosen in perfs.current() { (one(chosen, below_runs || several)) }
            (history::over_commits(perfs))
        }
    }
}

/// Under its own words where the head of the page does not say them.
fn one(chosen: &Chosen<'_, PerfReport>, introduced: bool) -> Markup {
    let report = chosen.report;
    html! {
        @if introduced {
            p .reason { (sentence(report)) }
            p .meta {
                (conditions(report))
                @if let Some(commit) = &report.run.commit {
                    " \u{b7} commit " code { (units::short_hash(commit)) }
                    @if report.run.dirty { " with local changes" }
                }
            }
        }
        @for error in &report.errors {
            article .card.red {
                header { span .verdict.bad { svg .shape aria-hidden="true" { use href="#shape-odd" {} } "error" } }
                p .plain { (line(error)) }
            }
        }
        @if report.comparisons.is_empty() { (panel::all(report)) } @else { (compared::drawings(report)) }
        (tables::all(report))
    }
}

/// What is shown, as a statement of fact about the cells that have a ratio.
pub(super) fn sentence(report: &PerfReport) -> String {
    if !report.errors.is_empty() {
        let wrong = units::things(report.errors.len() as u64, "thing");
        return format!("{wrong} went wrong, so what is here is not the whole comparison.");
    }
    if !report.comparisons.is_empty() {
        return against(report);
    }
    let ours = report.subjects.iter().filter(|subject| subject.role == Role::Ours);
    let mut ratios: Vec<f64> = ours.flat_map(|s| s.cells.iter().filter_map(|c| c.ratio)).collect();
    ratios.retain(|ratio| ratio.is_finite());
    ratios.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (ratios.first(), ratios.last()) else {
        return "There is nothing here to compare with: no reference server was measured."
            .to_owned();
    };
    let reference = reference(report).unwrap_or("the reference");
    let ahead = ratios.iter().filter(|ratio| **ratio >= 1.0).count();
    let all = ratios.len();
    format!(
        "At least as many I/Os per second as {reference} in {ahead} of {all} cells; the ratio is {least:.2} to {most:.2}."
    )
}

/// The same of a comparison: against how many others ours is ahead, taken over all cells.
fn against(report: &PerfReport) -> String {
    let subjects = report.comparisons.iter().flat_map(|comparison| &comparison.subjects);
    let served = subjects.filter(|subject| subject.role != Role::Limit);
    let overall: Vec<_> = served.filter_map(|subject| subject.overall.as_ref()).collect();
    if overall.is_empty() {
        return "No other server was measured, so there is nothing to compare with.".to_owned();
    }
    let ahead = overall.iter().filter(|overall| overall.interval.low > 1.0).count();
    let behind = overall.iter().filter(|overall| overall.interval.high < 1.0).count();
    let servers = units::count(overall.len() as u64);
    let least = overall.iter().map(|overall| overall.ratio).fold(f64::MAX, f64::min);
    let most = overall.iter().map(|overall| overall.ratio).fold(0.0, f64::max);
    format!(
        "Of {servers} servers and modes of others ours does more I/Os than {ahead} and fewer than {behind}, over all cells; {least:.2} to {most:.2} times as many."
    )
}

/// Name of the server that ratios refer to.
fn reference(report: &PerfReport) -> Option<&str> {
    let found = report.subjects.iter().find(|subject| subject.role == Role::Reference);
    found.map(|subject| subject.name.as_str())
}

/// Kernel, clock, machine.
pub(super) fn conditions(report: &PerfReport) -> Markup {
    html! {
        "Linux " (line(report.kernel.release.as_deref().unwrap_or(&report.kernel.spec)))
        " \u{b7} " (line(&report.clock)) " clock \u{b7} "
        (units::things(u64::from(report.cpus), "CPU"))
        " \u{b7} " (units::count(report.ios_per_sample)) " I/Os a sample"
    }
}
