//! Puts the sections of the page into their order, and around them what makes it one file.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::perf::PerfReport;
use crate::report::Report;

use super::clean::{Room, visible};
use super::environment::Surroundings;
use super::red::Reds;
use super::selection::{self, Timeline};
use super::{
    Source, badge, boots, canaries, columns, environment, headline, history, known, matrix, perf,
    red, skips, units,
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page of `sources`, in any order: runs of the newest commit side by side, all others as history.
#[must_use]
pub fn page(sources: &[Source<'_>]) -> String {
    let runs = selection::runs(sources);
    let perfs = selection::perfs(sources);
    whole(&title(&runs, &perfs), &body(&runs, &perfs))
}

/// A page of its own around `body`: styles and script inside, and nothing loaded.
pub(super) fn whole(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (badge::shapes())
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    visible(&page.into_string())
}

/// Nothing may be loaded, and nothing may run but the two texts above.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT),
    )
}

fn title(runs: &Timeline<'_, Report>, perfs: &Timeline<'_, PerfReport>) -> String {
    let commit = |commit: Option<&str>| commit.map(units::short_hash).unwrap_or_default();
    match (runs.current(), perfs.current()) {
        ([.., run], _) => {
            let header = &run.report.run;
            format!("{}: ublk {}", run.report.status.as_str(), commit(header.commit.as_deref()))
        }
        (_, [.., perf]) => format!("ublk {}: numbers", commit(perf.report.run.commit.as_deref())),
        _ => "ublk: no report".to_owned(),
    }
}

fn body(runs: &Timeline<'_, Report>, perfs: &Timeline<'_, PerfReport>) -> Markup {
    let room = Room::new();
    let columns = columns::of(runs.current());
    let reds = Reds::of(&columns);
    // Red texts first: where the page has no room for all, it is the green ones that go without.
    let red = red::section(&room, runs.current(), &columns, &reds);
    let sections = [
        ("red", "Red", red),
        ("performance", "Performance", perf::section(perfs, !runs.all.is_empty())),
        ("scenarios", "Scenarios", matrix::section(&room, &columns, &reds)),
        ("skipped", "Skipped", skips::section(&columns)),
        ("known-bugs", "Known bugs", known::section(&columns)),
        ("canaries", "Canaries", canaries::section(&columns)),
        ("boots", "Boots", boots::section(&room, &columns)),
        ("history", "History", history::section(runs)),
        ("environment", "Environment", environment::section(&surroundings(runs, perfs))),
    ];
    let there = || sections.iter().filter(|(_, _, markup)| !markup.0.is_empty());
    html! {
        a .skip-link href="#main" { "To the report" }
        header .top {
            p .eyebrow { "ublk, proven" }
            @match (runs.current(), perfs.current()) {
                ([_, ..], _) => (headline::of_runs(runs.current(), &columns)),
                (_, [.., perf]) => (headline::of_perf(perf)),
                _ => h1 .odd { "No report" },
            }
            nav aria-label="Sections" {
                ul { @for (id, name, _) in there() { li { a href={ "#" (id) } { (name) } } } }
            }
        }
        main #main { @for (_, _, markup) in there() { (markup) } }
        footer { p { "Made from report.json and perf.json by " code { "cargo xtask report" } "; nothing on this page decides a verdict." } }
    }
}

fn surroundings<'a>(
    runs: &Timeline<'a, Report>,
    perfs: &Timeline<'a, PerfReport>,
) -> Vec<Surroundings<'a>> {
    let runs = runs.current().iter().map(|chosen| Surroundings {
        run: &chosen.report.run,
        kernels: chosen.report.kernels.iter().map(|k| (&k.kernel, k.guest.as_ref())).collect(),
        duration_ms: Some(chosen.report.duration_ms),
        more: Vec::new(),
        artifacts: chosen.artifacts,
    });
    let perfs = perfs.current().iter().map(|chosen| Surroundings {
        run: &chosen.report.run,
        kernels: vec![(&chosen.report.kernel, None)],
        duration_ms: None,
        more: more(chosen.report),
        artifacts: chosen.artifacts,
    });
    runs.chain(perfs).collect()
}

/// What only a measurement knows of its surroundings.
fn more(report: &PerfReport) -> Vec<(&'static str, String)> {
    let load = report.host_load.map(|load| {
        format!("{:.1} before, {:.1} after: processes that wanted a CPU", load.before, load.after)
    });
    let facts = [("Compiler", report.toolchain.clone()), ("Load of the host", load)];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
