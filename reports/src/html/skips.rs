//! What did not run and which probe said so: a run that skips for the wrong reason looks like a green one.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::clean::line;
use super::columns::Column;
use super::units;

/// Skipped scenarios by probe and answer.
pub(super) fn section(columns: &[Column<'_>]) -> Markup {
    let mut by_probe: BTreeMap<(&str, &str), BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    let mut total = 0;
    for column in columns {
        for scenario in &column.kernel.scenarios {
            let Some(skip) = &scenario.skip else { continue };
            total += 1;
            let of_probe = by_probe.entry((&skip.probe, &skip.reason)).or_default();
            of_probe.entry(&scenario.id).or_default().push(&column.label);
        }
    }
    if total == 0 {
        return html! {};
    }
    html! {
        section #skipped aria-labelledby="skipped-title" {
            h2 #skipped-title { "Skipped, by probe" span .tally { (units::count(total)) } }
            div .list {
                @for ((probe, reason), scenarios) in &by_probe {
                    div .item {
                        h3 { (line(probe)) }
                        p .plain { (line(reason)) }
                        ul .ids {
                            @for (id, labels) in scenarios {
                                li { code { (id) } " " span .dim { (line(&labels.join(", "))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
