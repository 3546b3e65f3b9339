//! The command line of `runner --here`.

use std::path::PathBuf;

use super::refusal::Refusal;

pub(super) const HELP: &str = "\
runner --here: runs the suite on this machine, without a virtual one. It needs root and ublk_drv.

It adds, stops and deletes ublk devices, kills servers of its own, and sends the driver commands that it has to refuse.
Scenarios that may cost the kernel, or that touch what others see, are left out. Devices of others are not touched: where
there is one, nothing is run.

Usage: runner --here --allow-device-creation [OPTIONS]

  --allow-device-creation  Yes, on this machine. Without it nothing is done
  --filter TEXT            Only scenarios whose id holds this text, or matches it as a pattern with `*`. Repeatable
  --seed N                 Seed of every random choice, as 7 or 0x7; printed in each report
  --list                   Lists the scenarios and why some are left out, and runs nothing
  --output DIR             Folder for the reports; default artifacts/run-TIME in this folder
  --json                   Prints the result as JSON on standard output instead of the table
  --slow N                 Gives everything N times as long, on a slow machine [1 to 20]
  -h, --help               Prints this

The environment variable UBLK_PROGRAM names the server; else it is `ublk` beside this program.
Exit codes: 0 passed, 1 failed, 2 usage, 3 infrastructure, 4 invalid run, 5 nothing ran, 130 interrupted.
";

/// Times everything may be given more of.
const SLOW_MAX: u32 = 20;

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) allowed: bool,
    pub(super) filters: Vec<String>,
    pub(super) seed: Option<u64>,
    pub(super) list: bool,
    pub(super) output: Option<PathBuf>,
    pub(super) json: bool,
    pub(super) slow: u32,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Help,
    Run(Options),
}

pub(super) fn parse(arguments: &[String]) -> Result<Wish, Refusal> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let mut parser = lexopt::Parser::from_args(arguments);
    let mut here = false;
    let mut options = Options {
        allowed: false,
        filters: Vec::new(),
        seed: None,
        list: false,
        output: None,
        json: false,
        slow: 1,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Wish::Help),
            Long("here") => here = true,
            Long("allow-device-creation") => options.allowed = true,
            Long("filter") => options.filters.push(parser.value()?.string()?),
            Long("seed") => options.seed = Some(parser.value()?.parse_with(seed)?),
            Long("list") => options.list = true,
            Long("output") => options.output = Some(parser.value()?.into()),
            Long("json") => options.json = true,
            Long("slow") => options.slow = parser.value()?.parse_with(slow)?,
            other => return Err(other.unexpected().into()),
        }
    }
    if here { Ok(Wish::Run(options)) } else { Err(Refusal::NotHere) }
}

fn seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn slow(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=SLOW_MAX).contains(number));
    number.ok_or_else(|| format!("it is a number from 1 to {SLOW_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wish, Refusal> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_is_allowed_that_was_not() {
        let Ok(Wish::Run(options)) = parsed("--here --filter a --filter b/* --seed 0x10") else {
            panic!("not understood");
        };
        assert!(!options.allowed && !options.list && !options.json);
        assert_eq!((options.filters.len(), options.seed, options.slow), (2, Some(16), 1));
        let Ok(Wish::Run(options)) = parsed("--allow-device-creation --here --slow 3") else {
            panic!("not understood");
        };
        assert!(options.allowed && options.slow == 3);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in
            ["", "--allow-device-creation", "--here now", "--here --seed x", "--here --slow 0"]
        {
            let refusal = parsed(line).unwrap_err();
            assert_eq!(refusal.code(), reports::ExitCode::Usage, "{line}");
        }
        assert_eq!(parsed("--help"), Ok(Wish::Help));
    }

    #[test]
    fn every_option_is_in_the_help() {
        for option in [
            "--allow-device-creation",
            "--filter",
            "--seed",
            "--list",
            "--output",
            "--json",
            "--slow",
        ] {
            assert!(HELP.contains(option), "{option}");
        }
    }
}
