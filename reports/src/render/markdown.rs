//! The summary a CI job shows on its page: verdict first, then what is red, then the whole table folded.

use std::fmt::{self, Write};

use crate::report::{KernelReport, PerfCell, PerfSide, Report, ScenarioReport};

use super::excerpt;
use super::words;

/// The Markdown form of `report`, with a final newline.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail; the `Result` is `fmt`'s.
    let _ = write_report(&mut out, report);
    out
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "## {}: {}\n", report.status.as_str(), cell(&report.status_reason))?;
    writeln!(out, "{}  ", words::counts(report))?;
    writeln!(out, "{}; {}\n", words::canaries(report), words::boots(report))?;
    for violation in &report.violations {
        writeln!(out, "- violation: {}", cell(&words::violation(violation)))?;
    }
    for error in &report.errors {
        writeln!(out, "- run error: {}", cell(&words::run_error(report, error)))?;
    }
    for (kernel, scenario) in report.scenarios().filter(|(_, s)| s.verdict.is_red()) {
        write_red(out, kernel, scenario)?;
    }
    for kernel in &report.kernels {
        write_kernel(out, kernel)?;
    }
    let run = &report.run;
    writeln!(
        out,
        "\nrun {} | seed {:#x} | commit {} | {} ({}) | QEMU {} | took {}",
        cell(&run.run_id),
        run.seed,
        cell(&words::commit(report)),
        cell(&run.accelerator.name),
        cell(&run.accelerator.reason),
        cell(&run.qemu.version),
        words::duration(Some(report.duration_ms)),
    )
}

fn write_red(out: &mut String, kernel: &KernelReport, scenario: &ScenarioReport) -> fmt::Result {
    let place = format!("{} on {}", scenario.id, words::kernel(kernel));
    writeln!(out, "\n### {}: {}\n", words::verdict(scenario), cell(&place))?;
    writeln!(out, "{}\n", cell(&scenario.message))?;
    for piece in excerpt::of(scenario) {
        writeln!(out, "{}:\n", cell(&piece.title))?;
        // Indented, not fenced: no text can break out of it.
        for line in piece.lines {
            writeln!(out, "    {line}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_kernel(out: &mut String, kernel: &KernelReport) -> fmt::Result {
    let title = cell(&words::kernel(kernel));
    let counts = &kernel.counts;
    let sum = format!("{} of {} reported", counts.reported, counts.planned);
    writeln!(out, "\n<details><summary>{title}: {sum}</summary>\n")?;
    writeln!(out, "| verdict | scenario | time | message |\n|---|---|---:|---|")?;
    for scenario in &kernel.scenarios {
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            words::verdict(scenario),
            cell(&scenario.id),
            words::duration(scenario.duration_ms),
            cell(&scenario.message),
        )?;
    }
    let cells: Vec<_> = kernel.scenarios.iter().flat_map(|scenario| &scenario.perf).collect();
    if !cells.is_empty() {
        write_perf(out, &cells)?;
    }
    writeln!(out, "\n</details>")
}

fn write_perf(out: &mut String, cells: &[&PerfCell]) -> fmt::Result {
    writeln!(out, "\nInformative, by wall clock:\n")?;
    writeln!(out, "| job | direction | IOPS | MiB/s | latency |\n|---|---|---:|---:|---|")?;
    for perf in cells {
        for (direction, side) in [("read", &perf.read), ("write", &perf.write)] {
            if let Some(side) = side {
                let name = cell(&perf.name);
                let mib_per_s = side.bandwidth_bytes_per_s as f64 / f64::from(1 << 20);
                writeln!(
                    out,
                    "| {name} | {direction} | {:.0} | {mib_per_s:.1} | {} |",
                    side.iops,
                    latency(side),
                )?;
            }
        }
    }
    Ok(())
}

/// The median and the two tails people ask for.
fn latency(side: &PerfSide) -> String {
    let wanted = |percent: f64| [50.0, 99.0, 99.9].iter().any(|w| (w - percent).abs() < 1e-6);
    let points = side.latency.iter().filter(|point| wanted(point.percent));
    let shown = points.map(|p| format!("p{} {:.1} us", p.percent, p.latency_ns as f64 / 1e3));
    shown.collect::<Vec<_>>().join(", ")
}

/// `text` on one line, with what Markdown and HTML would take for their own made harmless.
pub(crate) fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in words::one_line(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}
