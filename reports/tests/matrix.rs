//! The matrix of a report, and what changed since the one before: made of folded records, as a real one is.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use std::path::Path;

use reports::event::Record;
use reports::matrix::{
    Cell, Changes, Direction, Matrix, facts, findings, groups, markdown, parse_matrix, to_json,
};
use reports::plan::{Expectation, PlannedScenario};
use reports::report::{KernelHeader, Report, RunError, RunErrorKind, Status};
use reports::{KernelInput, MergeError, RunInput, fold, join};
use serde_json::json;

use support::run_header;

/// What one scenario of a column does.
type Told = (&'static str, serde_json::Value);

fn pass() -> serde_json::Value {
    json!({"kind": "pass", "checks": 3, "summary": "3 checks held"})
}

fn skip(answer: &str) -> serde_json::Value {
    json!({"kind": "skip", "probe": "GET_FEATURES has USER_COPY", "reason": answer})
}

fn fail(message: &str) -> serde_json::Value {
    json!({"kind": "fail", "failure": "errno", "message": message})
}

const KNOWN: &str = "docs/kernel-findings/x-y.md";

/// A kernel's plan and record: `known` of its scenarios have a known bug.
fn column(index: u32, spec: &str, told: &[Told], known: &[&str]) -> (KernelInput, Vec<Record>) {
    let planned: Vec<PlannedScenario> = told
        .iter()
        .map(|(id, _)| PlannedScenario {
            id: (*id).to_owned(),
            budget_ms: 1000,
            expect: match known.contains(id) {
                true => Expectation::KnownBug { reference: KNOWN.to_owned() },
                false => Expectation::Pass,
            },
        })
        .collect();
    let nonce = format!("{index:016x}");
    let features: &[&str] = if index == 0 { &["USER_COPY"] } else { &["USER_COPY", "BATCH_IO"] };
    let mut events = vec![json!({
        "type": "ready", "protocol_version": 1, "kernel_release": format!("{spec}.1-a"),
        "kernel_version": "#1", "cmdline": "", "cpus": 2, "memory_bytes": 1, "boot_ms": 1,
        "ublk_features": 128 + (index << 15),
        "abilities": {
            "features": features, "legacy_opcodes": index == 0, "zoned": true,
            "io_uring": {"operations": 58 + index, "setups": ["SQE128"], "wanted": ["URING_CMD"]},
        },
    })];
    for (id, outcome) in told {
        events.push(json!({"type": "scenario-started", "id": id}));
        events.push(json!({
            "type": "scenario-finished", "id": id, "duration_ms": 5, "health": [], "outcome": outcome,
        }));
    }
    events.push(json!({"type": "finished", "reported": told.len(), "stopped_early": false}));
    let ids: Vec<&str> = told.iter().map(|(id, _)| *id).collect();
    let mut seen = vec![json!({"type": "boot-started", "nonce": nonce, "planned": ids})];
    seen.extend((0_u64..).zip(events).map(|(seq, event)| {
        let line = json!({"nonce": nonce, "seq": seq, "guest_ms": seq, "event": event});
        json!({"type": "line", "text": line.to_string()})
    }));
    seen.push(json!({
        "type": "boot-ended", "end": {"kind": "exited", "status": "exit code 0"}, "console": "",
        "console_splat": false, "retried": false,
    }));
    let record = |(at_ms, seen)| {
        let at_ms = u64::from(index) * 1000 + at_ms;
        let record = json!({"at_ms": at_ms, "kernel": index, "boot": 0, "seen": seen});
        serde_json::from_value(record).unwrap()
    };
    let header = KernelHeader { spec: spec.to_owned(), ..KernelHeader::default() };
    let input = KernelInput { header, planned, whole: Vec::new(), setup_error: None };
    (input, (1_u64..).zip(seen).map(record).collect())
}

fn report_of(run_id: &str, columns: Vec<(KernelInput, Vec<Record>)>) -> Report {
    let mut run = run_header();
    run.run_id = run_id.to_owned();
    run.dirty = false;
    let (kernels, records): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    fold(&RunInput {
        run: &run,
        kernels: &kernels,
        records: &records.concat(),
        host_errors: &[],
        interrupted: false,
    })
}

fn old() -> [Told; 4] {
    [
        ("startup/fetch-twice", pass()),
        ("modes/user-copy-ram", skip("USER_COPY is missing")),
        ("modes/user-copy-ram-too", pass()),
        ("model/quiesce", fail("it hangs")),
    ]
}

fn new() -> [Told; 4] {
    [
        ("startup/fetch-twice", fail("EBUSY instead of | EINVAL")),
        ("modes/user-copy-ram", pass()),
        ("modes/user-copy-ram-too", pass()),
        ("model/quiesce", pass()),
    ]
}

/// Two kernels that answered and one that is not there.
fn report() -> Report {
    let (mut dead, _) = column(2, "/home/me/bzImage", &old(), &[]);
    dead.setup_error = Some("cannot use the kernel /home/me/bzImage: it is empty".to_owned());
    let mut report = report_of(
        "run-1",
        vec![
            column(0, "6.12", &old(), &["model/quiesce"]),
            column(1, "7.3", &new(), &[]),
            (dead, Vec::new()),
        ],
    );
    report.errors.push(RunError {
        kind: RunErrorKind::Infrastructure,
        kernel: None,
        boot: None,
        message: "cannot write /home/me/x: no space".to_owned(),
    });
    report
}

fn words(matrix: &Matrix, scenario: &str) -> Vec<&'static str> {
    let row = matrix.rows.iter().find(|row| row.scenario == scenario).unwrap();
    row.cells.iter().map(Cell::word).collect()
}

#[test]
fn every_sort_of_cell_is_named_and_a_dead_kernel_is_one_line() {
    let matrix = Matrix::of(&report());
    assert_eq!(matrix.status, Status::Failed);
    assert_eq!(words(&matrix, "startup/fetch-twice"), ["pass", "fail", "error"]);
    assert_eq!(words(&matrix, "modes/user-copy-ram"), ["not-supported", "pass", "error"]);
    assert_eq!(words(&matrix, "model/quiesce"), ["known-bug", "pass", "error"]);
    let known = Cell::KnownBug { reference: KNOWN.to_owned() };
    assert_eq!(matrix.rows[3].cells[0], known);
    let dead = &matrix.columns[2];
    assert_eq!(dead.kernel, "bzImage");
    assert_eq!(dead.error.as_deref(), Some("cannot use the kernel bzImage: it is empty"));
    assert!(dead.is_dead());
    // The dead kernel's cells are not listed one by one.
    let reds = [findings(&matrix, "fail"), findings(&matrix, "error")].concat();
    assert_eq!(reds.len(), 1);
    let row = &matrix.rows[reds[0].row];
    assert_eq!(
        matrix.reproducer(row, &reds[0].columns),
        "cargo xtask vm-e2e --kernel 7.3 --filter startup/fetch-twice --seed 0x5eed"
    );
    // A filter that would take others, too, is one for the whole id.
    let row = &matrix.rows[1];
    assert!(
        matrix
            .reproducer(row, &[0, 1])
            .contains("--kernel 6.12 --kernel 7.3 --filter '*modes/user-copy-ram' --seed")
    );
}

#[test]
fn another_architecture_is_another_kernel_and_a_word_of_its_commands() {
    let here = Matrix::of(&report_of("here", vec![column(0, "7.3", &old(), &[])]));
    let (mut input, records) = column(0, "7.3", &new(), &[]);
    input.header.arch = Some("aarch64".to_owned());
    let there = Matrix::of(&report_of("there", vec![(input, records)]));
    assert!(!Changes::between(&here, &here).cells.iter().any(|change| change.column == 0));
    assert!(Changes::between(&here, &there).cells.is_empty(), "nothing to compare with");
    let command = there.reproducer(&there.rows[0], &[0]);
    assert!(command.contains("--kernel 7.3 --arch aarch64 --filter"), "{command}");
    assert!(!here.reproducer(&here.rows[0], &[0]).contains("--arch"));
}

#[test]
fn what_nobody_got_to_is_not_run_and_counted() {
    let (input, _) = column(0, "6.12", &old(), &[]);
    let report = fold(&RunInput {
        run: &run_header(),
        kernels: &[input],
        records: &[],
        host_errors: &[],
        interrupted: true,
    });
    let matrix = Matrix::of(&report);
    assert_eq!(matrix.status, Status::Interrupted);
    assert!(matrix.rows.iter().all(|row| row.cells == [Cell::NotRun]));
    let text = markdown(&matrix, None);
    assert!(text.contains("**Not run on 6.12**: 4 scenarios."), "{text}");
}

#[test]
fn no_machine_path_gets_out() {
    let matrix = Matrix::of(&report());
    let changes = Changes::between(&matrix, &matrix);
    let page = reports::html::matrix_page(&matrix, Some(&changes), None);
    for text in [to_json(&matrix).unwrap(), markdown(&matrix, Some(&changes)), page] {
        assert!(!text.contains("/home/me"), "{text}");
    }
}

#[test]
fn rows_are_grouped_by_family_and_mode() {
    let matrix = Matrix::of(&report());
    let groups: Vec<_> = groups(&matrix)
        .into_iter()
        .map(|g| (g.family, g.mode, g.rows.len(), g.tallies[0]))
        .collect();
    let names: Vec<_> =
        groups.iter().map(|(family, mode, rows, _)| (*family, *mode, *rows)).collect();
    assert_eq!(
        names,
        [("startup", "default", 1), ("modes", "user-copy", 2), ("model", "default", 1)]
    );
    assert_eq!((groups[1].3.pass, groups[1].3.not_supported), (1, 1));
}

#[test]
fn facts_say_what_differs_and_what_is_everywhere() {
    let (facts, everywhere) = facts(&Matrix::of(&report()));
    let answers = |name: &str| &facts.iter().find(|fact| fact.name == name).unwrap().answers;
    assert_eq!(answers("BATCH_IO"), &["-", "yes", "?"]);
    assert_eq!(answers("GET_FEATURES"), &["0x80", "0x8080", "?"]);
    assert_eq!(answers("opcodes without encoding (LEGACY_OPCODES)"), &["yes", "-", "?"]);
    assert_eq!(answers("io_uring operations"), &["58", "59", "?"]);
    assert_eq!(answers("zoned disks"), &["-", "-", "?"]);
    assert_eq!(everywhere, ["USER_COPY", "ring setup SQE128", "operation URING_CMD"]);
}

#[test]
fn the_page_of_the_documentation_names_what_does_not_hold() {
    let text = markdown(&Matrix::of(&report()), None);
    for part in [
        "|  | 6.12 | 7.3 | bzImage |",
        "| fail | 0 | 1 | 0 |",
        "| modes | user-copy | 1, 1 not supported | 2 | **2 error** |",
        "- **bzImage: error**: cannot use the kernel bzImage: it is empty",
        "- **fail** `startup/fetch-twice` on 7.3: property: EBUSY instead of \\| EINVAL",
        "`cargo xtask vm-e2e --kernel 7.3 --filter startup/fetch-twice --seed 0x5eed`",
        "- [x y](kernel-findings/x-y.md): `model/quiesce` (6.12)",
        "| GET\\_FEATURES has USER\\_COPY: USER\\_COPY is missing | 6.12 | `modes/user-copy-ram` |",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains("Not run on"), "{text}");
}

#[test]
fn the_page_is_whole_and_escapes_what_a_guest_said() {
    let hostile = [
        ("startup/fetch-twice", fail("<script>alert(1)</script>")),
        ("modes/user-copy-ram", pass()),
        ("modes/user-copy-ram-too", pass()),
        ("model/quiesce", pass()),
    ];
    let matrix = Matrix::of(&report_of("run-1", vec![column(0, "6.12", &hostile, &[])]));
    let page = reports::html::matrix_page(&matrix, None, Some("../../"));
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"));
    let page = reports::html::matrix_page(&Matrix::of(&report()), None, Some("../../"));
    assert!(page.contains("href=\"../../docs/kernel-findings/x-y.md\""), "known bugs are linked");
    for id in ["red", "kernels", "families", "known-bugs", "not-supported", "scenarios"] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
}

#[test]
fn what_changed_is_told_worst_first() {
    let before = Matrix::of(&report_of(
        "run-1",
        vec![
            column(0, "6.12", &old(), &["model/quiesce"]),
            column(1, "6.16", &old(), &["model/quiesce"]),
        ],
    ));
    let mut told = new().to_vec();
    told.remove(2);
    told.push(("startup/new-one", pass()));
    let now = Matrix::of(&report_of(
        "run-2",
        vec![column(0, "6.12", &told, &[]), column(1, "7.3", &told, &[])],
    ));
    let changes = Changes::between(&before, &now);
    assert_eq!(
        (&changes.new_kernels[..], &changes.gone_kernels[..]),
        (&["7.3"][..], &["6.16"][..])
    );
    assert_eq!(changes.new_scenarios, ["startup/new-one"]);
    assert_eq!(changes.gone_scenarios, ["modes/user-copy-ram-too"]);
    let cells: Vec<_> = changes
        .cells
        .iter()
        .map(|c| (c.direction, c.scenario, c.from.word(), c.to.word()))
        .collect();
    assert_eq!(
        cells,
        [
            (Direction::Worse, "startup/fetch-twice", "pass", "fail"),
            (Direction::Better, "modes/user-copy-ram", "not-supported", "pass"),
            (Direction::Better, "model/quiesce", "known-bug", "pass"),
        ]
    );
    let text = markdown(&now, Some(&changes));
    assert!(text.contains("- **worse**: `startup/fetch-twice` on 6.12: pass -> fail"), "{text}");
    assert!(Changes::between(&now, &now).is_empty());
}

#[test]
fn a_probe_with_another_name_is_told_once_for_all_its_cells() {
    let told = |probe: &str| {
        let skip = json!({"kind": "skip", "probe": probe, "reason": "x is not offered"});
        let one = [("modes/a", skip.clone()), ("modes/b", skip.clone()), ("modes/c", skip)];
        let columns = vec![column(0, "6.12", &one, &[]), column(1, "6.16", &one[..2], &[])];
        Matrix::of(&report_of("r", columns))
    };
    let (before, now) = (told("has x"), told("GET_FEATURES"));
    let changes = Changes::between(&before, &now);
    assert_eq!(changes.cells.len(), 5);
    let text = markdown(&now, Some(&changes));
    let lines: Vec<_> = text.lines().filter(|line| line.contains("**otherwise**")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("`modes/a`, `modes/b` on 6.12, 6.16: "), "{text}");
    assert!(lines[1].contains("`modes/c` on 6.12: "), "{text}");
}

#[test]
fn another_message_is_no_change_and_another_bug_is_one() {
    let with = |outcome: serde_json::Value, known: &[&str]| {
        Matrix::of(&report_of("r", vec![column(0, "6.12", &[("a/b", outcome)], known)]))
    };
    let changes = |a: &Matrix, b: &Matrix| Changes::between(a, b).cells.len();
    let (one, two) = (with(fail("after 3 ms"), &[]), with(fail("after 4 ms"), &[]));
    assert_eq!(changes(&one, &two), 0);
    let mut other = with(fail("x"), &["a/b"]);
    let same = other.clone();
    assert_eq!(changes(&other, &same), 0);
    other.rows[0].cells[0] = Cell::KnownBug { reference: "docs/other.md".into() };
    let found = Changes::between(&other, &same);
    assert_eq!(found.cells[0].direction, Direction::Otherwise);
}

#[test]
fn the_file_is_a_line_for_each_row_and_comes_back() {
    let matrix = Matrix::of(&report());
    let text = to_json(&matrix).unwrap();
    assert_eq!(parse_matrix(&text).unwrap(), matrix);
    let row = text.lines().find(|line| line.contains("modes/user-copy-ram-too")).unwrap();
    assert!(row.contains("\"cells\":[\"pass\",\"pass\","), "{row}");
    let schema = serde_json::from_str(&reports::matrix_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&serde_json::from_str(&text).unwrap()));
    for (bad, says) in [
        (text.replace(reports::matrix::MATRIX_VERSION, "2.0"), "schema version 2.0"),
        (text[..text.len() / 2].to_owned(), "not a matrix"),
        (text.replace("\"cells\":[\"pass\",", "\"cells\":["), "cells and there are 3 kernels"),
    ] {
        let line = parse_matrix(&bad).unwrap_err().to_string();
        assert!(line.contains(says) && !line.contains('\n'), "{line}");
    }
}

/// Whoever chooses a server wants to see each scenario, and the command that asks that server again.
#[test]
fn a_server_that_was_tested_is_named_wherever_somebody_looks() {
    let mut report = report();
    report.run.server = Some(reports::report::ServerFacts {
        name: "mine".into(),
        argument: "/home/me/ci/mine.toml".into(),
        version: Some("1.2".into()),
        program_sha256: "00".repeat(32),
    });
    let matrix = Matrix::of(&report);
    let page = markdown(&matrix, None);
    assert!(page.contains("Server mine 1.2: "), "{page}");
    assert!(page.contains("### Scenarios") && !page.contains("family and data mode"), "{page}");
    assert!(
        page.contains("vm-e2e --server mine.toml --kernel") && !page.contains("/home"),
        "{page}"
    );
    assert_eq!(parse_matrix(&to_json(&matrix).unwrap()).unwrap(), matrix);
}

/// The one in the repository, if there is one yet.
#[test]
fn the_matrix_that_is_checked_in_can_be_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/matrix.json");
    if let Ok(text) = std::fs::read_to_string(path) {
        parse_matrix(&text).unwrap();
    }
}

#[test]
fn kernels_done_apart_are_one_run() {
    let one = |run: &str, spec: &str| report_of(run, vec![column(0, spec, &new(), &[])]);
    let (mut dead, _) = column(0, "6.17", &new(), &[]);
    dead.setup_error = Some("gone".to_owned());
    let dead = report_of("run-2", vec![(dead, Vec::new())]);
    let order = ["6.12", "6.17", "7.3"].map(str::to_owned);
    let joined = join(&[dead, one("run-1", "7.3"), one("run-1", "6.12")], &order).unwrap();
    let matrix = Matrix::of(&joined);
    let names: Vec<_> = matrix.columns.iter().map(|column| column.kernel.as_str()).collect();
    assert_eq!(names, ["6.12", "6.17", "7.3"]);
    let errors: Vec<_> = matrix.columns.iter().map(|c| c.error.as_deref()).collect();
    assert_eq!(errors, [None, Some("gone"), None], "an error stays with its kernel");
    assert_eq!(joined.counts.planned, 12);
    assert_eq!(
        joined.parts.iter().map(|run| &run.run_id[..]).collect::<Vec<_>>(),
        ["run-2", "run-1"]
    );
    assert_eq!(joined.status, Status::Failed);
}

#[test]
fn what_is_not_of_one_run_is_not_joined() {
    let one = |spec: &str, told: &[Told]| report_of("run-1", vec![column(0, spec, told, &[])]);
    let differ = |a: Report, b: Report| join(&[a, b], &[]).unwrap_err();
    let twice = differ(one("6.12", &new()), one("6.12", &new()));
    assert!(matches!(twice, MergeError::KernelTwice { .. }), "{twice}");
    let plan = differ(one("6.12", &new()), one("7.3", &new()[..2]));
    assert!(matches!(plan, MergeError::Plan { .. }), "{plan}");
    let mut other = one("7.3", &new());
    other.run.seed += 1;
    let seed = differ(one("6.12", &new()), other);
    assert!(seed.to_string().contains("seed 0x5eed and 0x5eee"), "{seed}");
    let mut other = one("7.3", &new());
    other.run.commit = Some("f00".into());
    let commit = differ(one("6.12", &new()), other);
    assert!(commit.to_string().contains("commit"), "{commit}");
    assert!(matches!(join(&[], &[]), Err(MergeError::Nothing)));
}
