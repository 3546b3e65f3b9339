//! The criterion benches: what a piece of code costs by itself, in the guest and on the host side by side.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::perf::{BenchPlace, BenchResult, PerfReport};

use super::super::clean::line;
use super::super::units;
use super::frame::{self, folded, head, number};

/// A folded table; nothing where no bench ran.
pub(super) fn table(report: &PerfReport) -> Markup {
    let places: Vec<BenchPlace> = [BenchPlace::Guest, BenchPlace::Host]
        .into_iter()
        .filter(|place| report.benches.iter().any(|bench| bench.place == *place))
        .collect();
    let names: BTreeSet<&str> = report.benches.iter().map(|bench| bench.name.as_str()).collect();
    if names.is_empty() {
        return html! {};
    }
    let of = |name: &str, place: BenchPlace| {
        report.benches.iter().find(|bench| bench.name == name && bench.place == place)
    };
    let body = html! {
        @for name in &names {
            tr {
                th scope="row" { code { (line(name)) } }
                @for place in &places { (number(of(name, *place).map(estimate))) }
            }
        }
    };
    let titles = places.iter().map(|place| title(*place, &report.clock).to_owned());
    let table = frame::table("Criterion benches", &head(&["Bench"], titles), &body);
    folded("Benches of the hot path", "one iteration, with criterion\u{2019}s deviation", &table)
}

fn title(place: BenchPlace, clock: &str) -> &'static str {
    match (place, clock) {
        (BenchPlace::Guest, "instructions") => "guest, instructions",
        (BenchPlace::Guest, _) => "guest, ns",
        (BenchPlace::Host, _) => "host, ns",
    }
}

fn estimate(bench: &BenchResult) -> String {
    let value = units::count(bench.ns_per_iteration);
    format!("{value} \u{b1} {}", units::count(bench.deviation_ns))
}
