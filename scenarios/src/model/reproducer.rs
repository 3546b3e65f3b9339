//! A failing case as a small file: enough to run it again on any kernel, and to be read by people.

use serde::{Deserialize, Serialize};

use super::case::Difference;
use super::step::{Step, numbered};
use crate::fuzz::{self, Act};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// Steps, or a scenario and its seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reproducer {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Scenario that failed.
    pub scenario: String,
    /// Whose server it was asked of, as it was typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Kernel release it failed on.
    pub kernel: String,
    /// Seed of that run.
    pub seed: u64,
    /// How long the scenario went on, in milliseconds, where its seed and not its steps make it what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Commit of the suite, where it is known.
    pub commit: Option<String>,
    /// The steps, in their shortest form; empty where the scenario and its seed are all there is.
    pub steps: Vec<Step>,
    /// The same of the fuzzer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<Act>,
    /// Does steps that the model keeps out of, too: of a crash that is known.
    pub bold: bool,
    /// What the model says of the last one.
    pub expected: String,
    /// What the kernel did.
    pub observed: String,
    /// Title and text of the kernel's splat, where there was one.
    pub splat: Option<String>,
}

impl Reproducer {
    /// Of a difference that was found in a run.
    #[must_use]
    pub fn new(scenario: &str, kernel: String, seed: u64, difference: &Difference) -> Self {
        Self {
            format: FORMAT,
            scenario: scenario.to_owned(),
            server: None,
            kernel,
            seed,
            time_ms: None,
            commit: None,
            steps: difference.steps.clone(),
            acts: Vec::new(),
            bold: false,
            expected: difference.expected.clone(),
            observed: difference.observed.clone(),
            splat: None,
        }
    }

    /// A numbered list with its end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let server = self.server.iter().map(|server| format!(" of {server}")).collect::<String>();
        let mut text =
            format!("{}{server} on {}, seed {:#x}\n", self.scenario, self.kernel, self.seed);
        text.push_str(&numbered(&self.steps));
        text.push_str(&fuzz::numbered(&self.acts));
        for (name, what) in [("expected", &self.expected), ("observed", &self.observed)] {
            if !what.is_empty() {
                text.push_str(&format!("{name}: {what}\n"));
            }
        }
        if let Some(splat) = &self.splat {
            text.push_str(&format!("splat: {}\n", splat.lines().next().unwrap_or_default()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_scenario_and_a_seed_is_enough() {
        let text = r#"{"scenario":"data/mixed","seed":7}"#;
        let parsed: Reproducer = serde_json::from_str(text).unwrap();
        assert_eq!((parsed.scenario.as_str(), parsed.seed), ("data/mixed", 7));
        assert!(parsed.steps.is_empty());
    }
}
