//! The deliberate disasters: what shows that red would have been seen.

use maud::{Markup, html};

use crate::plan::Expectation;
use crate::report::ScenarioReport;

use super::clean::line;
use super::columns::Column;
use super::{badge, units};

/// The canaries of every kernel; says so where none was planned.
pub(super) fn section(columns: &[Column<'_>]) -> Markup {
    if columns.is_empty() {
        return html! {};
    }
    let is_canary = |s: &&ScenarioReport| matches!(s.expect, Expectation::Canary { .. });
    let (mut caught, mut planned) = (0, 0);
    for column in columns {
        caught += column.kernel.canaries.caught;
        planned += column.kernel.canaries.planned;
    }
    html! {
        section #canaries aria-labelledby="canaries-title" {
            h2 #canaries-title {
                "Canaries" @if planned > 0 { span .tally { (units::count(caught)) " of " (units::count(planned)) " caught" } }
            }
            @if planned == 0 {
                p .dim { "None was planned, so nothing shows that a disaster would have been noticed. A run without a filter has five for each kernel." }
            } @else {
                p .dim { "Disasters made on purpose; the harness has to see each of them in this run." }
                div .list {
                    @for column in columns { @for scenario in column.kernel.scenarios.iter().filter(is_canary) {
                        div .item.row {
                            (badge::verdict(scenario.verdict))
                            div {
                                code { (scenario.id) }
                                @if columns.len() > 1 { " " span .dim { "kernel " (line(&column.label)) } }
                                p .dim { (line(&scenario.message)) }
                            }
                        }
                    } }
                }
            }
        }
    }
}
