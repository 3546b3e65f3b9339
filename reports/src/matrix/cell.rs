//! One scenario on one kernel, in the words that a reader of a matrix asks in: does it hold there, and if not, whose
//! fault is it?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::{Cause, ScenarioReport, Verdict};
use crate::text;

use super::paths::hidden;

/// Bytes of a message that are kept; the report has the whole.
const MESSAGE_BYTES_MAX: usize = 300;

/// What came out of one scenario on one kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// It held; of a canary, the harness caught the disaster.
    Pass,
    /// The kernel or the server did something wrong.
    Fail {
        /// Why, as in the report.
        cause: Option<Cause>,
        /// One line: what was expected and observed.
        message: String,
    },
    /// It failed, as is known of this kernel.
    KnownBug {
        /// Page where the bug is written down, from the workspace's root, and maybe a place in it after a comma.
        reference: String,
    },
    /// A probe said that this kernel cannot do it.
    NotSupported {
        /// What was asked.
        probe: String,
        /// What the answer was.
        answer: String,
    },
    /// The run was interrupted before, or did not have it in its plan.
    NotRun,
    /// Nothing can be said: its machine did not come up or was lost, or the harness missed its own canary.
    Error {
        /// Why, as in the report.
        cause: Option<Cause>,
        /// One line.
        message: String,
    },
}

impl Cell {
    /// The words of all cells, loudest first.
    pub const WORDS: [&'static str; 6] =
        ["fail", "error", "known-bug", "not-supported", "not-run", "pass"];

    /// What a report says of one scenario.
    #[must_use]
    pub fn of(scenario: &ScenarioReport) -> Self {
        let message = || one_line(&scenario.message);
        match scenario.verdict {
            Verdict::Pass | Verdict::Caught => Self::Pass,
            Verdict::Fail => Self::Fail { cause: scenario.cause, message: message() },
            Verdict::Error | Verdict::Missed => {
                let message = one_line(&hidden(&scenario.message));
                Self::Error { cause: scenario.cause, message }
            }
            Verdict::KnownBug => Self::KnownBug { reference: known(scenario) },
            Verdict::NotRun => Self::NotRun,
            Verdict::Skip => match &scenario.skip {
                Some(skip) => Self::NotSupported {
                    probe: one_line(&skip.probe),
                    answer: one_line(&skip.reason),
                },
                // A skip without a probe is nobody's answer.
                None => Self::Error { cause: scenario.cause, message: message() },
            },
        }
    }

    /// The word of this cell, as in [`Self::WORDS`].
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail { .. } => "fail",
            Self::KnownBug { .. } => "known-bug",
            Self::NotSupported { .. } => "not-supported",
            Self::NotRun => "not-run",
            Self::Error { .. } => "error",
        }
    }

    /// Whether somebody has to look at it.
    #[must_use]
    pub const fn is_red(&self) -> bool {
        matches!(self, Self::Fail { .. } | Self::Error { .. })
    }

    /// 0 for what holds, 2 for what is red, 1 for all between.
    #[must_use]
    pub const fn level(&self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::KnownBug { .. } | Self::NotSupported { .. } | Self::NotRun => 1,
            Self::Fail { .. } | Self::Error { .. } => 2,
        }
    }

    /// Whether `other` says the same. Messages have numbers and times in them that differ in every run.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fail { cause, .. }, Self::Fail { cause: other, .. })
            | (Self::Error { cause, .. }, Self::Error { cause: other, .. }) => cause == other,
            (Self::NotSupported { probe, .. }, Self::NotSupported { probe: other, .. }) => {
                probe == other
            }
            _ => self == other,
        }
    }

    /// What is behind the word, in a line; nothing where the word says it all.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Pass | Self::NotRun => String::new(),
            Self::Fail { cause, message } | Self::Error { cause, message } => match cause {
                Some(cause) => format!("{}: {message}", cause.as_str()),
                None => message.clone(),
            },
            Self::KnownBug { reference } => reference.clone(),
            Self::NotSupported { probe, answer } => format!("{probe}: {answer}"),
        }
    }
}

/// The page of a known bug, without the rest of what a report says about it.
fn known(scenario: &ScenarioReport) -> String {
    match &scenario.expect {
        crate::plan::Expectation::KnownBug { reference } => reference.clone(),
        // The fold makes the verdict of this expectation alone.
        _ => one_line(&scenario.message),
    }
}

/// `message` on one line, and not longer than one.
pub(super) fn one_line(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let short = text::head(&words, MESSAGE_BYTES_MAX);
    if short.len() < words.len() { format!("{short}\u{2026}") } else { words }
}
