//! What a script must have said and not said. The recover and stress scripts run their cases as
//! background functions and throw their results away; what is left of a failed case is a line of text.

use scenarios::kselftest::Selftest;

use super::script::Ended;

/// The exit code by which a selftest says that it cannot run here.
const SKIP_CODE: i32 = 4;

/// What failed cases print before their result is thrown away.
const COMPLAINTS: &[&str] = &[
    "[FAIL]",
    "failed",
    "fail to ",
    "faile to ",
    " failure: ",
    "isn't removed",
    "isn't dead",
    "isn't quiesced",
    "unexpected",
    "Segmentation fault",
    "core dumped",
    // Of bash itself: the guest lacks something, and the script did not notice.
    "command not found",
    "syntax error",
];

/// How our server's complaints begin. They are for the script to judge: it may have wanted a refusal.
const SERVER_SAYS: &str = "kublk: ";

/// One thing that must hold.
pub(super) struct Rule {
    what: &'static str,
    pub(super) holds: fn(&Selftest, &Ended) -> bool,
    /// The line that broke it, for the message.
    culprit: fn(&Ended) -> Option<&str>,
}

impl Rule {
    /// The rule with what was seen instead.
    pub(super) fn says(&self, ended: &Ended) -> String {
        let seen = (self.culprit)(ended).map(|line| format!(", seen: {line}")).unwrap_or_default();
        // What our server said last is mostly why; the original prints no line like it.
        let said = ended.lines.iter().rfind(|line| line.starts_with(SERVER_SAYS));
        let said = said.map(|line| format!("; {line}")).unwrap_or_default();
        format!("{}{seen}{said}", self.what)
    }
}

/// In the order in which they say most about what went wrong.
pub(super) const RULES: &[Rule] = &[
    Rule {
        what: "no case of the script complained",
        holds: |_, ended| complaint(ended).is_none(),
        culprit: complaint,
    },
    Rule {
        what: "the script exited with 0",
        holds: |_, ended| ended.status.success(),
        culprit: |ended| ended.lines.last().map(String::as_str),
    },
    Rule {
        what: "the script printed its `[PASS]` line",
        holds: |test, ended| {
            let pass = format!("{} : [PASS]", test.own_name());
            ended.lines.contains(&pass)
        },
        culprit: |ended| ended.lines.last().map(String::as_str),
    },
];

/// The probe that decided that the script, or a case in it, cannot run here.
pub(super) fn skipped(test: &Selftest, ended: &Ended) -> Option<String> {
    if ended.status.code() == Some(SKIP_CODE) {
        return Some(format!("exit code {SKIP_CODE} of {}", test.test));
    }
    // A case that was skipped in the background, in a script that is content otherwise: half a result is
    // not a pass.
    let silent = ended.lines.iter().any(|line| line.contains("[SKIP]"));
    (silent && complaint(ended).is_none()).then(|| format!("a `[SKIP]` line of {}", test.test))
}

fn complaint(ended: &Ended) -> Option<&str> {
    let bad = |line: &&String| {
        !line.starts_with(SERVER_SAYS) && COMPLAINTS.iter().any(|word| line.contains(word))
    };
    ended.lines.iter().find(bad).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use rstest::rstest;

    use super::*;

    fn ended(code: i32, lines: &[&str]) -> Ended {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Ended { status: ExitStatus::from_raw(code << 8), lines }
    }

    fn broken(ended: &Ended) -> Option<String> {
        let test = Selftest::parse("kselftest/test_recover_01").unwrap();
        RULES.iter().find(|rule| !(rule.holds)(&test, ended)).map(|rule| rule.says(ended))
    }

    #[test]
    fn a_clean_script_passes() {
        let clean = ended(0, &["ublk selftest: recover_01 starting", "recover_01 : [PASS]"]);
        assert_eq!(broken(&clean), None);
        let test = Selftest::parse("kselftest/test_recover_01").unwrap();
        assert_eq!(skipped(&test, &clean), None);
    }

    /// What the scripts print for a failed case in the background, each with exit code 0 and `[PASS]`.
    #[rstest]
    #[case("recover_01 : [FAIL]")]
    #[case("recover_01 failure: -t null -q 2 -r 1")]
    #[case("/dev/ublkc0 isn't removed")]
    #[case("device isn't dead(LIVE) after killing daemon")]
    #[case("device isn't quiesced(DEAD) after kill_daemon")]
    #[case("faile to recover to LIVE(QUIESCED)")]
    #[case("delete dev 3 failed")]
    #[case("./test_recover_01.sh: line 9: fio: command not found")]
    fn a_swallowed_failure_is_found(#[case] line: &str) {
        let swallowed = ended(0, &[line, "recover_01 : [PASS]"]);
        assert!(broken(&swallowed).unwrap().contains(line));
    }

    #[test]
    fn what_the_server_says_explains_and_does_not_judge() {
        let refused = ["kublk: SET_PARAMS failed with EINVAL", "recover_01 : [PASS]"];
        assert_eq!(broken(&ended(0, &refused)), None);
        let failed = ["kublk: no such mode", "recover_01 : [FAIL]"];
        assert!(broken(&ended(255, &failed)).unwrap().contains("no such mode"));
    }

    #[rstest]
    #[case(1, &["recover_01 : [PASS]"])]
    #[case(0, &[])]
    #[case(0, &["null_01 : [PASS]"])]
    fn neither_exit_code_nor_words_alone_are_a_pass(#[case] code: i32, #[case] lines: &[&str]) {
        assert!(broken(&ended(code, lines)).is_some());
    }

    #[test]
    fn skips_are_said_by_code_or_by_a_line_but_not_beside_a_failure() {
        let test = Selftest::parse("kselftest/test_stress_03").unwrap();
        assert!(skipped(&test, &ended(4, &[])).is_some());
        assert!(skipped(&test, &ended(0, &["stress_03 : [SKIP]", "stress_03 : [PASS]"])).is_some());
        assert!(skipped(&test, &ended(0, &["stress_03 : [SKIP]", "x : [FAIL]"])).is_none());
    }
}
