//! The matrix as a page of the documentation: counts for what holds, and everything that does not in full.

use std::fmt::{self, Write};

use crate::render::escaped;

use super::{
    Cell, CellChange, Changes, Direction, Fact, Finding, Group, KernelChange, Matrix, Tally, facts,
    findings, groups,
};

/// Names that are listed before the rest is counted.
const NAMES_MAX: usize = 40;

/// The Markdown form of `matrix`, for a page in `docs`, with a final newline. `changes` is what is otherwise than before.
#[must_use]
pub fn markdown(matrix: &Matrix, changes: Option<&Changes<'_>>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail; the `Result` is `fmt`'s.
    let _ = write_all(&mut out, matrix, changes);
    out
}

fn write_all(out: &mut String, matrix: &Matrix, changes: Option<&Changes<'_>>) -> fmt::Result {
    writeln!(out, "**{}**: {}\n", matrix.status.as_str(), escaped(&matrix.status_reason))?;
    writeln!(out, "{}\n", provenance(matrix))?;
    for error in &matrix.errors {
        writeln!(out, "- run error: {}", escaped(error))?;
    }
    write_kernels(out, matrix)?;
    // A server has few scenarios, and whoever chooses one wants to see each.
    match matrix.run.server {
        Some(_) => write_scenarios(out, matrix)?,
        None => write_groups(out, matrix)?,
    }
    write_red(out, matrix)?;
    write_known(out, matrix)?;
    write_not_supported(out, matrix)?;
    write_not_run(out, matrix)?;
    match changes {
        Some(changes) => write_changes(out, matrix, changes),
        None => Ok(()),
    }
}

/// Who made it, from what.
pub(crate) fn provenance(matrix: &Matrix) -> String {
    let run = &matrix.run;
    let commit = match &run.commit {
        Some(commit) => commit.chars().take(10).collect(),
        None => "unknown".to_owned(),
    };
    let server = run.server.as_ref().map(|server| {
        let version = server.version.as_deref().unwrap_or("of an unknown release");
        format!("Server {} {version}: ", server.name)
    });
    format!(
        "{}{} scenarios on {} kernels in {} min; commit {commit}{}, {}, seed {:#x}, {}, QEMU {}.",
        server.unwrap_or_default(),
        matrix.rows.len(),
        matrix.columns.len(),
        run.duration_ms.div_ceil(60_000),
        if run.dirty { " with local changes" } else { "" },
        day(run.started_at_unix_ms),
        run.seed,
        run.accelerator,
        run.qemu,
    )
}

fn day(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    moment.map_or_else(|| "at an unknown time".into(), |m| m.format("%Y-%m-%d").to_string())
}

/// A table's head: empty names for what is left of the kernels.
fn head(out: &mut String, matrix: &Matrix, left: &[&str]) -> fmt::Result {
    let kernels = matrix.columns.iter().map(|column| escaped(&column.kernel));
    let names: Vec<String> = left.iter().map(|name| (*name).to_owned()).chain(kernels).collect();
    writeln!(out, "| {} |", names.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(names.len()))
}

fn write_kernels(out: &mut String, matrix: &Matrix) -> fmt::Result {
    writeln!(out, "### Kernels\n")?;
    head(out, matrix, &[""])?;
    let tallies: Vec<Tally> = (0..matrix.columns.len()).map(|c| matrix.tally(c)).collect();
    for word in ["pass", "fail", "error", "known-bug", "not-supported", "not-run"] {
        let counts: Vec<u32> = tallies
            .iter()
            .map(|t| t.parts().iter().find(|(w, _)| *w == word).map_or(0, |(_, count)| *count))
            .collect();
        if counts.iter().any(|count| *count > 0) || word == "fail" {
            let shown: Vec<String> = counts.iter().map(u32::to_string).collect();
            writeln!(out, "| {word} | {} |", shown.join(" | "))?;
        }
    }
    let (facts, everywhere) = facts(matrix);
    for Fact { name, answers } in facts {
        let answers: Vec<String> = answers.iter().map(|answer| escaped(answer)).collect();
        writeln!(out, "| {} | {} |", escaped(&name), answers.join(" | "))?;
    }
    if !everywhere.is_empty() {
        writeln!(out, "\nOn every one of them: {}.", escaped(&everywhere.join(", ")))?;
    }
    let broken = matrix.columns.iter().filter_map(|c| Some((c, c.error.as_ref()?)));
    for (number, (column, error)) in broken.enumerate() {
        let gap = if number == 0 { "\n" } else { "" };
        writeln!(out, "{gap}- **{}: error**: {}", escaped(&column.kernel), escaped(error))?;
    }
    Ok(())
}

fn write_groups(out: &mut String, matrix: &Matrix) -> fmt::Result {
    writeln!(out, "\n### Scenarios by family and data mode\n")?;
    head(out, matrix, &["family", "mode"])?;
    for Group { family, mode, tallies, .. } in groups(matrix) {
        let cells: Vec<String> = tallies.iter().map(|tally| counted(*tally)).collect();
        writeln!(out, "| {} | {mode} | {} |", escaped(family), cells.join(" | "))?;
    }
    Ok(())
}

/// Each scenario with its word on each kernel.
fn write_scenarios(out: &mut String, matrix: &Matrix) -> fmt::Result {
    writeln!(out, "\n### Scenarios\n")?;
    head(out, matrix, &["scenario"])?;
    for row in &matrix.rows {
        let word = |cell: &Cell| match cell.is_red() {
            true => format!("**{}**", cell.word()),
            false => cell.word().replace('-', " "),
        };
        let words: Vec<String> = row.cells.iter().map(word).collect();
        writeln!(out, "| `{}` | {} |", row.scenario, words.join(" | "))?;
    }
    Ok(())
}

/// One number where everything holds.
fn counted(tally: Tally) -> String {
    let word = |(word, count): (&str, u32)| match word {
        "fail" | "error" => format!("**{count} {word}**"),
        "pass" => count.to_string(),
        _ => format!("{count} {}", word.replace('-', " ")),
    };
    // What holds comes first here: the eye compares columns of numbers.
    let mut parts = tally.parts();
    if let Some(place) = parts.iter().position(|(word, _)| *word == "pass") {
        parts[..=place].rotate_right(1);
    }
    parts.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

fn write_red(out: &mut String, matrix: &Matrix) -> fmt::Result {
    let reds: Vec<Finding<'_>> =
        ["fail", "error"].iter().flat_map(|word| findings(matrix, word)).collect();
    if reds.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Red\n")?;
    for Finding { row, cell, columns } in reds {
        let row = &matrix.rows[row];
        let kernels = escaped(&matrix.names(&columns));
        writeln!(
            out,
            "- **{}** `{}` on {kernels}: {}",
            cell.word(),
            row.scenario,
            escaped(&cell.told())
        )?;
        writeln!(out, "  `{}`", matrix.reproducer(row, &columns))?;
    }
    Ok(())
}

fn write_known(out: &mut String, matrix: &Matrix) -> fmt::Result {
    let mut pages: Vec<(&str, Vec<String>)> = Vec::new();
    for found in findings(matrix, "known-bug") {
        let Cell::KnownBug { reference } = found.cell else { continue };
        let scenario = &matrix.rows[found.row].scenario;
        let line = format!("`{scenario}` ({})", escaped(&matrix.names(&found.columns)));
        match pages.iter_mut().find(|(page, _)| page == reference) {
            Some((_, lines)) => lines.push(line),
            None => pages.push((reference, vec![line])),
        }
    }
    if pages.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Known bugs\n")?;
    for (reference, lines) in pages {
        writeln!(out, "- {}: {}", linked(reference), lines.join(", "))?;
    }
    Ok(())
}

/// A reference as a link from a page in `docs`.
fn linked(reference: &str) -> String {
    let (page, place) = reference.split_once(", ").unwrap_or((reference, ""));
    let name = page.rsplit('/').next().unwrap_or(page).trim_end_matches(".md").replace('-', " ");
    let shown = if place.is_empty() { name } else { format!("{name}: {place}") };
    match page.strip_prefix("docs/") {
        Some(path) => format!("[{}]({path})", escaped(&shown)),
        None => escaped(reference),
    }
}

fn write_not_supported(out: &mut String, matrix: &Matrix) -> fmt::Result {
    let mut answers: Vec<(String, Vec<usize>, Vec<String>)> = Vec::new();
    for found in findings(matrix, "not-supported") {
        let (told, scenario) =
            (found.cell.told(), format!("`{}`", matrix.rows[found.row].scenario));
        match answers.iter_mut().find(|(t, c, _)| *t == told && *c == found.columns) {
            Some((_, _, scenarios)) => scenarios.push(scenario),
            None => answers.push((told, found.columns, vec![scenario])),
        }
    }
    if answers.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n### Not supported\n\n| probe and answer | kernels | scenarios |\n|---|---|---|"
    )?;
    for (told, columns, scenarios) in answers {
        let kernels = escaped(&matrix.names(&columns));
        writeln!(out, "| {} | {kernels} | {} |", escaped(&told), scenarios.join(", "))?;
    }
    Ok(())
}

/// Not a skip: nobody asked. Counted for each kernel, since it is the rest of a plan.
fn write_not_run(out: &mut String, matrix: &Matrix) -> fmt::Result {
    for (index, column) in matrix.columns.iter().enumerate() {
        let left = matrix.tally(index).not_run;
        if left > 0 {
            writeln!(out, "\n**Not run on {}**: {left} scenarios.", escaped(&column.kernel))?;
        }
    }
    Ok(())
}

/// Cells that changed in the same way: each of these scenarios on each of these kernels.
struct Alike<'a> {
    change: &'a CellChange<'a>,
    scenarios: Vec<&'a str>,
    columns: Vec<usize>,
}

/// What is neither better nor worse is told once for all that say the same: a probe with another name changes dozens.
fn alike<'a>(cells: &'a [CellChange<'a>]) -> Vec<Alike<'a>> {
    let same = |a: &CellChange<'_>, b: &CellChange<'_>| {
        let both = (a.direction, b.direction) == (Direction::Otherwise, Direction::Otherwise);
        both && (a.from, a.to) == (b.from, b.to)
    };
    let mut by_scenario: Vec<Alike<'_>> = Vec::new();
    for cell in cells {
        let known = by_scenario
            .iter_mut()
            .find(|alike| alike.scenarios == [cell.scenario] && same(alike.change, cell));
        match known {
            Some(alike) => alike.columns.push(cell.column),
            None => by_scenario.push(Alike {
                change: cell,
                scenarios: vec![cell.scenario],
                columns: vec![cell.column],
            }),
        }
    }
    let mut merged: Vec<Alike<'_>> = Vec::new();
    for one in by_scenario {
        let known = merged
            .iter_mut()
            .find(|alike| alike.columns == one.columns && same(alike.change, one.change));
        match known {
            Some(alike) => alike.scenarios.extend(one.scenarios),
            None => merged.push(one),
        }
    }
    merged
}

fn write_changes(out: &mut String, matrix: &Matrix, changes: &Changes<'_>) -> fmt::Result {
    let since = changes.since;
    let commit: String = since.commit.iter().flat_map(|c| c.chars().take(10)).collect();
    writeln!(out, "\n### What changed since {} ({commit})\n", day(since.started_at_unix_ms))?;
    if changes.is_empty() {
        return writeln!(out, "Nothing.");
    }
    for (what, names) in [
        ("new kernels", &changes.new_kernels),
        ("kernels that are gone", &changes.gone_kernels),
        ("new scenarios", &changes.new_scenarios),
        ("scenarios that are gone", &changes.gone_scenarios),
    ] {
        if !names.is_empty() {
            writeln!(out, "- {what} ({}): {}", names.len(), escaped(&listed(names)))?;
        }
    }
    for change in &changes.kernels {
        writeln!(out, "- {}", escaped(&kernel_changed(change)))?;
    }
    for alike in alike(&changes.cells) {
        let scenarios: Vec<_> = alike.scenarios.iter().map(|one| format!("`{one}`")).collect();
        writeln!(
            out,
            "- **{}**: {} on {}: {} -> {}",
            alike.change.direction.as_str(),
            scenarios.join(", "),
            escaped(&matrix.names(&alike.columns)),
            escaped(&said(alike.change.from)),
            escaped(&said(alike.change.to)),
        )?;
    }
    Ok(())
}

/// What changed about a kernel, as a sentence.
pub(crate) fn kernel_changed(change: &KernelChange<'_>) -> String {
    let mut parts = Vec::new();
    if let Some((from, to)) = change.release {
        parts.push(format!("{from} -> {to}"));
    }
    for (what, names) in
        [("reports", &change.more_features), ("no longer reports", &change.fewer_features)]
    {
        if !names.is_empty() {
            parts.push(format!("{what} {}", names.join(", ")));
        }
    }
    format!("{}: {}", change.kernel, parts.join("; "))
}

/// A cell in a line.
pub(crate) fn said(cell: &Cell) -> String {
    match cell.told() {
        told if told.is_empty() => cell.word().to_owned(),
        told => format!("{} ({told})", cell.word()),
    }
}

/// The first of many names.
pub(crate) fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMES_MAX)].join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
