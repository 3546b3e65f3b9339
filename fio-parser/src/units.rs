//! Units as types, because fio puts KiB/s and bytes/s beside each other under names that differ by six
//! letters, and every tool that read them as plain numbers has once been wrong by a factor of 1024.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes per second, as fio's `bw_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BytesPerSec(pub u64);

/// KiB (1024 bytes) per second, as fio's `bw`; with `f64` as its means and deviations.
///
/// There is no way to take it for bytes:
///
/// ```compile_fail
/// let bandwidth: fio_parser::BytesPerSec = fio_parser::KibPerSec(4_u64);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KibPerSec<T = u64>(pub T);

/// Nanoseconds; with `f64` for means and deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos<T = u64>(pub T);

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// I/O operations per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Iops(pub f64);

impl From<KibPerSec> for BytesPerSec {
    /// Exact but for fio's own rounding down to whole KiB; saturates instead of wrapping.
    fn from(rate: KibPerSec) -> Self {
        Self(rate.0.saturating_mul(1024))
    }
}

impl fmt::Display for BytesPerSec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} B/s", self.0)
    }
}

impl<T: fmt::Display> fmt::Display for KibPerSec<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} KiB/s", self.0)
    }
}

impl<T: fmt::Display> fmt::Display for Nanos<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ns", self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ms", self.0)
    }
}

impl fmt::Display for Iops {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1} IOPS", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kib_become_bytes_and_never_wrap() {
        assert_eq!(BytesPerSec::from(KibPerSec(3)), BytesPerSec(3072));
        assert_eq!(BytesPerSec::from(KibPerSec(u64::MAX)), BytesPerSec(u64::MAX));
    }

    #[test]
    fn display_names_the_unit() {
        assert_eq!(KibPerSec(4).to_string(), "4 KiB/s");
        assert_eq!(BytesPerSec(4).to_string(), "4 B/s");
        assert_eq!(Iops(1234.56).to_string(), "1234.6 IOPS");
    }
}
