//! The table of a gate, for a terminal and for a job summary: the value before beside the value now.

use std::fmt::Write;

use super::decision::{Decision, Finding, GateStatus, Verdict};
use super::metric::{Kind, Tolerance};
use crate::render::Palette;

const HEAD: [&str; 6] = ["metric", "baseline", "now", "change", "ruled out above", "verdict"];

/// The terminal form, with a final newline.
#[must_use]
pub fn terminal(decision: &Decision, palette: Palette) -> String {
    let rows = rows(decision);
    let mut out = String::new();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for row in &rows {
        let mut line = String::from("  ");
        for (column, text) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 => write!(line, "{text:<width$}  "),
                _ => write!(line, "{text:>width$}  "),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let line = verdict_line(decision);
    let line = match decision.status {
        GateStatus::Passed => palette.head(&line),
        _ => palette.bad(&line),
    };
    let _ = writeln!(out, "{line}");
    out
}

/// The same in Markdown.
#[must_use]
pub fn markdown(decision: &Decision) -> String {
    let mut out = format!("{}\n\n", verdict_line(decision));
    for (number, row) in rows(decision).iter().enumerate() {
        let _ = writeln!(out, "| {} |", row.join(" | "));
        if number == 0 {
            let _ = writeln!(out, "|{}", " --- |".repeat(row.len()));
        }
    }
    out
}

fn verdict_line(decision: &Decision) -> String {
    let machines = match decision.runs {
        1 => "1 machine".to_owned(),
        runs => format!("{runs} machines"),
    };
    let status = decision.status.as_str();
    format!("gate: {status}: {} ({machines}, seed {:#x})", decision.reason, decision.seed)
}

fn rows(decision: &Decision) -> Vec<Vec<String>> {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(decision.findings.iter().map(|finding| row(finding, "")));
    rows.extend(decision.controls.iter().map(|finding| row(finding, " (control)")));
    rows
}

fn row(finding: &Finding, suffix: &str) -> Vec<String> {
    let value = |value: f64| match finding.id.kind {
        _ if !value.is_finite() => "-".to_owned(),
        Kind::Iops | Kind::ServerNsPerIo => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    };
    let verdict = match finding.verdict {
        Verdict::BetterOrEqual => "ok",
        Verdict::Regressed => "WORSE",
        Verdict::Inconclusive => "unclear",
    };
    vec![
        format!("{}{suffix}", finding.id.name()),
        value(finding.base),
        value(finding.head),
        change(finding),
        loss(finding, finding.loss_high),
        verdict.to_owned(),
    ]
}

/// The change with its sign as the value has it: a lower IOPS is a minus, a higher count a plus.
fn change(finding: &Finding) -> String {
    let sign = if finding.id.kind == Kind::Iops { -1.0 } else { 1.0 };
    match finding.tolerance {
        Tolerance::Ratio(_) => format!("{:+.2} %", ((sign * finding.loss).exp() - 1.0) * 100.0),
        Tolerance::PerIo(_) => format!("{:+.3}", sign * finding.loss),
    }
}

/// A loss in its own terms.
pub(super) fn loss(finding: &Finding, loss: f64) -> String {
    match finding.tolerance {
        Tolerance::Ratio(_) => format!("{:.2} %", loss * 100.0),
        Tolerance::PerIo(_) => format!("{loss:.3}"),
    }
}
