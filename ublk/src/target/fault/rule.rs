//! The rule language: `op=read,sectors=100-200,probability=0.1,error=EIO`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use crate::uapi::{Op, SECTOR_BYTES};

/// The longest delay: a rule must not look like a hang to whoever waits for a stop.
pub const DELAY_MAX: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request takes longer, and so do all behind it in its queue: its thread sleeps.
    Delay(Duration),
    /// The request fails with this errno, and the target does not see it.
    Error(i32),
    /// Fewer bytes, a multiple of 512, are done of a longer read or write. A read is then asked for the
    /// rest by the kernel where it copies, and believed whole where it does not. A short write is always
    /// believed whole: the rest of it is lost.
    Short(u32),
    /// One byte of what is read or written is inverted.
    Flip,
    /// The request is done and never answered.
    Never,
    /// The request is done, and answered only after the next one, or before the queue waits.
    Reorder,
    /// The process is killed before the request is done.
    Die,
}

impl Fault {
    /// Whether it happens before the target sees the request.
    pub(super) fn is_before(&self, op: Op) -> bool {
        match self {
            Self::Delay(_) | Self::Error(_) | Self::Flip | Self::Die => true,
            Self::Short(_) => op == Op::Write,
            Self::Never | Self::Reorder => false,
        }
    }

    /// Whether it happens to the answer.
    pub(super) fn is_after(&self, op: Op) -> bool {
        !self.is_before(op)
    }

    /// Whether it can happen to such a request.
    fn concerns(&self, op: Op, len_bytes: u64) -> bool {
        match self {
            Self::Flip => matches!(op, Op::Read | Op::Write | Op::ZoneAppend),
            Self::Short(bytes) => {
                matches!(op, Op::Read | Op::Write) && len_bytes > u64::from(*bytes)
            }
            _ => true,
        }
    }
}

/// Why a text is no rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultRuleError {
    /// Neither a condition nor a fault.
    #[error(
        "{word:?} is not part of a rule, write op, sectors, probability, seed, after or times, and one of \
         delay, error, short, flip, never, reorder or die"
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
        "a rule has exactly one of delay, error, short, flip, never, reorder and die, this one {faults}"
    )]
    Faults {
        /// How many it has.
        faults: usize,
    },
}

/// When something goes wrong, and what. Without conditions: always.
#[derive(Debug)]
pub struct FaultRule {
    fault: Fault,
    /// Empty for all.
    ops: Vec<Op>,
    sectors: Option<RangeInclusive<u64>>,
    probability: f64,
    seed: u64,
    after: u64,
    times: u64,
    /// Requests that matched.
    seen: AtomicU64,
    /// How often it struck.
    struck: AtomicU64,
}

impl FaultRule {
    /// That fault for each request.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            ops: Vec::new(),
            sectors: None,
            probability: 1.0,
            seed: 0,
            after: 0,
            times: u64::MAX,
            seen: AtomicU64::new(0),
            struck: AtomicU64::new(0),
        }
    }

    /// Only for this operation, and for others that were named before.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Only for requests that touch one of these sectors of 512 bytes. A flush touches none.
    #[must_use]
    pub fn sectors(mut self, sectors: RangeInclusive<u64>) -> Self {
        self.sectors = Some(sectors);
        self
    }

    /// Only for this part of the requests, 0 to 1.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Which part of the requests, and which byte is flipped, follow from it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Not for the first so many requests that match.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// At most so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// What goes wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// How often it did.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// Whether it is about such a request.
    pub(super) fn matches(&self, op: Op, offset: u64, len: u64) -> bool {
        let touches = self.sectors.as_ref().is_none_or(|sectors| {
            let end = offset.saturating_add(len).div_ceil(SECTOR_BYTES);
            len > 0 && *sectors.start() < end && offset / SECTOR_BYTES <= *sectors.end()
        });
        touches && (self.ops.is_empty() || self.ops.contains(&op)) && self.fault.concerns(op, len)
    }

    /// For a request that matches: a random number if it is struck. `number` is the rule's place in the
    /// list, so that two rules with the same seed are not the same dice.
    pub(super) fn draw(&self, number: u64) -> Option<u64> {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        let dice = scramble(scramble(self.seed ^ scramble(number)).wrapping_add(seen));
        // 53 bits, as many as the fraction of a double has.
        let chance = (dice >> 11) as f64 / (1_u64 << 53) as f64;
        if seen < self.after || chance >= self.probability {
            return None;
        }
        let strike = |struck| (struck < self.times).then(|| struck + 1);
        self.struck.fetch_update(Ordering::Relaxed, Ordering::Relaxed, strike).ok()?;
        Some(scramble(dice))
    }
}

impl Clone for FaultRule {
    /// The same rule, which has seen no request.
    fn clone(&self) -> Self {
        Self {
            fault: self.fault,
            ops: self.ops.clone(),
            sectors: self.sectors.clone(),
            seen: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            ..*self
        }
    }
}

/// splitmix64: every bit of the input reaches every bit of the output.
fn scramble(seed: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
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
            Fault::Never => out.write_str("never"),
            Fault::Reorder => out.write_str("reorder"),
            Fault::Die => out.write_str("die"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("op=read,sectors=100-200,probability=0.1,error=EIO")]
    #[case("op=read+write-zeroes,seed=7,after=3,times=1,delay=20ms")]
    #[case("short=4096")]
    #[case("op=flush,never")]
    #[case("sectors=0-0,flip")]
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

    #[test]
    fn sectors_are_touched_from_the_first_to_the_last() {
        let rule: FaultRule = "sectors=10-12,flip".parse().unwrap();
        for (first, sectors, touched) in
            [(9, 1, false), (9, 2, true), (12, 1, true), (13, 1, false), (0, 100, true)]
        {
            assert_eq!(rule.matches(Op::Read, first * 512, sectors * 512), touched, "{first}");
        }
        assert!(!rule.matches(Op::Discard, 10 * 512, 512), "nothing there to flip");
        let never: FaultRule = "sectors=0-12,never".parse().unwrap();
        assert!(!never.matches(Op::Flush, 0, 0), "a flush has no sector");
    }

    #[test]
    fn after_and_times_count_the_requests_that_match() {
        let rule: FaultRule = "after=2,times=3,never".parse().unwrap();
        let drawn: Vec<bool> = (0..8).map(|_| rule.draw(0).is_some()).collect();
        assert_eq!(drawn, [false, false, true, true, true, false, false, false]);
        assert_eq!(rule.struck(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_same_seed_strikes_the_same_requests(seed: u64, percent in 5_u32..95) {
            let probability = f64::from(percent) / 100.0;
            let draw = |number| {
                let rule = FaultRule::new(Fault::Flip).seed(seed).probability(probability);
                (0..4000).map(|_| rule.draw(number)).collect::<Vec<_>>()
            };
            let drawn = draw(0);
            prop_assert_eq!(&drawn, &draw(0));
            prop_assert_ne!(&drawn, &draw(1), "another rule has other dice");
            let struck = drawn.iter().flatten().count() as f64 / 4000.0;
            prop_assert!((struck - probability).abs() < 0.05, "{struck} instead of {probability}");
        }
    }
}
