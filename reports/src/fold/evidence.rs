//! What is kept of a scenario's words, and how much of them.
//!
//! The full texts are in `events.jsonl`; the report keeps what a person needs to believe a red line.

use crate::report::Evidence;
use crate::text::head;

/// Bytes kept of one evidence text.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Evidence texts kept for one scenario.
const TEXTS_MAX: usize = 32;
/// Lines of progress kept for one scenario: the last ones say where it stood.
const STEPS_MAX: usize = 10;
/// Bytes kept of one line of progress.
const STEP_BYTES_MAX: usize = 512;
/// Bytes of performance evidence that are parsed for one text; its sender's limit is lower.
const PERF_BYTES_MAX: usize = 1 << 20;

/// What is kept of one scenario's words.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) steps: Vec<String>,
    pub(super) evidence: Vec<Evidence>,
    /// Full texts of performance evidence.
    pub(super) perf: Vec<String>,
    /// Whether the watchdog sent the stacks of blocked tasks.
    pub(super) blocked_tasks: bool,
}

impl Kept {
    pub(super) fn step(&mut self, text: &str) {
        if self.steps.len() == STEPS_MAX {
            self.steps.remove(0);
        }
        self.steps.push(head(text, STEP_BYTES_MAX).to_owned());
    }

    pub(super) fn evidence(&mut self, name: &str, text: String) {
        self.blocked_tasks |= name == "blocked-tasks" && !text.trim().is_empty();
        if self.evidence.len() < TEXTS_MAX {
            self.evidence.push(cut(name, &text));
        }
        if name == "fio-json" || name.starts_with("fio-json-") {
            self.perf.push(if text.len() > PERF_BYTES_MAX { String::new() } else { text });
        }
    }
}

/// `text` as evidence, cut to what the report keeps.
pub(super) fn cut(name: impl Into<String>, text: &str) -> Evidence {
    let kept = head(text, TEXT_BYTES_MAX);
    Evidence {
        name: name.into(),
        text: kept.to_owned(),
        cut_bytes: (text.len() - kept.len()) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_steps_are_kept() {
        let mut kept = Kept::default();
        for index in 0..25 {
            kept.step(&format!("step {index}"));
        }
        assert_eq!(kept.steps.len(), STEPS_MAX);
        assert_eq!(kept.steps.last().unwrap(), "step 24");
    }

    #[test]
    fn a_cut_is_counted() {
        let long = "\u{e9}".repeat(TEXT_BYTES_MAX);
        let evidence = cut("x", &long);
        assert_eq!(evidence.text.len() as u64 + evidence.cut_bytes, long.len() as u64);
        assert!(evidence.text.len() <= TEXT_BYTES_MAX);
    }

    #[test]
    fn blank_stacks_are_no_stacks() {
        let mut kept = Kept::default();
        kept.evidence("blocked-tasks", " \n".into());
        assert!(!kept.blocked_tasks);
        kept.evidence("blocked-tasks", "task:dd state:D".into());
        assert!(kept.blocked_tasks);
    }
}
