//! The table a person reads at the end of a run.
//!
//! Kernels, scenarios, the sum, and then the reasons for everything red; the status comes last, where
//! the eye is.

use std::fmt::{self, Write};

use crate::report::{KernelReport, Report, RunError, ScenarioReport, Verdict};

use super::excerpt;
use super::palette::Palette;
use super::words;

/// Characters of a message in the table; all of it is shown below for a red scenario.
const MESSAGE_CHARS_MAX: usize = 100;

/// The terminal form of `report`, with a final newline.
#[must_use]
pub fn terminal(report: &Report, palette: Palette) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail; the `Result` is `fmt`'s.
    let _ = write_report(&mut out, report, palette);
    out
}

fn write_report(out: &mut String, report: &Report, palette: Palette) -> fmt::Result {
    for (index, kernel) in report.kernels.iter().enumerate() {
        if could_not_begin(report, index) {
            // One line instead of a table of one word; why it is so is said below, as a run error.
            let title = palette.head(&words::kernel(kernel));
            let planned = kernel.counts.planned;
            writeln!(out, "{title}: nothing was booted, so none of the {planned} has a verdict\n")?;
        } else {
            write_kernel(out, kernel, palette)?;
        }
    }
    write_red(out, report, palette)?;
    write_trouble(out, report, palette)?;
    let run = &report.run;
    if let Some(server) = &run.server {
        writeln!(out, "{}", palette.head(&format!("server under test: {server}")))?;
    }
    writeln!(
        out,
        "{}",
        palette.dim(&format!(
            "run {} | seed {:#x} | commit {} | {} ({}) | QEMU {}",
            run.run_id,
            run.seed,
            words::commit(report),
            run.accelerator.name,
            run.accelerator.reason,
            run.qemu.version,
        ))
    )?;
    writeln!(out, "{}", words::counts(report))?;
    let took = words::duration(Some(report.duration_ms));
    writeln!(out, "{}; {}; took {took}", words::canaries(report), words::boots(report))?;
    let status = palette.status(report.status, &report.status.as_str().to_uppercase());
    writeln!(out, "{status}: {}", words::one_line(&report.status_reason))
}

/// Whether a kernel has no boot for a reason that is told as a run error.
fn could_not_begin(report: &Report, index: usize) -> bool {
    let told = |error: &RunError| error.kernel.is_some_and(|kernel| kernel as usize == index);
    report.kernels[index].boots.is_empty() && report.errors.iter().any(told)
}

fn write_kernel(out: &mut String, kernel: &KernelReport, palette: Palette) -> fmt::Result {
    let title = palette.head(&words::kernel(kernel));
    let canaries = &kernel.canaries;
    writeln!(
        out,
        "{title}: {} scenarios, {} boots, {} repeated before ready, canaries {} of {}",
        kernel.counts.planned,
        kernel.boots.len(),
        kernel.retries(),
        canaries.caught,
        canaries.full,
    )?;
    let id_width = kernel.scenarios.iter().map(|s| s.id.chars().count()).max().unwrap_or(0);
    for scenario in &kernel.scenarios {
        let verdict = format!("{:<9}", scenario.verdict.as_str());
        writeln!(
            out,
            "  {} {:<id_width$} {:>8}  {}",
            palette.verdict(scenario.verdict, &verdict),
            scenario.id,
            words::duration(scenario.duration_ms),
            shortened(&words::one_line(&scenario.message)),
        )?;
    }
    for boot in &kernel.boots {
        for note in &boot.notes {
            writeln!(out, "  {}", palette.dim(&format!("boot {}: {note}", boot.boot)))?;
        }
    }
    writeln!(out)
}

fn write_red(out: &mut String, report: &Report, palette: Palette) -> fmt::Result {
    let began = |(index, _): &(usize, &KernelReport)| !could_not_begin(report, *index);
    let kernels = report.kernels.iter().enumerate().filter(began);
    let all = kernels.flat_map(|(_, kernel)| kernel.scenarios.iter().map(move |s| (kernel, s)));
    for (kernel, scenario) in all.filter(|(_, s)| s.verdict.is_red()) {
        let title = format!("{} on {}", scenario.id, words::kernel(kernel));
        let verdict = palette.verdict(scenario.verdict, &words::verdict(scenario));
        writeln!(out, "{verdict} {}", palette.head(&title))?;
        writeln!(out, "  {}", words::one_line(&scenario.message))?;
        write_excerpts(out, scenario, palette)?;
        writeln!(out)?;
    }
    Ok(())
}

fn write_excerpts(out: &mut String, scenario: &ScenarioReport, palette: Palette) -> fmt::Result {
    // Nothing was seen of it, so there is nothing to show.
    if scenario.verdict == Verdict::NotRun {
        return Ok(());
    }
    for piece in excerpt::of(scenario) {
        writeln!(out, "  {}", palette.dim(&format!("--- {}", words::one_line(&piece.title))))?;
        for line in piece.lines {
            writeln!(out, "  | {line}")?;
        }
    }
    Ok(())
}

fn write_trouble(out: &mut String, report: &Report, palette: Palette) -> fmt::Result {
    for violation in &report.violations {
        let text = words::one_line(&words::violation(violation));
        writeln!(out, "{} {text}", palette.bad("violation"))?;
    }
    if report.violations_cut > 0 {
        writeln!(out, "{} and {} more", palette.bad("violation"), report.violations_cut)?;
    }
    for error in &report.errors {
        let text = words::one_line(&words::run_error(report, error));
        writeln!(out, "{} {text}", palette.bad("run error"))?;
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
