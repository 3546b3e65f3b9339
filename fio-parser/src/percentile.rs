//! A percentile as an exact, ordered key.
//!
//! fio names percentiles by `%f` strings, which sort wrongly as text (`"5.000000"` after `"10.000000"`)
//! and cannot be map keys as floats. Millionths of a percent hold every `%f` string exactly.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

const MILLIONTHS_PER_PERCENT: u32 = 1_000_000;
const MILLIONTHS_MAX: u32 = 100 * MILLIONTHS_PER_PERCENT;
const FRACTION_DIGITS: usize = 6;

/// A percentile in (0, 100], exact to a millionth of a percent. Serialized as text (`"99.9"`), so that
/// it can be the key of a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile {
    millionths: u32,
}

/// A text or number that is no percentile in (0, 100].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no percentile above 0 and up to 100")]
pub struct InvalidPercentile(String);

impl Percentile {
    /// The median.
    pub const P50: Self = Self::whole(50);
    /// The 90th percentile.
    pub const P90: Self = Self::whole(90);
    /// The 95th percentile.
    pub const P95: Self = Self::whole(95);
    /// The 99th percentile.
    pub const P99: Self = Self::whole(99);
    /// The 99.9th percentile.
    pub const P99_9: Self = Self { millionths: 99_900_000 };
    /// The 99.99th percentile.
    pub const P99_99: Self = Self { millionths: 99_990_000 };

    const fn whole(percent: u32) -> Self {
        Self { millionths: percent * MILLIONTHS_PER_PERCENT }
    }

    /// From millionths of a percent (`99_900_000` is p99.9).
    ///
    /// # Errors
    /// [`InvalidPercentile`] for 0 and for more than 100 percent.
    pub fn from_millionths(millionths: u32) -> Result<Self, InvalidPercentile> {
        if (1..=MILLIONTHS_MAX).contains(&millionths) {
            Ok(Self { millionths })
        } else {
            Err(InvalidPercentile(format!("{millionths} millionths of a percent")))
        }
    }

    /// Millionths of a percent, 1 to 100 000 000.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.millionths
    }

    /// As a float in percent, the same value fio reads from its option.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.millionths) / f64::from(MILLIONTHS_PER_PERCENT)
    }
}

impl FromStr for Percentile {
    type Err = InvalidPercentile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPercentile(text.chars().take(32).collect());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        // `u32::from_str` would take a leading `+`.
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(invalid());
        }
        if fraction.len() > FRACTION_DIGITS {
            return Err(invalid());
        }
        let whole: u32 = whole.parse().map_err(|_| invalid())?;
        let fraction: u32 =
            format!("{fraction:0<FRACTION_DIGITS$}").parse().map_err(|_| invalid())?;
        whole
            .checked_mul(MILLIONTHS_PER_PERCENT)
            .and_then(|millionths| millionths.checked_add(fraction))
            .and_then(|millionths| Self::from_millionths(millionths).ok())
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.millionths / MILLIONTHS_PER_PERCENT;
        let fraction = self.millionths % MILLIONTHS_PER_PERCENT;
        if fraction == 0 {
            return write!(out, "{whole}");
        }
        let fraction = format!("{fraction:0FRACTION_DIGITS$}");
        write!(out, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Percentile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("99.000000", Percentile::P99, "99")]
    #[case("99.900000", Percentile::P99_9, "99.9")]
    #[case("50", Percentile::P50, "50")]
    #[case("99.99", Percentile::P99_99, "99.99")]
    fn reads_what_fio_writes(
        #[case] text: &str,
        #[case] expected: Percentile,
        #[case] shown: &str,
    ) {
        let percentile: Percentile = text.parse().unwrap();
        assert_eq!(percentile, expected);
        assert_eq!(percentile.to_string(), shown);
    }

    #[rstest]
    #[case("")]
    #[case(".5")]
    #[case("0.000000")]
    #[case("100.000001")]
    #[case("+50")]
    #[case("-1")]
    #[case("nan")]
    #[case("1.0000000")]
    #[case("4294967296")]
    #[case("4295")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<Percentile>().is_err());
    }

    #[test]
    fn orders_by_value_and_not_as_text() {
        let five: Percentile = "5.000000".parse().unwrap();
        let ten: Percentile = "10.000000".parse().unwrap();
        assert!(five < ten);
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(millionths in 1..=MILLIONTHS_MAX) {
            let percentile = Percentile::from_millionths(millionths).unwrap();
            prop_assert_eq!(percentile.to_string().parse(), Ok(percentile));
            // And fio's own `%f` of the float gives the same key.
            prop_assert_eq!(format!("{:.6}", percentile.percent()).parse(), Ok(percentile));
        }
    }
}
