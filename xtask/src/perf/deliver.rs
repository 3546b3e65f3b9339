//! Where a measurement's numbers go: files in a folder, the terminal, and a page of the documentation.

use std::path::Path;

use reports::html::Document;
use reports::perf::{PerfReport, markdown, terminal};
use reports::render::Palette;
use reports::report::ExitCode;
use vmimage::fsio;

use crate::error::Error;
use crate::interrupt;
use crate::section;

/// Writes `perf.json`, `perf.md` and `report.html`, shows the tables, and puts them into `into`, whose section
/// has the name of the command.
///
/// # Errors
/// A file that cannot be written; a page without that section; a run with errors that is to become
/// documentation.
pub(crate) fn deliver(
    report: &PerfReport,
    folder: &Path,
    json: bool,
    into: Option<(&Path, &str)>,
) -> Result<ExitCode, Error> {
    write(folder, report)?;
    show(report, folder, json)?;
    let code = match (interrupt::requested(), report.errors.is_empty()) {
        (true, _) => ExitCode::Interrupted,
        (false, true) => ExitCode::Passed,
        (false, false) => ExitCode::Failed,
    };
    if let (Some((path, name)), ExitCode::Passed) = (into, code) {
        section::replace(path, name, &markdown(report))?;
    }
    Ok(code)
}

fn write(folder: &Path, report: &PerfReport) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(report).map_err(Error::infrastructure)?;
    for (name, text) in [("perf.json", json), ("perf.md", markdown(report))] {
        fsio::write(&folder.join(name), text.as_bytes()).map_err(Error::infrastructure)?;
    }
    let page = reports::write_html(folder, Document::Perf(report));
    page.map(drop).map_err(Error::infrastructure)
}

fn show(report: &PerfReport, folder: &Path, json: bool) -> Result<(), Error> {
    if json {
        let text = serde_json::to_string_pretty(report).map_err(Error::infrastructure)?;
        anstream::println!("{text}");
        return Ok(());
    }
    anstream::println!("{}", terminal(report, Palette::ansi()));
    anstream::println!("reports: {}", folder.display());
    anstream::println!("  report.html   for a browser: one page, complete");
    anstream::println!("  perf.json     every sample, median, ratio and count");
    anstream::println!("  perf.md       these tables in Markdown");
    Ok(())
}
