//! What is red, first and in full: what was expected, what was observed, what it did last, what there is to see.

use std::collections::HashMap;

use maud::{Markup, html};

use crate::render::words;
use crate::report::{Report, ScenarioReport};

use super::clean::{Room, line};
use super::columns::Column;
use super::selection::Chosen;
use super::{badge, evidence, expected, units};

/// Steps shown before the others are left to report.json.
const STEPS_MAX: usize = 20;

/// Red scenarios that one card speaks of: more than one where it would say the same of all of them.
#[derive(Debug)]
struct Card<'a> {
    /// Columns and scenarios, the one that is shown in full first.
    members: Vec<(usize, &'a ScenarioReport)>,
}

/// Every red scenario of the page, and on which card it is.
#[derive(Debug)]
pub(super) struct Reds<'a> {
    cards: Vec<Card<'a>>,
    places: HashMap<(usize, usize), usize>,
}

impl<'a> Reds<'a> {
    pub(super) fn of(columns: &[Column<'a>]) -> Self {
        let mut cards: Vec<Card<'a>> = Vec::new();
        let mut places = HashMap::new();
        for (column, own) in columns.iter().enumerate() {
            for (index, scenario) in own.kernel.scenarios.iter().enumerate() {
                if !scenario.verdict.is_red() {
                    continue;
                }
                let found = cards.iter().position(|card| card.fits(column, scenario));
                let place = found.unwrap_or(cards.len());
                match cards.get_mut(place) {
                    Some(card) => card.members.push((column, scenario)),
                    None => cards.push(Card { members: vec![(column, scenario)] }),
                }
                places.insert((column, index), place + 1);
            }
        }
        Self { cards, places }
    }

    /// Number of the card that shows a scenario, from 1.
    pub(super) fn place(&self, column: usize, scenario: usize) -> Option<usize> {
        self.places.get(&(column, scenario)).copied()
    }

    /// How many scenarios are red.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }
}

impl Card<'_> {
    /// Whether a scenario says nothing that the card does not say: the same of another kernel, or the same of
    /// another scenario where neither has anything of its own to show.
    fn fits(&self, column: usize, scenario: &ScenarioReport) -> bool {
        let (own_column, own) = self.members[0];
        let silent = |s: &ScenarioReport| s.evidence.is_empty() && s.health.is_empty();
        let stepless = |s: &ScenarioReport| s.last_steps.is_empty();
        let says = |s: &'_ ScenarioReport| (s.verdict, s.cause, s.message.clone());
        let fits = if own_column == column {
            stepless(own) && stepless(scenario)
        } else {
            own.id == scenario.id && self.members.iter().all(|(_, member)| member.id == own.id)
        };
        fits && silent(own) && silent(scenario) && says(own) == says(scenario)
    }
}

/// The red scenarios and what went wrong around them; nothing where all is well.
pub(super) fn section(
    room: &Room,
    runs: &[Chosen<'_, Report>],
    columns: &[Column<'_>],
    reds: &Reds<'_>,
) -> Markup {
    let around =
        runs.iter().map(|r| r.report.violations.len() + r.report.errors.len()).sum::<usize>();
    if reds.count() + around == 0 {
        return html! {};
    }
    html! {
        section #red aria-labelledby="red-title" {
            h2 #red-title { "What is red" span .tally { (units::count((reds.count() + around) as u64)) } }
            @for run in runs { (around_them(run.report)) }
            @for (number, card) in (1..).zip(&reds.cards) {
                (self::card(room, number, card, columns))
            }
        }
    }
}

fn around_them(report: &Report) -> Markup {
    html! {
        @for error in &report.errors {
            article .card.red {
                header { span .verdict.bad { svg .shape aria-hidden="true" { use href="#shape-odd" {} } "run error" } }
                p .plain { (line(&words::run_error(report, error))) }
            }
        }
        @for violation in &report.violations {
            article .card.red {
                header { span .verdict.bad { svg .shape aria-hidden="true" { use href="#shape-odd" {} } "violation" } }
                p .plain { (line(&words::violation(violation))) }
            }
        }
        @if report.violations_cut > 0 {
            p .dim { (units::things(report.violations_cut, "more violation")) " not kept." }
        }
    }
}

fn card(room: &Room, number: usize, card: &Card<'_>, columns: &[Column<'_>]) -> Markup {
    let (_, first) = card.members[0];
    let alone = card.members.len() == 1;
    let mut kernels: Vec<usize> = card.members.iter().map(|(column, _)| *column).collect();
    kernels.dedup();
    let labels: Vec<&str> = kernels.iter().map(|column| columns[*column].label.as_str()).collect();
    html! {
        article .card.red id={ "red-" (number) } {
            header {
                span { (badge::with_cause(first)) }
                span .where { (if labels.len() == 1 { "kernel " } else { "kernels " }) (line(&labels.join(", "))) }
                @if let Some(ms) = first.duration_ms.filter(|_| alone) { span .where { (units::duration_ms(ms)) } }
                @if let Some(boot) = first.boot.filter(|_| alone) { span .where { "boot " (boot) } }
            }
            @if card.members.len() == labels.len() {
                h3 data-red=(first.id) { (first.id) }
                (contrast(first))
            } @else {
                h3 { (units::things(card.members.len() as u64, "scenario")) }
                (contrast(first))
                (all_of(card))
            }
            @if !first.last_steps.is_empty() { (steps(first, labels.first().copied().filter(|_| !alone))) }
            (evidence::of_scenario(room, first))
        }
    }
}

/// Every scenario of a card that speaks of many.
fn all_of(card: &Card<'_>) -> Markup {
    html! {
        ul .ids {
            @for (_, scenario) in &card.members {
                li { code data-red=(scenario.id) { (scenario.id) } }
            }
        }
    }
}

fn contrast(scenario: &ScenarioReport) -> Markup {
    let sides = expected::of(scenario);
    html! {
        @if let Some(subject) = &sides.subject { p .plain { (line(subject)) } }
        dl .contrast {
            dt { "Expected" } dd { (line(&sides.expected)) }
            dt { "Observed" } dd .observed { (line(&sides.observed)) }
        }
    }
}

fn steps(scenario: &ScenarioReport, on: Option<&str>) -> Markup {
    let left_out = scenario.last_steps.len().saturating_sub(STEPS_MAX);
    html! {
        div .steps {
            h4 { "Last steps" @if let Some(kernel) = on { " on " (line(kernel)) } }
            ol {
                @if left_out > 0 { li .dim { (units::things(left_out as u64, "earlier step")) } }
                @for step in &scenario.last_steps[left_out..] { li { (line(step)) } }
            }
        }
    }
}
