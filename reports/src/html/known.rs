//! Bugs that somebody else has to fix: green for the run, and not to be forgotten.

use maud::{Markup, html};

use crate::plan::Expectation;
use crate::report::Verdict;

use super::clean::line;
use super::columns::Column;
use super::units;

/// Scenarios that failed as expected, with the reference.
pub(super) fn section(columns: &[Column<'_>]) -> Markup {
    let known = || {
        columns.iter().flat_map(|column| {
            let own = column.kernel.scenarios.iter();
            own.filter(|s| s.verdict == Verdict::KnownBug).map(move |scenario| (column, scenario))
        })
    };
    let total = known().count();
    if total == 0 {
        return html! {};
    }
    html! {
        section #known-bugs aria-labelledby="known-title" {
            h2 #known-title { "Known bugs" span .tally { (units::count(total as u64)) } }
            div .list {
                @for (column, scenario) in known() {
                    div .item {
                        h3 { code { (scenario.id) } " " span .dim { "kernel " (line(&column.label)) } }
                        @if let Expectation::KnownBug { reference } = &scenario.expect {
                            p .plain { "Because of " (line(reference)) }
                        }
                        p .dim { (line(&scenario.message)) }
                    }
                }
            }
        }
    }
}
