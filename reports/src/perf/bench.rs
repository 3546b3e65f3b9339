//! Estimates of criterion benches, read from what a bench prints in criterion's `bencher` format: its JSON
//! files are its own and change without notice, these lines are what other tools read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a bench ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BenchPlace {
    /// In the machine, by its clock: under the instruction clock a nanosecond is an instruction.
    Guest,
    /// On the host, by the wall clock.
    Host,
}

/// The estimate of one bench.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchResult {
    /// Its name, as `tag/complete-and-commit`.
    pub name: String,
    /// Where it ran.
    pub place: BenchPlace,
    /// Nanoseconds an iteration, to the grain of the format.
    pub ns_per_iteration: u64,
    /// Criterion's deviation of it.
    pub deviation_ns: u64,
}

impl BenchResult {
    /// Every estimate in a bench's output.
    ///
    /// # Errors
    /// A line that begins as an estimate and is none, or an output without any.
    pub fn parse(output: &str, place: BenchPlace) -> Result<Vec<Self>, String> {
        let lines = output.lines().filter_map(|line| line.strip_prefix("test "));
        let found: Vec<Self> = lines
            .map(|line| {
                Self::line(line, place).ok_or_else(|| format!("`test {line}` is no estimate"))
            })
            .collect::<Result<_, _>>()?;
        if found.is_empty() {
            return Err("the bench printed no estimate".into());
        }
        Ok(found)
    }

    /// `NAME ... bench:  1,234 ns/iter (+/- 56)`, behind `test `.
    fn line(line: &str, place: BenchPlace) -> Option<Self> {
        let (name, rest) = line.split_once(" ... bench:")?;
        let (value, rest) = rest.split_once(" ns/iter (+/- ")?;
        let (deviation, _) = rest.split_once(')')?;
        let number = |text: &str| text.trim().replace(',', "").parse::<u64>().ok();
        Some(Self {
            name: name.trim().to_owned(),
            place,
            ns_per_iteration: number(value)?,
            deviation_ns: number(deviation)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_read_and_anything_else_is_an_error() {
        let output = "running\n\ntest tag/turn ... bench:       1,203 ns/iter (+/- 17)\n\n\
            test ctrl/get-features ... bench:        9 ns/iter (+/- 0)\n";
        let found = BenchResult::parse(output, BenchPlace::Guest).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].ns_per_iteration), ("tag/turn", 1203));
        assert_eq!((found[1].deviation_ns, found.len()), (0, 2));
        assert!(BenchResult::parse("", BenchPlace::Host).is_err());
        assert!(BenchResult::parse("test x ... bench: soon", BenchPlace::Host).is_err());
    }
}
