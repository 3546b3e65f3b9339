//! Every form of a report says the same, and says it in the format it claims to be.
//!
//! The golden files show what a person or a tool gets; the other tests read a form back and compare it
//! with the report, for every recorded stream.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use std::path::PathBuf;

use reports::render::{Palette, junit, ktap, markdown, terminal};
use reports::report::{Report, Verdict};
use reports::{Status, parse_report};
use rstest::rstest;
use support::{Stream, folder};

/// Set to write the golden files anew instead of comparing them.
const UPDATE: &str = "REPORTS_UPDATE_GOLDEN";

#[rstest]
#[case("terminal.txt", |report: &Report| terminal(report, Palette::plain()))]
#[case("ktap.txt", ktap)]
#[case("junit.xml", |report: &Report| junit(report).unwrap())]
#[case("summary.md", markdown)]
fn a_form_is_the_golden_one(
    #[values("panic-text", "canary-missed-warn", "clean", "interrupted", "fio-numbers")]
    stream: &str,
    #[case] extension: &str,
    #[case] form: fn(&Report) -> String,
) {
    let path = folder("golden").join(format!("{stream}.{extension}"));
    let made = form(&Stream::named(stream).fold());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(made == golden, "{} differs; made:\n{made}", path.display());
}

/// One level of KTAP: its results, and how many lines of `lines` it took.
struct Level {
    results: Vec<(bool, String, Vec<Level>)>,
}

/// Reads one KTAP level at `depth` off `lines`, and holds it to the specification.
fn ktap_level<'a>(
    lines: &mut std::iter::Peekable<std::slice::Iter<'_, &'a str>>,
    depth: usize,
) -> Level {
    let indent = "  ".repeat(depth);
    let own =
        |line: &'a str| line.strip_prefix(indent.as_str()).unwrap_or_else(|| panic!("{line:?}"));
    assert_eq!(own(lines.next().unwrap()), "KTAP version 1");
    let plan: usize = own(lines.next().unwrap()).strip_prefix("1..").unwrap().parse().unwrap();
    let (mut results, mut children) = (Vec::new(), Vec::new());
    while results.len() < plan {
        let line = own(lines.peek().unwrap());
        if line == "  KTAP version 1" {
            children.push(ktap_level(lines, depth + 1));
            continue;
        }
        lines.next();
        if line.starts_with('#') {
            continue;
        }
        let (ok, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ").unwrap_or_else(|| panic!("{line:?}"))),
        };
        let (number, rest) = rest.split_once(' ').unwrap();
        assert_eq!(number.parse::<usize>().unwrap(), results.len() + 1, "{line}");
        let name = rest.split(" # ").next().unwrap();
        assert!(!name.contains('#'), "{line}");
        results.push((ok, name.to_owned(), std::mem::take(&mut children)));
    }
    Level { results }
}

#[rstest]
fn ktap_is_ktap_and_agrees(#[files("tests/streams/*.jsonl")] path: PathBuf) {
    let report = Stream::load(&path).fold();
    let text = ktap(&report);
    let lines: Vec<&str> = text.lines().collect();
    let mut rest = lines.iter().peekable();
    let top = ktap_level(&mut rest, 0);
    assert_eq!(rest.next(), None, "lines after the last result");

    assert_eq!(top.results.len(), report.kernels.len() + 1);
    let (ok, name, _) = top.results.last().unwrap();
    assert_eq!((*ok, name.as_str()), (report.status() == Status::Passed, "run"));
    for (kernel, (ok, _, children)) in report.kernels.iter().zip(&top.results) {
        let results = &children[0].results;
        assert_eq!(results.len(), kernel.scenarios.len());
        for (scenario, (ok, id, _)) in kernel.scenarios.iter().zip(results) {
            let red = scenario.verdict.is_red() || scenario.verdict == Verdict::NotRun;
            assert_eq!((*ok, id), (!red, &scenario.id));
        }
        assert_eq!(*ok, results.iter().all(|(ok, ..)| *ok), "a parent fails if a child does");
    }
}

#[rstest]
fn junit_agrees(#[files("tests/streams/*.jsonl")] path: PathBuf) {
    let report = Stream::load(&path).fold();
    let xml = junit(&report).unwrap();
    let read = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let reds = report.scenarios().filter(|(_, scenario)| scenario.verdict.is_red()).count();
    let run_is_red = usize::from(report.status() != Status::Passed);
    assert_eq!(read.failures + read.errors, reds + run_is_red);
    assert_eq!(read.tests, report.scenarios().count() + 1);
}

#[rstest]
fn every_form_names_what_is_red(#[files("tests/streams/*.jsonl")] path: PathBuf) {
    let report = Stream::load(&path).fold();
    let plain = terminal(&report, Palette::plain());
    assert!(plain.ends_with('\n') && !plain.contains('\x1b'));
    assert!(plain.contains(&report.status().as_str().to_uppercase()));
    let summary = markdown(&report);
    assert!(summary.starts_with(&format!("## {}", report.status().as_str())));
    for (_, scenario) in report.scenarios().filter(|(_, scenario)| scenario.verdict.is_red()) {
        let cause = scenario.cause.unwrap().as_str();
        let red = format!("{} ({cause}) {} on kernel", scenario.verdict.as_str(), scenario.id);
        assert!(plain.contains(&red), "no {red:?} in\n{plain}");
        assert!(summary.contains(&scenario.id));
    }
    assert_eq!(plain.matches("violation kernel").count(), report.violations.len());
    assert_eq!(plain.matches("run error ").count(), report.errors.len());
}

#[test]
fn colours_are_the_only_difference() {
    let report = Stream::named("panic-text").fold();
    let coloured = terminal(&report, Palette::ansi());
    let plain = terminal(&report, Palette::plain());
    assert!(coloured.contains("\x1b["));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    assert_eq!(stripped + rest, plain);
}

/// A guest can write what it wants; no form may be broken by it.
#[test]
fn hostile_words_break_no_form() {
    let mut report = Stream::named("panic-text").fold();
    let hostile = "x # SKIP | </testcase>\n```\nok 1 fake\n\u{1b}[31m\u{0}not ok";
    let scenario = &mut report.kernels[0].scenarios[1];
    scenario.message = hostile.into();
    scenario.evidence[0].name = hostile.into();
    scenario.evidence[0].text = hostile.into();
    report.status_reason = hostile.into();

    let text = ktap(&report);
    let lines: Vec<&str> = text.lines().collect();
    let top = ktap_level(&mut lines.iter().peekable(), 0);
    assert_eq!(top.results.len(), 2);
    assert!(!top.results[0].2[0].results[1].0);
    let xml = junit(&report).unwrap();
    quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert!(!terminal(&report, Palette::plain()).contains('\x1b'));
    let rows = markdown(&report).lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(rows, 1 + report.kernels[0].scenarios.len());
    assert!(parse_report(&serde_json::to_string(&report).unwrap()).is_ok());
}
