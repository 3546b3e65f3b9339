//! `report.html` is well-formed, complete, and harmless whatever a guest wrote into it.
//!
//! Read back by the parser that browsers are measured with (`html5ever`, which reports what a browser would
//! silently mend), so that "well-formed" is somebody else's judgement.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use reports::html::{Document, Source, page};
use reports::perf::{BenchPlace, BenchResult, PerfReport, comparisons, parse_perf};
use reports::report::{Evidence, Report, Verdict};
use reports::{Status, parse_report};
use rstest::rstest;
use scraper::{ElementRef, Html, Selector};
use support::{Stream, folder};

fn page_of(reports: &[&Report]) -> String {
    let sources = reports
        .iter()
        .map(|report| Source { document: Document::Run(report), artifacts: Vec::new() });
    page(&sources.collect::<Vec<_>>())
}

/// The page as a browser reads it; whatever it would have to mend is a failure.
fn parsed(text: &str) -> Html {
    let html = Html::parse_document(text);
    assert_eq!(html.errors, Vec::<String>::new());
    html
}

fn select<'a>(html: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    html.select(&Selector::parse(selector).unwrap()).collect()
}

fn attributes(html: &Html, selector: &str, name: &str) -> Vec<String> {
    let found = select(html, selector);
    found.iter().filter_map(|e| e.value().attr(name)).map(str::to_owned).collect()
}

/// Nothing that a browser would fetch, and every link within the page leads somewhere.
fn assert_self_contained(html: &Html) {
    for (selector, name) in [("[src]", "src"), ("[href]", "href"), ("[action]", "action")] {
        for value in attributes(html, selector, name) {
            assert!(value.starts_with('#') || value.starts_with("./"), "{name}={value}");
            if let Some(id) = value.strip_prefix('#') {
                let target = select(html, "[id]").into_iter().find(|e| e.value().id() == Some(id));
                assert!(target.is_some(), "no {value} on the page");
            }
        }
    }
    let style: String = select(html, "style").iter().flat_map(|e| e.text()).collect();
    assert!(!style.contains("url(") && !style.contains("@import"));
    assert_eq!(select(html, "link, iframe, object, embed, img, base, [style]").len(), 0);
    let handlers = select(html, "*").into_iter().flat_map(|e| e.value().attrs());
    assert_eq!(handlers.filter(|(name, _)| name.starts_with("on")).count(), 0);
    assert_eq!(select(html, "script").len(), 1);
    let ids = attributes(html, "[id]", "id");
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "an id twice");
}

#[rstest]
fn a_page_is_well_formed_and_complete(#[files("tests/streams/*.jsonl")] path: PathBuf) {
    let report = Stream::load(&path).fold();
    let html = parsed(&page_of(&[&report]));
    assert_self_contained(&html);

    // The headline says the status, and the sentence why.
    let headline: String = select(&html, "h1")[0].text().collect();
    let word = report.status().as_str().replace('-', " ");
    assert_eq!(headline.to_lowercase(), word);
    let reason: String = select(&html, ".reason")[0].text().collect();
    let begin: String = report.status_reason.split_whitespace().next().unwrap().to_lowercase();
    assert!(reason.to_lowercase().starts_with(&begin), "{reason}");

    // Every scenario has its row exactly once for each time that it is in the plan, with its verdict.
    let mut planned: Vec<(String, String)> = report
        .scenarios()
        .map(|(_, scenario)| (scenario.id.clone(), scenario.verdict.as_str().to_owned()))
        .collect();
    let mut shown: Vec<(String, String)> = match report.kernels.len() {
        1 => select(&html, "tr[data-scenario]")
            .iter()
            .map(|row| {
                let verdict: String = row
                    .select(&Selector::parse(".verdict").unwrap())
                    .next()
                    .unwrap()
                    .text()
                    .collect();
                (row.value().attr("data-scenario").unwrap().to_owned(), verdict)
            })
            .collect(),
        _ => return,
    };
    planned.sort();
    shown.sort();
    assert_eq!(shown, planned);

    // And every red one a card, in full, and no other has.
    let mut reds: Vec<String> = report
        .scenarios()
        .filter(|(_, scenario)| scenario.verdict.is_red())
        .map(|(_, scenario)| scenario.id.clone())
        .collect();
    let mut cards = attributes(&html, "[data-red]", "data-red");
    reds.sort();
    cards.sort();
    assert_eq!(cards, reds);
    assert_eq!(select(&html, "a.to-card").len(), reds.len());
    let around = report.errors.len() + report.violations.len();
    let bare = select(&html, "#red > .card:not([id])").len();
    assert_eq!(bare, around);
    for (_, scenario) in report.scenarios().filter(|(_, s)| s.skip.is_some()) {
        let skipped: String = select(&html, "#skipped")[0].text().collect();
        assert!(skipped.contains(&scenario.skip.as_ref().unwrap().probe));
    }
}

/// Kernels as columns: a row for each id, a cell for each kernel.
#[test]
fn kernels_stand_side_by_side() {
    let text = std::fs::read_to_string(folder("pages").join("kernels-and-history/now/report.json"));
    let report = parse_report(&text.unwrap()).unwrap();
    assert_eq!(report.kernels.len(), 2);
    let html = parsed(&page_of(&[&report]));
    assert_self_contained(&html);
    let rows = select(&html, "tr[data-scenario]");
    let mut verdicts: BTreeMap<(usize, String), String> = BTreeMap::new();
    for row in &rows {
        let id = row.value().attr("data-scenario").unwrap();
        let cells: Vec<_> = row.child_elements().filter(|e| e.value().name() == "td").collect();
        assert_eq!(cells.len(), 2);
        for (column, cell) in cells.iter().enumerate() {
            let text: String = cell.text().collect();
            assert!(verdicts.insert((column, id.to_owned()), text).is_none(), "{id} twice");
        }
    }
    for (column, kernel) in report.kernels.iter().enumerate() {
        for scenario in &kernel.scenarios {
            assert_eq!(verdicts[&(column, scenario.id.clone())], scenario.verdict.as_str());
        }
    }
}

/// What a page may not be moved by: markup, ends of scripts and of CDATA, control and direction characters.
const HOSTILE: &str = "</script><script>alert(1)</script>]]><!--<img src=x onerror=alert(1)>\
    <a href=\"https://example.org\">&lt;&#0;\"'`\u{0}\u{1}\u{8}\u{b}\u{1b}[31m\r\u{7f}\u{85}\u{202e}\u{feff}\
    \u{fffe}\u{10ffff}</pre></details></table></style>{{x}}";

#[test]
fn hostile_text_is_text_everywhere() {
    let mut report = Stream::named("panic-text").fold();
    let text = serde_json::to_value(&report).unwrap();
    let mut hostile = text.clone();
    spoil(&mut hostile, "");
    report = serde_json::from_value(hostile).unwrap();
    for scenario in &mut report.kernels[0].scenarios {
        scenario.verdict = Verdict::Fail;
        scenario.evidence.push(Evidence {
            name: HOSTILE.into(),
            text: HOSTILE.repeat(9),
            cut_bytes: 7,
        });
        scenario.last_steps = vec![HOSTILE.into()];
    }
    let made = page_of(&[&report]);
    let html = parsed(&made);
    assert_self_contained(&html);
    assert!(!made.contains("alert(1)>") && made.matches("<script").count() == 1);
    assert!(made.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    assert!(!made.contains(['\u{202e}', '\u{fffe}', '\u{10ffff}']));
    let seen: String = html.root_element().text().collect();
    assert!(
        seen.contains("</script><script>alert(1)</script>]]>"),
        "it is shown as it was written"
    );
}

/// Puts [`HOSTILE`] into every string that is not an enum's word.
fn spoil(value: &mut serde_json::Value, key: &str) {
    use serde_json::Value;
    let word = ["kind", "status", "verdict", "cause", "failure", "schema_version", "canary"];
    match value {
        Value::String(text) if !word.contains(&key) => *text = format!("{HOSTILE}{text}"),
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, key)),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| spoil(value, key)),
        _ => {}
    }
}

#[test]
fn ten_megabytes_of_evidence_are_bounded() {
    let mut report = Stream::named("panic-text").fold();
    let scenario = &mut report.kernels[0].scenarios[0];
    let text = format!("the beginning {} the end", "<\u{0}".repeat(5 << 20));
    scenario.verdict = Verdict::Fail;
    scenario.message = text.clone();
    scenario.evidence = vec![Evidence { name: "log".into(), text: text.clone(), cut_bytes: 0 }; 8];
    report.status_reason = text.clone();
    report.run.commit = Some(text);
    let made = page_of(&[&report]);
    assert!(made.len() < 8 << 20, "{} bytes", made.len());
    assert!(
        made.contains("the beginning") && made.contains("the end") && made.contains("left out")
    );
    parsed(&made);
}

fn perf(name: &str) -> PerfReport {
    let path = folder("pages").join("performance").join(name).join("perf.json");
    parse_perf(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn numbers_are_drawn_and_tabulated() {
    let (now, before, earlier) = (perf("now"), perf("before"), perf("earlier"));
    let source = |report| Source { document: Document::Perf(report), artifacts: Vec::new() };
    let html = parsed(&page(&[source(&before), source(&now), source(&earlier)]));
    assert_self_contained(&html);
    let modes: BTreeSet<_> = now
        .subjects
        .iter()
        .filter(|s| s.role != reports::perf::Role::Limit && !s.cells.is_empty())
        .map(|s| &s.mode)
        .collect();
    assert_eq!(select(&html, ".panel").len(), modes.len());
    let bars: usize = now
        .subjects
        .iter()
        .filter(|s| matches!(s.role, reports::perf::Role::Ours | reports::perf::Role::Peer))
        .map(|s| s.cells.iter().filter(|cell| cell.ratio.is_some()).count())
        .sum();
    assert_eq!(select(&html, "rect.bar").len(), bars);
    assert!(!select(&html, ".over-commits svg .line").is_empty());
    // Every drawing says in words what it shows, and every number is in a table.
    assert!(attributes(&html, "svg[role=img]", "aria-label").iter().all(|text| text.len() > 10));
    let tables: String =
        select(&html, "#performance table").iter().flat_map(|t| t.text()).collect();
    for cell in now.subjects.iter().flat_map(|subject| &subject.cells) {
        assert!(tables.contains(&format!("{:.1}", cell.median_iops / 1000.0)));
    }
    let text: String = select(&html, "#performance-history")[0].text().collect();
    assert!(text.contains("reports"), "{text}");
}

#[test]
fn a_comparison_is_drawn_with_its_intervals_and_says_no_number_by_itself() {
    let mut report = perf("now");
    for subject in &mut report.subjects {
        subject.target = Some("null".into());
    }
    report.comparisons = comparisons(&report.subjects, 1);
    let compared: usize = report.comparisons[0].subjects.iter().map(|s| s.cells.len()).sum();
    assert!(compared > 0);
    let html =
        parsed(&page(&[Source { document: Document::Perf(&report), artifacts: Vec::new() }]));
    assert_self_contained(&html);
    assert_eq!(select(&html, "rect.bar").len(), compared);
    assert_eq!(select(&html, "path.whisker").len(), compared);
    let text: String = select(&html, "#performance")[0].text().collect();
    assert!(text.contains("geometric mean over all cells"), "{text}");
    assert!(!text.contains("Thousand I/Os per second"));
}

#[test]
fn benches_and_lives_are_on_the_page() {
    let mut report = perf("now");
    let bench = |place, ns_per_iteration| BenchResult {
        name: "tag/turn".into(),
        place,
        ns_per_iteration,
        deviation_ns: 17,
    };
    report.benches = vec![bench(BenchPlace::Guest, 1203), bench(BenchPlace::Host, 41)];
    let life = &mut report.start_up[0];
    life.stop_median_ns = Some(7_300_000);
    life.recovery_median_ns = Some(12_900_000);
    life.resident_bytes = Some(2048 << 10);
    let html =
        parsed(&page(&[Source { document: Document::Perf(&report), artifacts: Vec::new() }]));
    let text: String =
        select(&html, "#performance details").iter().flat_map(|d| d.text()).collect();
    for wanted in ["tag/turn", "\u{b1} 17", "guest, instructions", "host, ns"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    for wanted in ["Start, in", "Stop, in", "7.3", "Recovery, in", "12.9", "Memory, in", "2048"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[test]
fn other_commits_are_history_and_not_counted() {
    let now = Stream::named("clean").fold();
    let mut before = Stream::named("panic-text").fold();
    let mut now_clean = now.clone();
    now_clean.run.dirty = false;
    now_clean.run.started_at_unix_ms += 1000;
    before.run.dirty = false;
    before.run.run_id = "before".into();
    before.run.commit = Some("fedcba9876543210".into());
    let html = parsed(&page_of(&[&before, &now_clean]));
    let headline: String = select(&html, "h1")[0].text().collect();
    assert_eq!((now_clean.status(), headline.as_str()), (Status::Passed, "Passed"));
    assert_eq!(select(&html, "#history tbody tr").len(), 2);
    assert_eq!(select(&html, "[data-red]").len(), 0);
    let ids: BTreeSet<&str> = now_clean.scenarios().map(|(_, s)| s.id.as_str()).collect();
    assert_eq!(select(&html, "tr[data-scenario]").len(), ids.len());
}

#[test]
fn two_runs_of_one_commit_are_one_state() {
    let mut one = Stream::named("clean").fold();
    one.run.dirty = false;
    let mut other = Stream::named("panic-text").fold();
    other.run = one.run.clone();
    other.run.run_id = "other".into();
    let html = parsed(&page_of(&[&one, &other]));
    let headline: String = select(&html, "h1")[0].text().collect();
    assert_eq!(headline, "Failed", "the loudest status is the page's");
    assert_eq!(select(&html, "#history").len(), 0);
    let kernels = one.kernels.len() + other.kernels.len();
    assert_eq!(select(&html, ".matrix thead th").len(), 1 + kernels);
}

#[test]
fn no_report_is_a_page_too() {
    let html = parsed(&page(&[]));
    let headline: String = select(&html, "h1")[0].text().collect();
    assert_eq!(headline, "No report");
}
