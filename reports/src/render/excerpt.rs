//! What a person needs to see of a red scenario: the findings, the last steps, the loudest evidence.
//!
//! An excerpt and not a dump; forty thousand lines of log explain nothing.

use crate::report::ScenarioReport;
use crate::splat;

/// Lines shown of one text.
const LINES_MAX: usize = 30;
/// Texts shown of one scenario.
const TEXTS_MAX: usize = 6;

/// A titled piece of text.
pub(super) struct Excerpt {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
}

/// The pieces that explain the verdict on `scenario`.
pub(super) fn of(scenario: &ScenarioReport) -> Vec<Excerpt> {
    let mut pieces = Vec::new();
    if !scenario.last_steps.is_empty() {
        pieces.push(piece("last steps", &scenario.last_steps.join("\n"), 0));
    }
    for finding in &scenario.health {
        pieces.push(piece("kernel health", &finding.text, 0));
    }
    for evidence in &scenario.evidence {
        let text = interesting(&evidence.text);
        pieces.push(piece(&evidence.name, &text, evidence.cut_bytes));
    }
    let more = pieces.len().saturating_sub(TEXTS_MAX);
    pieces.truncate(TEXTS_MAX);
    if more > 0 {
        let lines = vec!["see report.json".to_owned()];
        pieces.push(Excerpt { title: format!("{more} more texts"), lines });
    }
    pieces
}

/// The splats of a log where it has any, else the text itself.
fn interesting(text: &str) -> String {
    let findings = splat::scan(text);
    if findings.is_empty() || text.lines().count() <= LINES_MAX {
        return text.to_owned();
    }
    findings.into_iter().map(|finding| finding.text).collect::<Vec<_>>().join("\n...\n")
}

fn piece(title: &str, text: &str, cut_bytes: u64) -> Excerpt {
    let printable =
        |line: &str| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>();
    let mut lines: Vec<String> = text.lines().take(LINES_MAX).map(printable).collect();
    let more = text.lines().count() - lines.len();
    if more > 0 || cut_bytes > 0 {
        lines.push(format!("... {more} more lines, {cut_bytes} bytes not kept; see events.jsonl"));
    }
    Excerpt { title: title.to_owned(), lines }
}
