//! A verdict as it is seen: a shape, a word and a colour, each of which says it without the others.

use maud::{Markup, html};

use crate::report::{Cause, ScenarioReport, Status, Verdict};

/// The shapes, once for the page; everything else refers to them.
pub(super) fn shapes() -> Markup {
    html! {
        svg .defs aria-hidden="true" width="0" height="0" {
            symbol #shape-good viewBox="0 0 16 16" {
                path d="M3.5 8.5l3 3 6-7" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" {}
            }
            symbol #shape-bad viewBox="0 0 16 16" {
                path d="M4 4l8 8M12 4l-8 8" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" {}
            }
            symbol #shape-odd viewBox="0 0 16 16" {
                path d="M8 3v6" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" {}
                circle cx="8" cy="12.6" r="1.3" fill="currentColor" {}
            }
            symbol #shape-skip viewBox="0 0 16 16" {
                path d="M4 8h8" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" {}
            }
            symbol #shape-caught viewBox="0 0 16 16" {
                circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="1.8" {}
                circle cx="8" cy="8" r="1.8" fill="currentColor" {}
            }
            symbol #shape-known viewBox="0 0 16 16" {
                path d="M3 9.5c2-4 4-1 5-2.5s3-3 5 0" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" {}
            }
            symbol #shape-none viewBox="0 0 16 16" {
                circle cx="8" cy="8" r="1.5" fill="currentColor" {}
            }
        }
    }
}

/// How loud a verdict or a status is; also its class.
pub(super) fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass | Verdict::Caught => "good",
        Verdict::Fail | Verdict::Error | Verdict::Missed => "bad",
        Verdict::KnownBug => "odd",
        Verdict::Skip | Verdict::NotRun => "quiet",
    }
}

fn shape(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "#shape-good",
        Verdict::Fail | Verdict::Missed => "#shape-bad",
        Verdict::Error => "#shape-odd",
        Verdict::Skip => "#shape-skip",
        Verdict::KnownBug => "#shape-known",
        Verdict::Caught => "#shape-caught",
        Verdict::NotRun => "#shape-none",
    }
}

/// Shape and word.
pub(super) fn verdict(verdict: Verdict) -> Markup {
    worded(verdict, verdict.as_str())
}

/// The shape of a verdict with another word, as a matrix of kernels has for it.
pub(super) fn worded(verdict: Verdict, word: &str) -> Markup {
    html! {
        span class={ "verdict " (tone(verdict)) } {
            svg .shape aria-hidden="true" { use href=(shape(verdict)) {} }
            (word)
        }
    }
}

/// Shape and word, with the cause where it is red.
pub(super) fn with_cause(scenario: &ScenarioReport) -> Markup {
    html! {
        (verdict(scenario.verdict))
        @if let Some(cause) = said(scenario) { " " span .cause { (cause.as_str()) } }
    }
}

/// The cause where it adds something to the verdict.
pub(super) fn said(scenario: &ScenarioReport) -> Option<Cause> {
    scenario.cause.filter(|_| scenario.verdict.is_red())
}

/// Class of a status.
pub(super) fn status_tone(status: Status) -> &'static str {
    match status {
        Status::Passed => "good",
        Status::Failed | Status::Invalid => "bad",
        Status::Interrupted | Status::NothingRan => "odd",
    }
}

/// The word of a status, as a heading begins.
pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Passed => "Passed",
        Status::Failed => "Failed",
        Status::Invalid => "Invalid",
        Status::Interrupted => "Interrupted",
        Status::NothingRan => "Nothing ran",
    }
}

/// The shape of a status alone.
pub(super) fn status_shape(status: Status) -> Markup {
    let shape = match status {
        Status::Passed => "#shape-good",
        Status::Failed | Status::Invalid => "#shape-bad",
        Status::Interrupted | Status::NothingRan => "#shape-odd",
    };
    html! { svg .shape aria-hidden="true" { use href=(shape) {} } }
}

/// Shape and word of a status.
pub(super) fn status(status: Status) -> Markup {
    html! {
        span class={ "verdict " (status_tone(status)) } { (status_shape(status)) (status.as_str()) }
    }
}
