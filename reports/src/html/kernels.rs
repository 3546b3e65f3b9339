//! `matrix.html`: what holds on which kernel, as one file like the report's page.

use maud::{Markup, html};

use crate::matrix::{
    Cell, Changes, Fact, Finding, Group, Matrix, Row, Tally, facts, findings, groups,
};
use crate::report::Verdict;

use super::clean::line;
use super::{badge, kernels_changes, page, units};

/// The page. `docs` leads from the page's folder to the workspace's root, where the pages of known bugs are: empty, or
/// with a `/` at its end; without it they are named and not linked.
#[must_use]
pub fn matrix_page(matrix: &Matrix, changes: Option<&Changes<'_>>, docs: Option<&str>) -> String {
    let title = format!("{}: ublk on {} kernels", matrix.status.as_str(), matrix.columns.len());
    let sections = [
        ("red", "Red", reds(matrix)),
        ("kernels", "Kernels", kernels(matrix)),
        ("families", "Families and modes", families(matrix)),
        ("changes", "What changed", kernels_changes::section(matrix, changes)),
        ("known-bugs", "Known bugs", known(matrix, docs)),
        ("not-supported", "Not supported", not_supported(matrix)),
        ("scenarios", "Scenarios", scenarios(matrix)),
    ];
    let there = || sections.iter().filter(|(_, _, markup)| !markup.0.is_empty());
    let body = html! {
        a .skip-link href="#main" { "To the matrix" }
        header .top {
            p .eyebrow { "ublk, proven" }
            h1 class=(badge::status_tone(matrix.status)) {
                (badge::status_shape(matrix.status)) (badge::status_word(matrix.status))
            }
            p .reason { (line(&matrix.status_reason)) }
            p .meta { (line(&crate::matrix::provenance(matrix))) }
            (counts(matrix))
            nav aria-label="Sections" {
                ul { @for (id, name, _) in there() { li { a href={ "#" (id) } { (name) } } } }
            }
        }
        main #main { @for (_, _, markup) in there() { (markup) } }
        footer { p { "Made from report.json by " code { "cargo xtask report matrix" } "; nothing on this page decides a verdict." } }
    };
    page::whole(&title, &body)
}

/// The verdict whose shape and colour a cell has.
pub(super) fn shown(cell: &Cell) -> Markup {
    let verdict = match cell {
        Cell::Pass => Verdict::Pass,
        Cell::Fail { .. } => Verdict::Fail,
        Cell::KnownBug { .. } => Verdict::KnownBug,
        Cell::NotSupported { .. } => Verdict::Skip,
        Cell::NotRun => Verdict::NotRun,
        Cell::Error { .. } => Verdict::Error,
    };
    badge::worded(verdict, cell.word())
}

fn counts(matrix: &Matrix) -> Markup {
    let all = Tally::of(matrix.rows.iter().flat_map(|row| &row.cells));
    let counts = [
        ("pass", all.pass, "good"),
        ("fail", all.fail, "bad"),
        ("error", all.error, "bad"),
        ("known bug", all.known_bug, "odd"),
        ("not supported", all.not_supported, ""),
        ("not run", all.not_run, ""),
    ];
    html! {
        dl .counts { @for (name, count, tone) in counts {
            div class=(if count == 0 { "zero" } else { tone }) {
                dt { (name) } dd { (units::count(u64::from(count))) }
            }
        } }
    }
}

fn reds(matrix: &Matrix) -> Markup {
    let reds: Vec<Finding<'_>> =
        ["fail", "error"].iter().flat_map(|word| findings(matrix, word)).collect();
    let broken = || matrix.columns.iter().filter_map(|c| Some((c, c.error.as_ref()?)));
    if reds.is_empty() && matrix.errors.is_empty() && broken().next().is_none() {
        return html! {};
    }
    html! {
        section #red aria-labelledby="red-title" {
            h2 #red-title { "Red" span .tally { (units::count(reds.len() as u64)) } }
            @for error in &matrix.errors { p .bad { (line(error)) } }
            @for (column, error) in broken() {
                div .card { h3 { (line(&column.kernel)) } p .plain { (line(error)) } }
            }
            @for found in &reds { (card(matrix, found)) }
        }
    }
}

fn card(matrix: &Matrix, found: &Finding<'_>) -> Markup {
    let row = &matrix.rows[found.row];
    html! {
        div .card.red {
            header { (shown(found.cell)) span .where { (line(&matrix.names(&found.columns))) } }
            h3 { (row.scenario) }
            p .plain { (line(&found.cell.told())) }
            figure {
                figcaption { "Run it again" }
                pre tabindex="0" data-copy { (line(&matrix.reproducer(row, &found.columns))) }
            }
        }
    }
}

fn kernels(matrix: &Matrix) -> Markup {
    let (facts, everywhere) = facts(matrix);
    html! {
        section #kernels aria-labelledby="kernels-title" {
            h2 #kernels-title { "Kernels" }
            div .scroll tabindex="0" role="region" aria-labelledby="kernels-title" {
                table .kernels {
                    (head(matrix, &["What it can do"]))
                    tbody { @for Fact { name, answers } in &facts {
                        tr { th scope="row" { (line(name)) } @for answer in answers { td { (line(answer)) } } }
                    } }
                }
            }
            @if !everywhere.is_empty() {
                p .meta { "On every one of them: " (line(&everywhere.join(", "))) }
            }
        }
    }
}

fn head(matrix: &Matrix, left: &[&str]) -> Markup {
    html! {
        thead { tr {
            @for name in left { th scope="col" { (name) } }
            (kernel_names(matrix))
        } }
    }
}

fn kernel_names(matrix: &Matrix) -> Markup {
    html! { @for column in &matrix.columns {
        th scope="col" title=[column.release.as_deref()] { (line(&column.kernel)) }
    } }
}

fn families(matrix: &Matrix) -> Markup {
    html! {
        section #families aria-labelledby="families-title" {
            h2 #families-title { "Families and data modes" }
            div .scroll tabindex="0" role="region" aria-labelledby="families-title" {
                table .families {
                    (head(matrix, &["Family", "Mode"]))
                    tbody { @for Group { family, mode, tallies, .. } in groups(matrix) {
                        tr {
                            th scope="row" { (line(family)) } td { (mode) }
                            @for tally in &tallies { td { (counted(*tally)) } }
                        }
                    } }
                }
            }
        }
    }
}

fn counted(tally: Tally) -> Markup {
    let tone = |word: &str| match word {
        "fail" | "error" => "bad",
        "known-bug" => "odd",
        "pass" => "good",
        _ => "dim",
    };
    html! { @for (number, (word, count)) in tally.parts().into_iter().enumerate() {
        @if number > 0 { ", " }
        span class=(tone(word)) { (count) " " (word.replace('-', "\u{a0}")) }
    } }
}

fn known(matrix: &Matrix, docs: Option<&str>) -> Markup {
    let found = findings(matrix, "known-bug");
    if found.is_empty() {
        return html! {};
    }
    html! {
        section #known-bugs aria-labelledby="known-title" {
            h2 #known-title { "Known bugs" span .tally { (units::count(found.len() as u64)) } }
            div .list { @for one in &found {
                div .item {
                    h3 { code { (matrix.rows[one.row].scenario) } " " span .dim { (line(&matrix.names(&one.columns))) } }
                    p { (linked(&one.cell.told(), docs)) }
                }
            } }
        }
    }
}

fn linked(reference: &str, docs: Option<&str>) -> Markup {
    let page = reference.split(',').next().unwrap_or(reference);
    match docs.filter(|_| page.starts_with("docs/")) {
        Some(docs) => html! { a href={ (docs) (page) } { (line(reference)) } },
        None => html! { (line(reference)) },
    }
}

fn not_supported(matrix: &Matrix) -> Markup {
    let found = findings(matrix, "not-supported");
    if found.is_empty() {
        return html! {};
    }
    html! {
        section #not-supported aria-labelledby="not-supported-title" {
            h2 #not-supported-title { "Not supported, by probe" span .tally { (units::count(found.len() as u64)) } }
            div .list { @for one in &found {
                div .item {
                    h3 { code { (matrix.rows[one.row].scenario) } " " span .dim { (line(&matrix.names(&one.columns))) } }
                    p .dim { (line(&one.cell.told())) }
                }
            } }
        }
    }
}

fn scenarios(matrix: &Matrix) -> Markup {
    let there = Cell::WORDS
        .into_iter()
        .filter(|word| matrix.rows.iter().any(|row| row.cells.iter().any(|c| c.word() == *word)));
    let mut families: Vec<&str> = Vec::new();
    for row in &matrix.rows {
        if !families.contains(&row.family()) {
            families.push(row.family());
        }
    }
    html! {
        section #scenarios aria-labelledby="scenarios-title" {
            h2 #scenarios-title { "Scenarios" span .tally { (units::count(matrix.rows.len() as u64)) } }
            form #filter .controls hidden {
                label { span { "Find" } input #filter-text type="search" placeholder="startup, user-copy \u{2026}" autocomplete="off"; }
                label { span { "Cell" }
                    select #filter-verdict {
                        option value="" { "all" }
                        @for word in there { option value=(word) { (word) } }
                    }
                }
                output #filter-count for="filter-text filter-verdict" { (units::count(matrix.rows.len() as u64)) " shown" }
            }
            div .scroll tabindex="0" role="region" aria-labelledby="scenarios-title" {
                table .matrix.several {
                    thead { tr {
                        th scope="col" data-sort="id" { "Scenario" } th scope="col" { "Mode" }
                        (kernel_names(matrix))
                    } }
                    @for family in families { tbody {
                        tr .group { th scope="rowgroup" colspan=(matrix.columns.len() + 2) { (line(family)) } }
                        @for row in matrix.rows.iter().filter(|row| row.family() == family) { (table_row(row)) }
                    } }
                }
            }
        }
    }
}

fn table_row(row: &Row) -> Markup {
    let words = Cell::WORDS.into_iter().filter(|w| row.cells.iter().any(|c| c.word() == *w));
    html! {
        tr data-scenario=(row.scenario) data-verdicts=(words.collect::<Vec<_>>().join(" ")) {
            th scope="row" { code .id { (line(&row.scenario)) } }
            td .dim { (row.mode()) }
            @for cell in &row.cells {
                @let told = Some(line(&cell.told())).filter(|told| !told.is_empty());
                td title=[told] { (shown(cell)) }
            }
        }
    }
}
