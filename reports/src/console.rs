//! What of a console goes into the record: the crash, or the last lines.

use crate::event::HealthFinding;
use crate::splat;

/// How much of the console's end is read to look for a crash.
pub const TAIL_BYTES: u64 = 256 << 10;
/// Lines kept where there is no crash.
const LAST_LINES: usize = 30;

/// The part worth keeping, and whether it is a crash.
#[must_use]
pub fn excerpt(text: &str) -> (String, bool) {
    if !splat::contains_crash(text) {
        let lines: Vec<&str> = text.lines().collect();
        return (lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"), false);
    }
    let findings: Vec<HealthFinding> = splat::scan(text);
    let parts: Vec<String> = findings.into_iter().map(|finding| finding.text).collect();
    (parts.join("\n...\n"), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_console_is_cut_to_its_last_lines() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let (kept, crash) = excerpt(&text);
        assert!(!crash && kept.starts_with("line 70") && kept.ends_with("line 99"));
    }

    #[test]
    fn a_panic_is_kept_wherever_it_is() {
        let mut text =
            String::from("[    1.000000] Kernel panic - not syncing: sysrq triggered crash\n");
        text.extend((0..100).map(|n| format!("line {n}\n")));
        let (kept, crash) = excerpt(&text);
        assert!(crash && kept.contains("sysrq triggered crash"));
    }
}
