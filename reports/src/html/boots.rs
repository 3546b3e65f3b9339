//! The machines that were started, and how each ended: where a lost scenario is looked for.

use maud::{Markup, html};

use crate::event::BootEnd;
use crate::report::BootReport;

use super::clean::{Room, line};
use super::columns::Column;
use super::{evidence, units};

/// Every boot of every kernel.
pub(super) fn section(room: &Room, columns: &[Column<'_>]) -> Markup {
    let total: usize = columns.iter().map(|column| column.kernel.boots.len()).sum();
    if total == 0 {
        return html! {};
    }
    html! {
        section #boots aria-labelledby="boots-title" {
            h2 #boots-title { "Boots" span .tally { (units::count(total as u64)) } }
            div .scroll tabindex="0" role="region" aria-labelledby="boots-title" {
                table .boots {
                    thead { tr {
                        th scope="col" { "Kernel" } th .n scope="col" { "Boot" } th .n scope="col" { "Ready after" }
                        th .n scope="col" { "Took" } th .n scope="col" { "Reported" } th scope="col" { "End" }
                    } }
                    tbody { @for column in columns { @for boot in &column.kernel.boots {
                        tr {
                            th scope="row" { (line(&column.label)) }
                            td .n { (boot.boot) }
                            td .n { (time(boot.ready_after_ms)) }
                            td .n { (time(boot.duration_ms)) }
                            td .n { (boot.reported) " of " (boot.planned) }
                            td .end { (end(boot)) (notes(boot)) }
                        }
                    } } }
                }
            }
            (consoles(room, columns))
        }
    }
}

fn time(ms: Option<u64>) -> String {
    ms.map_or_else(|| "\u{2013}".to_owned(), units::duration_ms)
}

fn end(boot: &BootReport) -> String {
    match &boot.end {
        None => "not recorded".to_owned(),
        Some(BootEnd::Exited { status }) => line(status),
        Some(BootEnd::Deadline { which }) => format!("ended at the deadline: {}", line(which)),
        Some(BootEnd::Interrupted) => "interrupted".to_owned(),
        Some(BootEnd::Infrastructure { reason }) => line(reason),
    }
}

fn notes(boot: &BootReport) -> Markup {
    html! {
        @if boot.console_splat { "; " span .warned { "a crash is on the console" } }
        @if boot.stopped_early { "; stopped before the plan's end" }
        @if boot.retried { "; repeated, it never got ready" }
        @for note in &boot.notes { "; " (line(note)) }
    }
}

/// Below the table and not in it: a console is wider than any cell.
fn consoles(room: &Room, columns: &[Column<'_>]) -> Markup {
    html! {
        @for column in columns { @for boot in &column.kernel.boots {
            @if let Some(console) = &boot.console {
                (evidence::folded(room, &format!("Console of {}, boot {}", column.label, boot.boot), console, 0))
            }
        } }
    }
}
