//! What all tables of a measurement share: a frame that scrolls by itself, a head, a fold.

use maud::{Markup, html};

use crate::perf::{Role, SubjectResult};

use super::super::clean::line;

/// A table that scrolls sideways where the page is too narrow for it; `name` says what it is to who cannot see.
pub(super) fn table(name: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label=(name) {
            table .grid {
                thead { (head) }
                tbody { (body) }
            }
        }
    }
}

/// What is looked at when asked for: a summary with its explanation, closed.
pub(super) fn folded(title: &str, explained: &str, inside: &Markup) -> Markup {
    html! {
        details .text {
            summary { (title) @if !explained.is_empty() { " " span .dim { (explained) } } }
            (inside)
        }
    }
}

/// A head of words to the left and numbers to the right.
pub(super) fn head(words: &[&str], numbers: impl IntoIterator<Item = String>) -> Markup {
    html! {
        tr {
            @for word in words { th scope="col" { (word) } }
            @for number in numbers { th .n scope="col" { (number) } }
        }
    }
}

/// A number that is there, or a dash.
pub(super) fn number(text: Option<String>) -> Markup {
    html! { td .n { @match text { Some(text) => (text), None => span .dim { "\u{2013}" } } } }
}

/// Name and mode, the head of a row.
pub(super) fn server(subject: &SubjectResult) -> Markup {
    let limit = subject.role == Role::Limit && !subject.mode.contains("no server");
    html! {
        th scope="row" { (line(&subject.name)) @if limit { span .dim { " (no server)" } } }
        td { (line(&subject.mode)) }
    }
}
