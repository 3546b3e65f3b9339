//! The language in which rules are written: `op=read,sectors=100-200,probability=0.1,error=EIO`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::rule::{DELAY_MAX, Fault, FaultRule};
use crate::uapi::{Op, SECTOR_BYTES};

/// Why a text is no rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultRuleError {
    /// Neither a condition nor a fault.
    #[error(
        "{word:?} is not part of a rule, write op, sectors, probability, seed, after or times, and one of \
         delay, error, short, flip, flip-metadata, never, reorder or die"
    )]
    Word {
        /// The part between two commas.
        word: String,
    },
    /// A value that its key cannot have.
    #[error("{value:?} is no value of {key}, write {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// The rule says twice, or not at all, what goes wrong.
    #[error(
        "a rule has exactly one of delay, error, short, flip, flip-metadata, never, reorder and die, this one {faults}"
    )]
    Faults {
        /// How many it has.
        faults: usize,
    },
}

impl FromStr for FaultRule {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<Self, FaultRuleError> {
        let (mut rule, mut faults) = (Self::new(Fault::Never), 0);
        for word in text.split(',').map(str::trim) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            if let Some(fault) = parse_fault(key, value)? {
                rule.fault = fault;
                faults += 1;
                continue;
            }
            match key {
                "op" => rule.ops = parse_ops(value)?,
                "sectors" => rule.sectors = Some(parse_sectors(value)?),
                "probability" => {
                    let wanted = "a number from 0 to 1";
                    let legal = |p: &f64| (0.0..=1.0).contains(p);
                    rule.probability = parse("probability", value, wanted, legal)?;
                }
                "seed" => rule.seed = parse("seed", value, "a whole number", |_| true)?,
                "after" => rule.after = parse("after", value, "a whole number", |_| true)?,
                "times" => rule.times = parse("times", value, "a whole number", |_| true)?,
                _ => return Err(FaultRuleError::Word { word: word.into() }),
            }
        }
        if faults == 1 { Ok(rule) } else { Err(FaultRuleError::Faults { faults }) }
    }
}

fn wrong(key: &'static str, value: &str, wanted: &'static str) -> FaultRuleError {
    FaultRuleError::Value { key, value: value.into(), wanted }
}

fn parse<N: FromStr>(
    key: &'static str,
    value: &str,
    wanted: &'static str,
    legal: impl Fn(&N) -> bool,
) -> Result<N, FaultRuleError> {
    value.parse().ok().filter(legal).ok_or_else(|| wrong(key, value, wanted))
}

fn parse_fault(key: &str, value: &str) -> Result<Option<Fault>, FaultRuleError> {
    let bare = match key {
        "delay" => return parse_delay(value).map(Fault::Delay).map(Some),
        "error" => return parse_errno(value).map(Fault::Error).map(Some),
        "short" => {
            let wanted = "bytes, a multiple of 512 and not 0";
            let legal = |bytes: &u32| *bytes > 0 && bytes.is_multiple_of(SECTOR_BYTES as u32);
            return parse("short", value, wanted, legal).map(Fault::Short).map(Some);
        }
        "flip" => Fault::Flip,
        "flip-metadata" => Fault::FlipMetadata,
        "never" => Fault::Never,
        "reorder" => Fault::Reorder,
        "die" => Fault::Die,
        _ => return Ok(None),
    };
    if value.is_empty() { Ok(Some(bare)) } else { Err(wrong("a fault without one", value, "none")) }
}

fn parse_delay(value: &str) -> Result<Duration, FaultRuleError> {
    let wanted = "a time up to 60s, as 20ms or 1.5s";
    let (number, unit) = match value.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (value.strip_suffix('s').unwrap_or("no unit"), 1.0),
    };
    let legal = |number: &f64| (0.0..=DELAY_MAX.as_secs_f64()).contains(&(number * unit));
    let number: f64 =
        parse("delay", number, wanted, legal).map_err(|_| wrong("delay", value, wanted))?;
    Ok(Duration::from_secs_f64(number * unit))
}

fn parse_errno(value: &str) -> Result<i32, FaultRuleError> {
    let known = |number: &i32| Errno::from_raw(*number) != Errno::UnknownErrno;
    let by_name = || (1..=133).find(|number| format!("{:?}", Errno::from_raw(*number)) == value);
    value
        .parse()
        .ok()
        .filter(known)
        .or_else(by_name)
        .ok_or_else(|| wrong("error", value, "the name or the number of an errno, as EIO or 5"))
}

fn parse_ops(value: &str) -> Result<Vec<Op>, FaultRuleError> {
    let wanted = "operations joined by +, as read+write, flush, discard, write-zeroes, zone-append";
    if value == "any" {
        return Ok(Vec::new());
    }
    let find = |name: &str| Op::ALL.iter().copied().find(|op| name_of(*op) == name);
    value.split('+').map(|name| find(name).ok_or_else(|| wrong("op", value, wanted))).collect()
}

/// An operation's name in the language: `WRITE_ZEROES` is `write-zeroes`.
fn name_of(op: Op) -> String {
    op.name().to_ascii_lowercase().replace('_', "-")
}

fn parse_sectors(value: &str) -> Result<RangeInclusive<u64>, FaultRuleError> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(wrong("sectors", value, "the first and the last sector of 512 bytes, as 100-200")),
    }
}

/// In the language, so that what is shown can be given again.
impl fmt::Display for FaultRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.ops.is_empty() {
            let names: Vec<String> = self.ops.iter().map(|op| name_of(*op)).collect();
            write!(out, "op={},", names.join("+"))?;
        }
        if let Some(sectors) = &self.sectors {
            write!(out, "sectors={}-{},", sectors.start(), sectors.end())?;
        }
        if self.probability < 1.0 {
            write!(out, "probability={},", self.probability)?;
        }
        for (key, value, usual) in
            [("seed", self.seed, 0), ("after", self.after, 0), ("times", self.times, u64::MAX)]
        {
            if value != usual {
                write!(out, "{key}={value},")?;
            }
        }
        match self.fault {
            Fault::Delay(time) => write!(out, "delay={}ms", time.as_secs_f64() * 1000.0),
            Fault::Error(errno) => write!(out, "error={:?}", Errno::from_raw(errno)),
            Fault::Short(bytes) => write!(out, "short={bytes}"),
            Fault::Flip => out.write_str("flip"),
            Fault::FlipMetadata => out.write_str("flip-metadata"),
            Fault::Never => out.write_str("never"),
            Fault::Reorder => out.write_str("reorder"),
            Fault::Die => out.write_str("die"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("op=read,sectors=100-200,probability=0.1,error=EIO")]
    #[case("op=read+write-zeroes,seed=7,after=3,times=1,delay=20ms")]
    #[case("short=4096")]
    #[case("op=flush,never")]
    #[case("sectors=0-0,flip")]
    #[case("op=read,flip-metadata")]
    #[case("reorder")]
    #[case("op=zone-append,die")]
    fn a_rule_is_shown_as_it_is_written(#[case] text: &str) {
        assert_eq!(text.parse::<FaultRule>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case("error=5", "error=EIO")]
    #[case("delay=1.5s", "delay=1500ms")]
    #[case(" op=any , sectors=9 , flip ", "sectors=9-9,flip")]
    fn some_rules_can_be_written_in_two_ways(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<FaultRule>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("", "is not part of a rule")]
    #[case("op=read", "this one 0")]
    #[case("flip,never", "this one 2")]
    #[case("op=reed,flip", "no value of op")]
    #[case("op=,flip", "no value of op")]
    #[case("sectors=5-4,flip", "no value of sectors")]
    #[case("sectors=a,flip", "no value of sectors")]
    #[case("probability=1.5,flip", "no value of probability")]
    #[case("probability=nan,flip", "no value of probability")]
    #[case("error=EWHAT", "name or the number")]
    #[case("error=0", "name or the number")]
    #[case("error=-5", "name or the number")]
    #[case("delay=61s", "up to 60s")]
    #[case("delay=5", "up to 60s")]
    #[case("delay=-1s", "up to 60s")]
    #[case("short=100", "multiple of 512")]
    #[case("short=0", "multiple of 512")]
    #[case("flip=3", "write none")]
    #[case("colour=red,flip", "is not part of a rule")]
    fn what_is_no_rule_is_refused_with_the_reason(#[case] text: &str, #[case] told: &str) {
        let error = text.parse::<FaultRule>().unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
