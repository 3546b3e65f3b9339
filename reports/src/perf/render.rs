//! The tables of a perf run, for a terminal and for `docs/performance.md`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::bench::BenchPlace;
use super::compared;
use super::plan::{Cell, Role};
use super::report::{PerfReport, StartUpResult, SubjectResult};
use crate::render::Palette;

/// A table as rows of cells; the first row is the head.
pub(super) type Rows = Vec<Vec<String>>;

/// Options that say where things are on one machine, and nothing of what was measured; all but the last have
/// a value.
const PLACES: &[&str] = &[
    "--output",
    "--into",
    "--export-github",
    "--export-bencher",
    "--archive",
    "--suite",
    "--keyring",
    "--qemu",
    "--modules",
    "--fio",
    "--cache",
    "--other",
    "--json",
];

/// The terminal form of `report`, with a final newline.
#[must_use]
pub fn terminal(report: &PerfReport, palette: Palette) -> String {
    let mut out = String::new();
    for (title, rows) in tables(report) {
        let _ = writeln!(out, "{}", palette.head(&title));
        aligned(&mut out, &rows, "  ");
        out.push('\n');
    }
    for note in compared::notes(report) {
        let _ = writeln!(out, "{} {}: {}", palette.dim("note"), note.0, note.1);
    }
    for error in &report.errors {
        let _ = writeln!(out, "{} {error}", palette.bad("error"));
    }
    let _ = writeln!(out, "{}", palette.dim(&origin(report)));
    out
}

/// The same tables in Markdown.
#[must_use]
pub fn markdown(report: &PerfReport) -> String {
    let mut out = format!("`{}` on {}.\n", command(&report.run.command_line), origin(report));
    for (title, rows) in tables(report) {
        let _ = writeln!(out, "\n### {title}\n");
        for (number, row) in rows.iter().enumerate() {
            let _ = writeln!(out, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(out, "|{}", " --- |".repeat(row.len()));
            }
        }
    }
    let notes = compared::notes(report);
    if !notes.is_empty() {
        out.push('\n');
    }
    for (who, note) in notes {
        let _ = writeln!(out, "- {who}: {note}");
    }
    for error in &report.errors {
        let _ = writeln!(out, "\nerror: {error}");
    }
    out
}

/// What to type to have the same again: the command without what belongs to one machine.
fn command(line: &[String]) -> String {
    let mut words = vec!["cargo xtask"];
    let mut rest = line.iter().skip(1).map(String::as_str);
    while let Some(word) = rest.next() {
        let (option, value) = word.split_once('=').map_or((word, false), |(name, _)| (name, true));
        match PLACES.contains(&option) {
            true if option != "--json" && !value => drop(rest.next()),
            true => {}
            false => words.push(word),
        }
    }
    words.join(" ")
}

fn origin(report: &PerfReport) -> String {
    let run = &report.run;
    let commit: String = run.commit.as_deref().unwrap_or("unknown").chars().take(12).collect();
    format!(
        "Linux {}, QEMU {}, {} clock, {} CPU{}, {} I/Os a sample, commit {commit}{}",
        report.kernel.release.as_deref().unwrap_or(&report.kernel.spec),
        run.qemu.version,
        report.clock,
        report.cpus,
        if report.cpus == 1 { "" } else { "s" },
        report.ios_per_sample,
        if run.dirty { " with changes" } else { "" },
    )
}

fn tables(report: &PerfReport) -> Vec<(String, Rows)> {
    let cells: BTreeSet<Cell> =
        report.subjects.iter().flat_map(|s| s.cells.iter().map(|c| c.cell)).collect();
    let cells: Vec<Cell> = cells.into_iter().collect();
    // Where subjects are compared, what one does by itself is not said.
    let mut tables = compared::tables(report);
    let cells = if report.comparisons.is_empty() { cells } else { Vec::new() };
    if !cells.is_empty() {
        tables.push(("thousand IOPS, and the ratio to kublk".into(), iops(report, &cells)));
    }
    if report.clock == "instructions" && !cells.is_empty() {
        let title = "instructions per I/O: client, kernel and server".into();
        tables.push((title, costs(report, &cells)));
    }
    if report.subjects.iter().any(|subject| !subject.counts.is_empty()) {
        tables.push(("what the server does per I/O, counted".into(), counts(report)));
    }
    if !report.start_up.is_empty() && report.comparisons.is_empty() {
        let ms = |ns: u64| format!("{:.1}", ns as f64 / 1e6);
        let kib = |bytes: u64| (bytes >> 10).to_string();
        let title = "ms from the program's start to the open device, by depth";
        tables.push((title.into(), lives(report, |life| Some(ms(life.median_ns)))));
        let title = "ms from the order to delete the device to nothing left of it, by depth";
        tables.push((title.into(), lives(report, |life| life.stop_median_ns.map(ms))));
        let title = "KiB of memory that the server keeps resident, by depth";
        tables.push((title.into(), lives(report, |life| life.resident_bytes.map(kib))));
        let title = "ms from the start of a server that takes over to the first read it serves";
        tables.push((title.into(), lives(report, |life| life.recovery_median_ns.map(ms))));
        // What was not measured has no table.
        tables.retain(|(_, rows)| rows.len() > 1);
    }
    if !report.benches.is_empty() {
        tables.push(("criterion benches: ns an iteration".into(), benches(report)));
    }
    tables
}

fn benches(report: &PerfReport) -> Rows {
    let head = ["bench", "where", "ns", "deviation"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(report.benches.iter().map(|bench| {
        let place = match (bench.place, report.clock.as_str()) {
            (BenchPlace::Guest, "instructions") => "guest, instructions",
            (BenchPlace::Guest, _) => "guest",
            (BenchPlace::Host, _) => "host, wall clock",
        };
        let numbers = [bench.ns_per_iteration.to_string(), bench.deviation_ns.to_string()];
        [vec![bench.name.clone(), place.to_owned()], numbers.to_vec()].concat()
    }));
    rows
}

fn iops(report: &PerfReport, cells: &[Cell]) -> Rows {
    grid(report, cells, |cell| {
        let ratio = cell.ratio.map(|ratio| format!(" ({ratio:.3})")).unwrap_or_default();
        format!("{:.1}{ratio}", cell.median_iops / 1000.0)
    })
}

fn costs(report: &PerfReport, cells: &[Cell]) -> Rows {
    grid(report, cells, |cell| format!("{:.0}", cell.cost_ns_per_io))
}

fn grid(
    report: &PerfReport,
    cells: &[Cell],
    text: impl Fn(&super::report::CellResult) -> String,
) -> Rows {
    let mut head = vec!["server".to_owned(), "mode".to_owned()];
    head.extend(cells.iter().map(Cell::name));
    let mut rows = vec![head];
    for subject in &report.subjects {
        let mut row = vec![name(subject), subject.mode.clone()];
        match &subject.skipped {
            Some(probe) => row.push(format!("skipped: {probe}")),
            None => row.extend(cells.iter().map(|wanted| {
                let found = subject.cells.iter().find(|cell| cell.cell == *wanted);
                found.map_or_else(|| "-".to_owned(), &text)
            })),
        }
        row.resize(cells.len() + 2, String::new());
        rows.push(row);
    }
    rows
}

fn name(subject: &SubjectResult) -> String {
    match subject.role {
        Role::Ours => format!("{} (ours)", subject.name),
        Role::Limit => format!("{} (no server)", subject.name),
        Role::Reference | Role::Peer => subject.name.clone(),
    }
}

fn counts(report: &PerfReport) -> Rows {
    let head = [
        "server",
        "mode",
        "cell",
        "io_uring_enter",
        "system calls",
        "context switches",
        "futex calls, sum",
        "allocations, sum",
        "switches/s idle",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for subject in &report.subjects {
        for count in &subject.counts {
            let idle = subject.idle_switches_per_s;
            rows.push(vec![
                name(subject),
                subject.mode.clone(),
                count.cell.name(),
                format!("{:.3}", count.enters_per_io),
                format!("{:.3}", count.syscalls_per_io),
                format!("{:.3}", count.switches_per_io),
                count.futexes.to_string(),
                count.allocations.map_or_else(|| "-".into(), |sum| sum.to_string()),
                idle.map_or_else(|| "-".into(), |rate| format!("{rate:.1}")),
            ]);
        }
    }
    rows
}

/// Servers by depth, with only the servers and depths that have anything to show.
fn lives(report: &PerfReport, text: impl Fn(&StartUpResult) -> Option<String>) -> Rows {
    let shown: Vec<(&StartUpResult, String)> =
        report.start_up.iter().filter_map(|life| Some((life, text(life)?))).collect();
    let depths: BTreeSet<u16> = shown.iter().map(|(life, _)| life.depth).collect();
    let mut head = vec!["server".to_owned(), "mode".to_owned()];
    head.extend(depths.iter().map(|depth| format!("depth {depth}")));
    let mut rows = vec![head];
    let mut servers: Vec<(&str, &str)> = Vec::new();
    for (life, _) in &shown {
        if !servers.contains(&(&life.name, &life.mode)) {
            servers.push((&life.name, &life.mode));
        }
    }
    for (name, mode) in servers {
        let mut row = vec![name.to_owned(), mode.to_owned()];
        row.extend(depths.iter().map(|depth| {
            let own = |life: &StartUpResult| {
                life.name == name && life.mode == mode && life.depth == *depth
            };
            let found = shown.iter().find(|(life, _)| own(life));
            found.map_or_else(|| "-".into(), |(_, text)| text.clone())
        }));
        rows.push(row);
    }
    rows
}

/// Columns as wide as their widest cell: words to the left, numbers to the right.
fn aligned(out: &mut String, rows: &Rows, indent: &str) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        // What was skipped says why over all columns.
        let fits = |text: &&String| !text.starts_with("skipped:");
        let cells = rows.iter().filter_map(|row| row.get(column)).filter(fits);
        cells.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from(indent);
        for (column, text) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 | 1 => write!(line, "{text:<width$}  "),
                _ => write!(line, "{text:>width$}  "),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_nothing_of_the_machine_it_ran_on() {
        let line = ["/x/xtask", "vm-perf", "--output", "/y", "--ios", "9", "--cache=/z", "--json"];
        let line = line.map(str::to_owned);
        assert_eq!(command(&line), "cargo xtask vm-perf --ios 9");
    }
}
