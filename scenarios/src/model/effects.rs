//! What a step does, as far as anybody can see it: its answer, and the answers of what was held back before.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::context::errno;

/// What is expected of the step itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Answer {
    /// One of these results, at once. More than one only where the kernel may choose, for the reason given.
    Results {
        /// 0 or a negative errno each.
        allowed: Vec<i32>,
        /// Why there are several; empty for one.
        reason: String,
    },
    /// No answer now; it comes in `slot` with a later step.
    Blocks {
        /// Where.
        slot: u8,
        /// Until what.
        until: String,
    },
    /// Each FETCH_REQ's tag and result; 0 is armed, which has no completion.
    Fetched {
        /// In the order they are sent.
        results: Vec<(u8, i32)>,
    },
    /// The step has no answer of its own.
    Nothing,
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Results { allowed, reason } => {
                out.write_str(&any_of(allowed))?;
                if reason.is_empty() { Ok(()) } else { write!(out, " ({reason})") }
            }
            Self::Blocks { until, .. } => write!(out, "blocks until {until}"),
            Self::Fetched { results } => {
                for (index, (tag, result)) in results.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    match result {
                        0 => write!(out, "{comma}tag {tag} armed")?,
                        _ => write!(out, "{comma}tag {tag} {}", errno(*result))?,
                    }
                }
                Ok(())
            }
            Self::Nothing => out.write_str("nothing"),
        }
    }
}

/// Results as people read them.
#[must_use]
pub fn any_of(allowed: &[i32]) -> String {
    allowed.iter().map(|result| errno(*result)).collect::<Vec<_>>().join(" or ")
}

/// All that a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The step's own answer.
    pub answer: Answer,
    /// Commands of earlier steps that are answered now: slot and allowed results.
    pub released: Vec<(u8, Vec<i32>)>,
    /// Reads that end now: slot and allowed results.
    pub reads: Vec<(u8, Vec<i32>)>,
}

impl Default for Effects {
    fn default() -> Self {
        Self { answer: Answer::Nothing, released: Vec::new(), reads: Vec::new() }
    }
}

impl Effects {
    /// The step is answered with `result`.
    pub fn result(&mut self, result: i32) {
        self.answer = Answer::Results { allowed: vec![result], reason: String::new() };
    }

    /// The step is not answered.
    pub fn blocks(&mut self, slot: u8, until: &str) {
        self.answer = Answer::Blocks { slot, until: until.to_owned() };
    }

    /// A command that was held back in `slot` is answered; if it is the step's own, the step is.
    pub fn release(&mut self, slot: u8, result: i32) {
        if matches!(self.answer, Answer::Blocks { slot: own, .. } if own == slot) {
            self.result(result);
        } else {
            self.released.push((slot, vec![result]));
        }
    }

    /// Of a command that was released: this is right as well.
    pub fn or(&mut self, slot: u8, result: i32) {
        for (_, allowed) in self.released.iter_mut().filter(|(own, _)| *own == slot) {
            allowed.push(result);
        }
    }

    /// A read ends.
    pub fn read(&mut self, slot: u8, allowed: &[i32]) {
        self.reads.push((slot, allowed.to_vec()));
    }
}
