//! What is otherwise than in the matrix before, on the page of the matrix.

use maud::{Markup, html};

use crate::matrix::{Changes, Direction, Matrix, kernel_changed, listed};

use super::clean::line;
use super::{kernels, units};

/// The section; nothing where there is no matrix to compare with.
pub(super) fn section(matrix: &Matrix, changes: Option<&Changes<'_>>) -> Markup {
    let Some(changes) = changes else { return html! {} };
    let commit = changes.since.commit.as_deref().map(units::short_hash);
    html! {
        section #changes aria-labelledby="changes-title" {
            h2 #changes-title { "What changed" span .tally { (units::count(changes.cells.len() as u64)) } }
            p .meta {
                "Since the matrix of " (units::moment(changes.since.started_at_unix_ms))
                @if let Some(commit) = &commit { ", commit " code { (commit) } }
            }
            @if changes.is_empty() { p { "Nothing." } }
            (names("New kernels", &changes.new_kernels))
            (names("Kernels that are gone", &changes.gone_kernels))
            (names("New scenarios", &changes.new_scenarios))
            (names("Scenarios that are gone", &changes.gone_scenarios))
            @for change in &changes.kernels { p { (line(&kernel_changed(change))) } }
            @if !changes.cells.is_empty() { (cells(matrix, changes)) }
        }
    }
}

fn names(what: &str, names: &[&str]) -> Markup {
    html! { @if !names.is_empty() { p { (what) ": " (line(&listed(names))) } } }
}

fn cells(matrix: &Matrix, changes: &Changes<'_>) -> Markup {
    let tone = |direction| match direction {
        Direction::Worse => "bad",
        Direction::Otherwise => "dim",
        Direction::Better => "good",
    };
    html! {
        div .scroll tabindex="0" role="region" aria-labelledby="changes-title" {
            table {
                thead { tr {
                    th scope="col" { "Scenario" } th scope="col" { "Kernel" } th scope="col" { "Way" }
                    th scope="col" { "Before" } th scope="col" { "Now" }
                } }
                tbody { @for change in &changes.cells {
                    tr {
                        th scope="row" { code .id { (line(change.scenario)) } }
                        td { (line(&matrix.names(&[change.column]))) }
                        td class=(tone(change.direction)) { (change.direction.as_str()) }
                        td { (kernels::shown(change.from)) " " span .dim { (line(&change.from.told())) } }
                        td { (kernels::shown(change.to)) " " span .dim { (line(&change.to.told())) } }
                    }
                } }
            }
        }
    }
}
