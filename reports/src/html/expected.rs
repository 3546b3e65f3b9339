//! Takes a verdict's sentence apart into what was expected and what was observed.
//!
//! Scenarios word a failure in one of few ways (`Context::check` and its relatives). A sentence of another
//! kind is shown whole: better one honest line than two invented ones.

use crate::plan::Expectation;
use crate::report::{Cause, ScenarioReport, Verdict};

/// What had to be, and what was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contrast {
    pub(super) subject: Option<String>,
    pub(super) expected: String,
    pub(super) observed: String,
}

/// The two sides of the verdict on `scenario`.
pub(super) fn of(scenario: &ScenarioReport) -> Contrast {
    let whole = |expected: &str| Contrast {
        subject: None,
        expected: expected.to_owned(),
        observed: scenario.message.clone(),
    };
    match &scenario.expect {
        Expectation::Canary { canary } => {
            let name = serde_json::to_value(canary).ok();
            let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or("canary");
            whole(&format!("the harness notices the {name} that is made on purpose"))
        }
        Expectation::KnownBug { reference } if scenario.verdict == Verdict::Error => {
            whole(&format!("to fail, because of {reference}"))
        }
        _ => match scenario.cause {
            Some(Cause::Property) => property(&scenario.message)
                .unwrap_or_else(|| whole("every check of the scenario holds")),
            Some(Cause::NotReported) => whole("to be started by a boot and to report its end"),
            Some(Cause::Health) => whole("a healthy kernel after it"),
            Some(Cause::Hang) => {
                whole(&format!("to end within {}", super::units::duration_ms(scenario.budget_ms)))
            }
            Some(Cause::Crash | Cause::Lost | Cause::Died) => whole("to report its end"),
            _ => whole("to pass"),
        },
    }
}

/// `what: expected a, observed b`, and `does not hold: what`.
fn property(message: &str) -> Option<Contrast> {
    if let Some(property) = message.strip_prefix("does not hold: ") {
        let observed = "it does not hold".to_owned();
        return Some(Contrast { subject: None, expected: property.to_owned(), observed });
    }
    let (subject, rest) = message.split_once(": expected ")?;
    let (expected, observed) = rest.split_once(", observed ")?;
    Some(Contrast {
        subject: Some(subject.to_owned()),
        expected: expected.to_owned(),
        observed: observed.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(message: &str) -> Option<(Option<String>, String, String)> {
        property(message).map(|c| (c.subject, c.expected, c.observed))
    }

    #[test]
    fn the_usual_sentences_are_taken_apart() {
        let text = "GET_DEV_INFO of a deleted device: expected -19 (ENODEV), observed 0";
        let (subject, expected, observed) = sides(text).unwrap();
        assert_eq!(subject.as_deref(), Some("GET_DEV_INFO of a deleted device"));
        assert_eq!((expected.as_str(), observed.as_str()), ("-19 (ENODEV)", "0"));
        let (_, expected, observed) = sides("does not hold: 512 bytes are on the disk").unwrap();
        assert_eq!(expected, "512 bytes are on the disk");
        assert_eq!(observed, "it does not hold");
    }

    #[test]
    fn any_other_sentence_stays_whole() {
        assert_eq!(sides("cannot register the shared memory"), None);
        assert_eq!(sides("x: expected something else"), None);
    }
}
