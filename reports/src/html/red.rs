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

/// Red scenarios of one kernel that one card speaks of: more than one where all say the same and nothing else.
#[derive(Debug)]
struct Card<'a> {
    column: usize,
    scenarios: Vec<&'a ScenarioReport>,
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
                match cards.last_mut() {
                    Some(card) if card.column == column && same(card.scenarios[0], scenario) => {
                        card.scenarios.push(scenario);
                    }
                    _ => cards.push(Card { column, scenarios: vec![scenario] }),
                }
                places.insert((column, index), cards.len());
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

/// Whether two say the same, and neither has anything of its own to show.
fn same(one: &ScenarioReport, other: &ScenarioReport) -> bool {
    let bare = |s: &ScenarioReport| {
        s.evidence.is_empty() && s.health.is_empty() && s.last_steps.is_empty()
    };
    bare(one)
        && bare(other)
        && (one.verdict, one.cause, &one.message) == (other.verdict, other.cause, &other.message)
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
                (self::card(room, number, card, &columns[card.column]))
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

fn card(room: &Room, number: usize, card: &Card<'_>, column: &Column<'_>) -> Markup {
    let first = card.scenarios[0];
    html! {
        article .card.red id={ "red-" (number) } {
            header {
                span { (badge::with_cause(first)) }
                span .where { "kernel " (line(&column.label)) }
                @if let Some(ms) = first.duration_ms { span .where { (units::duration_ms(ms)) } }
                @if let Some(boot) = first.boot { span .where { "boot " (boot) } }
            }
            @for scenario in &card.scenarios {
                h3 data-red=(scenario.id) { (scenario.id) }
            }
            (contrast(first))
            @if !first.last_steps.is_empty() { (steps(first)) }
            (evidence::of_scenario(room, first))
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

fn steps(scenario: &ScenarioReport) -> Markup {
    let left_out = scenario.last_steps.len().saturating_sub(STEPS_MAX);
    html! {
        div .steps {
            h4 { "Last steps" }
            ol {
                @if left_out > 0 { li .dim { (units::things(left_out as u64, "earlier step")) } }
                @for step in &scenario.last_steps[left_out..] { li { (line(step)) } }
            }
        }
    }
}
