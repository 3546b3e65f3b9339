//! Every scenario of the page exactly once, with its verdict on every kernel.

use maud::{Markup, html};

use crate::report::{ScenarioReport, Verdict};

use super::clean::{Room, line};
use super::columns::{Column, groups};
use super::red::Reds;
use super::{badge, evidence, units};

/// What a row is filtered and sorted by; the order is the order of attention.
const VERDICTS: [Verdict; 8] = [
    Verdict::Missed,
    Verdict::Fail,
    Verdict::Error,
    Verdict::NotRun,
    Verdict::KnownBug,
    Verdict::Skip,
    Verdict::Caught,
    Verdict::Pass,
];

/// The table with its filter.
pub(super) fn section(room: &Room, columns: &[Column<'_>], reds: &Reds<'_>) -> Markup {
    let groups = groups(columns);
    let total: usize = groups.iter().map(|(_, ids)| ids.len()).sum();
    if total == 0 {
        return html! {};
    }
    html! {
        section #scenarios aria-labelledby="scenarios-title" {
            h2 #scenarios-title { "Scenarios" span .tally { (units::count(total as u64)) } }
            (controls(columns, total))
            div .scroll tabindex="0" role="region" aria-labelledby="scenarios-title" {
                @if let [column] = columns { (single(room, column, &groups, reds)) }
                @else { (several(room, columns, &groups, reds)) }
            }
        }
    }
}

/// Shown by the script only: without it they would do nothing.
fn controls(columns: &[Column<'_>], total: usize) -> Markup {
    let there = VERDICTS.into_iter().filter(|wanted| {
        columns.iter().any(|column| column.kernel.scenarios.iter().any(|s| s.verdict == *wanted))
    });
    html! {
        form #filter .controls hidden {
            label { span { "Find" } input #filter-text type="search" placeholder="startup, MD5, hang \u{2026}" autocomplete="off"; }
            label { span { "Verdict" }
                select #filter-verdict {
                    option value="" { "all" }
                    @for verdict in there { option value=(verdict.as_str()) { (verdict.as_str()) } }
                }
            }
            output #filter-count for="filter-text filter-verdict" { (units::count(total as u64)) " shown" }
        }
    }
}

/// One kernel: what each scenario showed, how many checks it made, how long it took.
fn single(
    room: &Room,
    column: &Column<'_>,
    groups: &[(&str, Vec<&str>)],
    reds: &Reds<'_>,
) -> Markup {
    html! {
        table .matrix.single {
            thead { tr {
                th scope="col" data-sort="verdict" { "Verdict" }
                th scope="col" data-sort="id" { "Scenario and what was seen" }
                th .n.checks scope="col" data-sort="checks" { "Checks" }
                th .n scope="col" data-sort="ms" { "Time" }
            } }
            @for (group, ids) in groups {
                tbody {
                    (group_head(group, ids.len(), 4))
                    @for id in ids { @for (index, scenario) in column.of(id) {
                        tr data-scenario=(id) data-verdicts=(scenario.verdict.as_str()) data-rank=(rank(scenario.verdict))
                            data-ms=(scenario.duration_ms.unwrap_or(0)) data-checks=(scenario.checks) {
                            td { (linked(badge::with_cause(scenario), reds.place(0, index))) }
                            th scope="row" { (name(id)) div .seen { (seen(scenario)) } (more(room, scenario)) }
                            td .n.checks { @if scenario.checks > 0 { (units::count(scenario.checks)) } }
                            td .n { @if let Some(ms) = scenario.duration_ms { (units::duration_ms(ms)) } }
                        }
                    } }
                }
            }
        }
    }
}

/// Several kernels: a column each; what was seen is one step away.
fn several(
    room: &Room,
    columns: &[Column<'_>],
    groups: &[(&str, Vec<&str>)],
    reds: &Reds<'_>,
) -> Markup {
    html! {
        table .matrix.several {
            thead { tr {
                th scope="col" data-sort="id" { "Scenario" }
                @for column in columns {
                    th scope="col" title=[column.release()] { (line(&column.label)) }
                }
            } }
            @for (group, ids) in groups {
                tbody {
                    (group_head(group, ids.len(), columns.len() + 1))
                    @for id in ids {
                        tr data-scenario=(id) data-verdicts=(verdicts(columns, id)) data-rank=(worst(columns, id)) {
                            th scope="row" {
                                details .row { summary { (name(id)) } (by_kernel(room, columns, id)) }
                            }
                            @for (number, column) in columns.iter().enumerate() {
                                td {
                                    @for (index, scenario) in column.of(id) {
                                        (linked(badge::verdict(scenario.verdict), reds.place(number, index)))
                                    }
                                    @if column.of(id).next().is_none() { span .dim { "not planned" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn group_head(group: &str, scenarios: usize, columns: usize) -> Markup {
    html! {
        tr .group { th scope="rowgroup" colspan=(columns) {
            @if group.is_empty() { "other" } @else { (line(group)) }
            " " span .dim { (units::count(scenarios as u64)) }
        } }
    }
}

/// The id, with the group that its heading has said already held back.
fn name(id: &str) -> Markup {
    html! {
        code .id {
            @match id.split_once('/') {
                Some((group, rest)) => { span .dim { (group) "/" } (rest) },
                None => (id),
            }
        }
    }
}

fn seen(scenario: &ScenarioReport) -> Markup {
    html! { (line(&scenario.message)) }
}

fn linked(badge: Markup, card: Option<usize>) -> Markup {
    match card {
        Some(card) => html! { a .to-card href={ "#red-" (card) } { (badge) } },
        None => badge,
    }
}

/// Evidence of what is not red, which has a card of its own.
fn more(room: &Room, scenario: &ScenarioReport) -> Markup {
    if scenario.verdict.is_red() || (scenario.evidence.is_empty() && scenario.perf.is_empty()) {
        return html! {};
    }
    html! {
        details .row { summary { "evidence" } (evidence::of_scenario(room, scenario)) }
    }
}

fn by_kernel(room: &Room, columns: &[Column<'_>], id: &str) -> Markup {
    html! {
        dl .seen {
            @for column in columns { @for (_, scenario) in column.of(id) {
                dt { (line(&column.label)) }
                dd {
                    (seen(scenario))
                    @if let Some(ms) = scenario.duration_ms { " " span .dim { (units::duration_ms(ms)) } }
                    (more(room, scenario))
                }
            } }
        }
    }
}

fn rank(verdict: Verdict) -> usize {
    VERDICTS.iter().position(|known| *known == verdict).unwrap_or(VERDICTS.len())
}

fn worst(columns: &[Column<'_>], id: &str) -> usize {
    let ranks = columns.iter().flat_map(|column| column.of(id)).map(|(_, s)| rank(s.verdict));
    ranks.min().unwrap_or(VERDICTS.len())
}

/// Every verdict of a row, each once.
fn verdicts(columns: &[Column<'_>], id: &str) -> String {
    let has = |wanted: &Verdict| {
        columns.iter().any(|column| column.of(id).any(|(_, s)| s.verdict == *wanted))
    };
    let there = VERDICTS.iter().filter(|verdict| has(verdict)).map(|verdict| verdict.as_str());
    there.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_rank() {
        for verdict in VERDICTS {
            assert!(rank(verdict) < VERDICTS.len());
            // A new verdict has to be put into the list: this does not compile without it.
            match verdict {
                Verdict::Pass | Verdict::Fail | Verdict::Error | Verdict::Skip => {}
                Verdict::KnownBug | Verdict::Caught | Verdict::Missed | Verdict::NotRun => {}
            }
        }
    }
}
