//! Options of the fuzzer of the driver's model.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{MachineArgs, SourceArgs, seed};

#[derive(Clone, Debug, Args)]
pub(crate) struct FuzzArgs {
    /// How long to go on, as `90s`, `30m` or `2h`.
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(crate) time: Duration,
    /// Kernel, as for `vm-e2e`. Repeatable: they take turns.
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub(crate) kernels: Vec<String>,
    /// Seed of the first machine; those after it have seeds that follow from it.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Only these of the model's and the fuzzers' scenarios: a part of the name. Repeatable. With the model's orders alone it
    /// ends when all of them were walked.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// Turns one expectation of the model round: a proof that it is found and made short. Without a name, the errno of a second
    /// FETCH_REQ.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "fetch-again")]
    pub(crate) plant: Option<scenarios::model::Plant>,
    /// Also does what the model keeps out of because kernels die of it: finds known crashes, and makes them short.
    #[arg(long)]
    pub(crate) bold: bool,
    /// Folder of cases that showed something new: they are begun with, and new ones are added.
    #[arg(long, value_name = "DIR")]
    pub(crate) cases: Option<PathBuf>,
    /// Folder for reports and for the corpus of what was found; default `artifacts/fuzz-<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 =
        text[..text.len() - unit.len()].parse().map_err(|error| format!("{error}"))?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a time is a number with s, m or h, as 30m".to_owned()),
    };
    let seconds = number.checked_mul(unit_s).filter(|seconds| (1..=7 * 86400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "a time is 1s to 168h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["30", "m", "0s", "1d", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
