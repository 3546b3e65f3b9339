//! Numbers as they are read: grouped, rounded, with their unit.

use chrono::DateTime;

/// Separates groups of digits and a number from its unit; never broken.
const THIN: char = '\u{202f}';

/// `40 000`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let rest = digits.len() - index;
        if index > 0 && rest.is_multiple_of(3) && digits.len() > 4 {
            grouped.push(THIN);
        }
        grouped.push(digit);
    }
    grouped
}

/// `340 ms`, `1.2 s`, `2 min 41 s`.
pub(super) fn duration_ms(duration_ms: u64) -> String {
    let s = duration_ms / 1000;
    match duration_ms {
        0..1_000 => format!("{duration_ms}{THIN}ms"),
        1_000..60_000 => format!("{s}.{}{THIN}s", duration_ms % 1000 / 100),
        _ => format!("{}{THIN}min {}{THIN}s", s / 60, s % 60),
    }
}

/// `512 B`, `1.4 KiB`, `1 GiB`.
pub(super) fn bytes(len_bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = len_bytes as f64;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{len_bytes}{THIN}B"),
        _ if scaled >= 100.0 || scaled.fract() < 0.05 => {
            format!("{scaled:.0}{THIN}{}", UNITS[unit])
        }
        _ => format!("{scaled:.1}{THIN}{}", UNITS[unit]),
    }
}

/// `21 Nov 2026, 19:12 UTC`.
pub(super) fn moment(unix_ms: u64) -> String {
    written(unix_ms, "%-d %b %Y, %H:%M UTC")
}

/// `2026-11-21T19:12:00Z`, for machines.
pub(super) fn moment_iso(unix_ms: u64) -> String {
    written(unix_ms, "%Y-%m-%dT%H:%M:%SZ")
}

fn written(unix_ms: u64, form: &str) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis);
    moment.map_or_else(|| "unknown".to_owned(), |moment| moment.format(form).to_string())
}

/// The first characters of a commit or a hash.
pub(super) fn short_hash(hash: &str) -> String {
    hash.chars().take(10).collect()
}

/// `one scenario`, `3 scenarios`.
pub(super) fn things(number: u64, singular: &str) -> String {
    match number {
        1 => format!("1{}{singular}", '\u{a0}'),
        _ => format!("{}{}{singular}s", count(number), '\u{a0}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_from_five_digits_on() {
        assert_eq!(count(0), "0");
        assert_eq!(count(9999), "9999");
        assert_eq!(count(40_000), "40\u{202f}000");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn units_fit_the_size() {
        assert_eq!(duration_ms(999), "999\u{202f}ms");
        assert_eq!(duration_ms(1_290), "1.2\u{202f}s");
        assert_eq!(duration_ms(161_000), "2\u{202f}min 41\u{202f}s");
        assert_eq!(bytes(512), "512\u{202f}B");
        assert_eq!(bytes(1434), "1.4\u{202f}KiB");
        assert_eq!(bytes(1 << 30), "1\u{202f}GiB");
        assert_eq!(bytes(u64::MAX), "16777216\u{202f}TiB");
    }

    #[test]
    fn moments_are_utc() {
        assert_eq!(moment(1_767_225_600_000), "1 Jan 2026, 00:00 UTC");
        assert_eq!(moment_iso(1_767_225_600_000), "2026-01-01T00:00:00Z");
        assert_eq!(moment(u64::MAX), "unknown");
    }
}
