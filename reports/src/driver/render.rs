//! The coverage for a terminal: two numbers, and every place that was not reached.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Claim, DriverCoverage, Proof};

/// The terminal form, with a final newline.
#[must_use]
pub fn terminal(coverage: &DriverCoverage) -> String {
    let mut out = String::new();
    let DriverCoverage { lines, branches, .. } = coverage;
    let release = coverage.kernel.release.as_deref().unwrap_or(&coverage.kernel.spec);
    let _ = writeln!(
        out,
        "{release}: {:.1} % of {} lines, {:.1} % of {} branches, by {} scenarios in {} s",
        lines.percent(),
        lines.all,
        branches.percent(),
        branches.all,
        coverage.scenarios_counted,
        coverage.duration_ms / 1000,
    );
    if !coverage.scenarios_lost.is_empty() {
        let _ = writeln!(
            out,
            "not counted, the machine was gone: {}",
            coverage.scenarios_lost.join(", ")
        );
    }
    out.push_str(&claims(coverage.claims.as_deref()));
    let mut of_function: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (function, first, last) in coverage.uncovered() {
        let span = if first == last { first.to_string() } else { format!("{first}-{last}") };
        of_function.entry(function).or_default().push(span);
    }
    let _ = writeln!(out, "not run:");
    for (function, spans) in of_function {
        let _ = writeln!(out, "  {function:<36} {}", spans.join(" "));
    }
    let _ = writeln!(out, "run, with a direction that was never taken:");
    let mut of_function: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in coverage.detail.iter().filter(|line| line.count > 0 && line.missed() > 0) {
        of_function.entry(&line.function).or_default().push(line.number.to_string());
    }
    for (function, numbers) in of_function {
        let _ = writeln!(out, "  {function:<36} {}", numbers.join(" "));
    }
    out
}

fn claims(claims: Option<&[Claim]>) -> String {
    let Some(claims) = claims else {
        return "errno rows: not compared, their lines are of another text of the driver\n".into();
    };
    let of = |proof| claims.iter().filter(move |claim| claim.proof == proof);
    let mut out = format!(
        "errno rows that scenarios say they reached: {}, {} seen by their line, {} by every direction of their condition, \
         {} open, {} refuted\n",
        claims.len(),
        of(Proof::Line).count(),
        of(Proof::Condition).count(),
        of(Proof::Open).count(),
        of(Proof::Refuted).count(),
    );
    for (what, proof) in [("refuted", Proof::Refuted), ("open", Proof::Open)] {
        for Claim { row, scenarios, .. } in of(proof) {
            let _ = writeln!(out, "  {what:<8} {row:<32} {}", scenarios.join(", "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Line, shares};
    use super::*;

    #[test]
    fn what_was_not_reached_is_listed_by_function() {
        let line = |number, function: &str, count, branches: &[u64]| Line {
            number,
            function: function.into(),
            count,
            branches: branches.to_vec(),
        };
        let detail = vec![
            line(10, "a", 1, &[1, 0]),
            line(11, "a", 0, &[]),
            line(14, "a", 0, &[0, 0]),
            line(15, "a", 2, &[]),
            line(20, "b", 0, &[]),
        ];
        let (lines, branches) = shares(&detail);
        let coverage = DriverCoverage {
            kernel: crate::report::KernelHeader { spec: "7.3+gcov".into(), ..Default::default() },
            run_id: "run-1".into(),
            scenarios_counted: 2,
            scenarios_lost: vec!["canary/panic".into()],
            duration_ms: 61_000,
            lines,
            branches,
            claims: Some(vec![
                Claim { row: "a.b".into(), scenarios: vec!["x/y".into()], proof: Proof::Line },
                Claim { row: "a.c".into(), scenarios: vec!["x/z".into()], proof: Proof::Refuted },
            ]),
            detail,
        };
        assert_eq!(
            terminal(&coverage),
            "7.3+gcov: 40.0 % of 5 lines, 25.0 % of 4 branches, by 2 scenarios in 61 s\n\
             not counted, the machine was gone: canary/panic\n\
             errno rows that scenarios say they reached: 2, 1 seen by their line, 0 by every direction of their condition, \
             0 open, 1 refuted\n\
             \x20 refuted  a.c                              x/z\n\
             not run:\n\
             \x20 a                                    11-14\n\
             \x20 b                                    20\n\
             run, with a direction that was never taken:\n\
             \x20 a                                    10\n"
        );
    }
}
