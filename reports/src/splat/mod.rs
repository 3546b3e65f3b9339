//! Finds in a kernel log what a healthy kernel does not print.
//!
//! The agent runs it over `/dev/kmsg` after each scenario, the host over the console of a machine that is
//! gone. Pure text in, findings out, so every pattern is held by a fixture in `tests/splats/`: a check
//! that is not working must not look like a clean log.

mod line;
mod pattern;

use crate::event::{HealthFinding, HealthKind};
use crate::text::head;

/// Lines kept after the first one of a finding.
pub const CONTEXT_LINES_MAX: usize = 10;
/// Findings kept of one kind; each kind has its own share, so that a flood of warnings hides no panic.
pub const FINDINGS_PER_KIND_MAX: usize = 4;
/// Bytes kept of one line.
pub const LINE_BYTES_MAX: usize = 512;

/// Every finding in `log`, in the order of their first lines.
///
/// Takes console text (with or without time stamps, carriage returns and colours) and records as read
/// from `/dev/kmsg`. A finding's text is the line that gave it away and up to [`CONTEXT_LINES_MAX`]
/// lines after it; a line of the same kind within those belongs to the same finding.
#[must_use]
pub fn scan(log: &str) -> Vec<HealthFinding> {
    let mut findings: Vec<HealthFinding> = Vec::new();
    let mut room_lines = 0;
    for raw in log.lines() {
        let text = line::plain(raw);
        match classify(&text) {
            Some(kind) if room_lines == 0 || findings.last().is_none_or(|f| f.kind != kind) => {
                if findings.iter().filter(|f| f.kind == kind).count() >= FINDINGS_PER_KIND_MAX {
                    room_lines = 0;
                    continue;
                }
                findings.push(HealthFinding { kind, text: cut_line(&text).to_owned() });
                room_lines = CONTEXT_LINES_MAX;
            }
            _ if room_lines > 0 => {
                if let Some(finding) = findings.last_mut() {
                    finding.text.push('\n');
                    finding.text.push_str(cut_line(&text));
                }
                room_lines -= 1;
            }
            _ => {}
        }
    }
    findings
}

/// Whether `log` holds a kernel panic, an oops or a BUG: the machine that printed it is lost.
///
/// A stall or a warning is a finding and not a crash; the machine may still be talking.
#[must_use]
pub fn contains_crash(log: &str) -> bool {
    log.lines().any(|raw| classify(&line::plain(raw)).is_some_and(is_crash))
}

/// Whether a finding of this kind is what [`contains_crash`] looks for.
#[must_use]
pub const fn is_crash(kind: HealthKind) -> bool {
    matches!(kind, HealthKind::Panic | HealthKind::Oops | HealthKind::Kasan)
}

/// The message of the first crash in `log`, without what is around it.
pub(crate) fn first_crash(log: &str) -> Option<String> {
    log.lines().find_map(|raw| {
        let text = line::plain(raw);
        let is_one = |message: &&str| pattern::kind_of(message).is_some_and(is_crash);
        line::messages(&text).find(is_one).map(|message| cut_line(message).to_owned())
    })
}

/// The message of a finding's first line, without what is around it.
pub(crate) fn headline(text: &str) -> String {
    let first = line::plain(text.lines().next().unwrap_or(""));
    let message = line::messages(&first).last().unwrap_or(&first);
    cut_line(message.trim()).to_owned()
}

fn classify(text: &str) -> Option<HealthKind> {
    line::messages(text).find_map(pattern::kind_of)
}

fn cut_line(text: &str) -> &str {
    head(text, LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_its_line_and_ten_more() {
        let mut log = String::from("quiet\nKernel panic - not syncing: x\n");
        for index in 0..40 {
            log.push_str(&format!("line {index}\n"));
        }
        let findings = scan(&log);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].kind, HealthKind::Panic);
        assert_eq!(findings[0].text.lines().count(), 1 + CONTEXT_LINES_MAX);
        assert!(findings[0].text.ends_with("line 9"));
    }

    #[test]
    fn a_flood_of_warnings_hides_no_panic() {
        let mut log = String::new();
        for _ in 0..100 {
            log.push_str("WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n");
            log.push_str(&"noise\n".repeat(20));
        }
        log.push_str("Kernel panic - not syncing: x\n");
        let kinds: Vec<_> = scan(&log).iter().map(|f| f.kind).collect();
        assert_eq!(kinds.len(), FINDINGS_PER_KIND_MAX + 1);
        assert_eq!(kinds.last(), Some(&HealthKind::Panic));
        assert!(contains_crash(&log));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let log = format!("BUG: {}", "\u{e9}".repeat(LINE_BYTES_MAX));
        let findings = scan(&log);
        assert!(findings[0].text.len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn what_user_space_writes_to_kmsg_is_not_the_kernel_speaking() {
        assert!(scan("12,5,100,-;BUG: said the user\n").is_empty());
        assert_eq!(scan("4,5,100,-;BUG: said the kernel\n").len(), 1);
    }
}
