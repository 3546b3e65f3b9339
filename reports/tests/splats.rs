//! Every log in `tests/splats/` gets the findings its head names; adding a case needs no code.
//!
//! A fixture begins with `# expect: kind kind ...` (or nothing after the colon) and `# crash: yes|no`;
//! more lines with `#` say where it comes from. The rest is the log.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use std::path::PathBuf;

use reports::event::HealthKind;
use reports::splat::{contains_crash, scan};
use rstest::rstest;

struct Fixture {
    expect: Vec<HealthKind>,
    crash: bool,
    log: String,
}

fn load(path: &PathBuf) -> Fixture {
    let text = std::fs::read_to_string(path).unwrap();
    let head = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("{} has no {key:?}", path.display())).trim().to_owned()
    };
    let kind = |word: &str| serde_json::from_value(word.into()).unwrap();
    Fixture {
        expect: head("# expect:").split_whitespace().map(kind).collect(),
        crash: head("# crash:") == "yes",
        log: text
            .lines()
            .skip_while(|line| line.starts_with("# "))
            .map(|line| format!("{line}\n"))
            .collect(),
    }
}

#[rstest]
fn a_log_gets_its_findings(#[files("tests/splats/*.txt")] path: PathBuf) {
    let fixture = load(&path);
    let findings = scan(&fixture.log);
    let kinds: Vec<_> = findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, fixture.expect, "{findings:#?}");
    assert_eq!(contains_crash(&fixture.log), fixture.crash);
}

/// The same log with other surroundings is the same log.
#[rstest]
fn surroundings_do_not_matter(#[files("tests/splats/*.txt")] path: PathBuf) {
    let fixture = load(&path);
    let kinds = |log: &str| scan(log).into_iter().map(|finding| finding.kind).collect::<Vec<_>>();
    let with_returns = fixture.log.replace('\n', "\r\n");
    assert_eq!(kinds(&with_returns), fixture.expect);
    let coloured: String =
        fixture.log.lines().map(|line| format!("\x1b[33m{line}\x1b[0m\n")).collect();
    assert_eq!(kinds(&coloured), fixture.expect);
    let as_kmsg: String =
        (1..).zip(fixture.log.lines()).map(|(n, l)| format!("4,{n},{n}000,-;{l}\n")).collect();
    assert_eq!(kinds(&as_kmsg), fixture.expect);
}

#[test]
fn every_kind_a_log_can_show_has_a_fixture() {
    let mut missing = vec![
        HealthKind::Oops,
        HealthKind::Panic,
        HealthKind::Warning,
        HealthKind::Ubsan,
        HealthKind::Kasan,
        HealthKind::Lockdep,
        HealthKind::Stall,
        HealthKind::HungTask,
        HealthKind::Segfault,
    ];
    for entry in std::fs::read_dir(support::folder("splats")).unwrap() {
        let fixture = load(&entry.unwrap().path());
        missing.retain(|kind| !fixture.expect.contains(kind));
    }
    assert!(missing.is_empty(), "{missing:?}");
}
