//! The first screen: how it ended, why in one sentence, and how much of what.

use maud::{Markup, html};

use crate::report::{CanaryCounts, Counts, Report, RunHeader, Status};

use super::clean::line;
use super::columns::Column;
use super::selection::Chosen;
use super::{badge, perf, units};

/// The heading of a page with runs.
pub(super) fn of_runs(runs: &[Chosen<'_, Report>], columns: &[Column<'_>]) -> Markup {
    let status = worst(runs);
    let counts = runs.iter().fold(Counts::default(), |sum, r| sum.plus(r.report.counts));
    let canaries = runs.iter().fold(CanaryCounts::default(), |sum, r| sum.plus(r.report.canaries));
    html! {
        h1 class=(badge::status_tone(status)) { (badge::status_shape(status)) (badge::status_word(status)) }
        @match runs {
            [run] => p .reason { (sentence(&run.report.status_reason)) },
            _ => (each(runs)),
        }
        p .meta { (meta(runs, columns)) }
        (numbers(&counts, &canaries))
    }
}

/// The heading of a page with nothing but measurements.
pub(super) fn of_perf(newest: &Chosen<'_, crate::perf::PerfReport>) -> Markup {
    let report = newest.report;
    let good = report.errors.is_empty();
    html! {
        h1 class=(if good { "good" } else { "bad" }) {
            (badge::status_shape(if good { Status::Passed } else { Status::Failed }))
            (if good { "Measured" } else { "Not all measured" })
        }
        p .reason { (perf::sentence(report)) }
        p .meta { (perf::conditions(report)) " \u{b7} " (when(&report.run)) }
    }
}

fn worst(runs: &[Chosen<'_, Report>]) -> Status {
    let loud = |status: Status| match status {
        Status::Invalid => 4,
        Status::Failed => 3,
        Status::Interrupted => 2,
        Status::NothingRan => 1,
        Status::Passed => 0,
    };
    let statuses = runs.iter().map(|run| run.report.status);
    statuses.max_by_key(|status| loud(*status)).unwrap_or(Status::NothingRan)
}

/// A reason as a sentence, where it is not begun by a name.
fn sentence(reason: &str) -> String {
    let reason = line(reason);
    let word = reason.split(' ').next().unwrap_or_default();
    let mut sentence = match reason.chars().next() {
        Some(first) if word.chars().all(|c| c.is_ascii_lowercase()) => {
            first.to_ascii_uppercase().to_string() + &reason[first.len_utf8()..]
        }
        _ => reason,
    };
    if !sentence.ends_with(['.', '\u{2026}']) {
        sentence.push('.');
    }
    sentence
}

fn each(runs: &[Chosen<'_, Report>]) -> Markup {
    html! {
        ul .runs {
            @for run in runs {
                li {
                    (badge::status(run.report.status)) " "
                    @for (number, kernel) in run.report.kernels.iter().enumerate() {
                        @if number > 0 { ", " } (line(&kernel.kernel.spec))
                    }
                    span .dim { " \u{2014} " (line(&run.report.status_reason)) }
                }
            }
        }
    }
}

fn meta(runs: &[Chosen<'_, Report>], columns: &[Column<'_>]) -> Markup {
    let took: u64 = runs.iter().map(|run| run.report.duration_ms).sum();
    html! {
        @match columns {
            [column] => { "Linux " (line(column.release().unwrap_or(&column.label))) },
            _ => { (units::things(columns.len() as u64, "kernel")) },
        }
        @if let Some(run) = runs.last() { " \u{b7} " (when(&run.report.run)) }
        " \u{b7} took " (units::duration_ms(took))
    }
}

fn when(run: &RunHeader) -> Markup {
    html! {
        @match &run.commit {
            Some(commit) => { "commit " code { (units::short_hash(commit)) } },
            None => "commit unknown",
        }
        @if run.dirty { " with local changes" }
        " \u{b7} "
        time datetime=(units::moment_iso(run.started_at_unix_ms)) { (units::moment(run.started_at_unix_ms)) }
    }
}

/// Every count, those that are zero held back.
fn numbers(counts: &Counts, canaries: &CanaryCounts) -> Markup {
    let plain = [
        ("planned", counts.planned, ""),
        ("reported", counts.reported, if counts.reported < counts.planned { "bad" } else { "" }),
        ("passed", counts.passed, "good"),
        ("failed", counts.failed, "bad"),
        ("errors", counts.errors, "bad"),
        ("skipped", counts.skipped, ""),
    ];
    let rare = [("known bugs", counts.known_bugs, "odd"), ("not run", counts.not_run, "odd")];
    let shown = plain.into_iter().chain(rare.into_iter().filter(|(_, number, _)| *number > 0));
    let tone = match (canaries.missed, canaries.caught) {
        (0, 0) => "zero",
        (0, _) => "good",
        _ => "bad",
    };
    html! {
        dl .counts {
            @for (name, number, tone) in shown {
                div class=(if number == 0 { "zero" } else { tone }) { dt { (name) } dd { (units::count(number)) } }
            }
            div class=(tone) {
                dt { "canaries caught" }
                dd { (units::count(canaries.caught)) span .of { "/" (units::count(canaries.full)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_becomes_a_sentence_unless_a_name_begins_it() {
        assert_eq!(sentence("the run was interrupted"), "The run was interrupted.");
        assert_eq!(sentence("data/x on kernel 7.3: no"), "data/x on kernel 7.3: no.");
        assert_eq!(sentence(""), ".");
    }
}
