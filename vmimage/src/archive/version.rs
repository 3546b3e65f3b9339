//! Debian's version order. Picking the newest kernel of a series needs it a few hundred times per run,
//! and `7.3~rc7` must lose to `7.3.4` although it sorts after it as text.

use std::cmp::Ordering;

/// Compares two Debian version strings (`[epoch:]upstream[-revision]`) by the rules of Debian policy
/// 5.6.12: digits as numbers, `~` before everything even the end, letters before other characters.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, upstream_a, revision_a) = split(a);
    let (epoch_b, upstream_b, revision_b) = split(b);
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| compare_part(upstream_a, upstream_b))
        .then_with(|| compare_part(revision_a, revision_b))
}

/// The upstream part: `6.12.117` of `1:6.12.117-1~bpo12+1`.
pub fn upstream(version: &str) -> &str {
    split(version).1
}

fn split(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = a.split_at(a.find(|c: char| c.is_ascii_digit()).unwrap_or(a.len()));
        let (text_b, rest_b) = b.split_at(b.find(|c: char| c.is_ascii_digit()).unwrap_or(b.len()));
        let by_text = compare_text(text_a, text_b);
        if by_text.is_ne() {
            return by_text;
        }
        let (number_a, next_a) = take_number(rest_a);
        let (number_b, next_b) = take_number(rest_b);
        // By length first: the digits of a date stamp may not fit an integer.
        let by_number = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
        if by_number.is_ne() {
            return by_number;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

fn take_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

fn compare_text(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|i| weight(a.as_bytes().get(i)).cmp(&weight(b.as_bytes().get(i))))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row ascending.
    const ORDER: &[&[&str]] = &[
        &["7.3~rc7-1~exp1", "7.3-1", "7.3.4-1~bpo13+1", "7.3.4-1", "7.3.4-2", "7.3.10-1"],
        &["6.12.9-1", "6.12.117-1~bpo12+1", "6.12.117-1", "6.13~rc1-1"],
        &["1.0~~", "1.0~~a", "1.0~", "1.0", "1.0a", "1.0+b1", "1.0.1"],
        &["9", "1:0.1"],
        &["1:7.2+dfsg-7+deb12u15", "1:7.2+dfsg-7+deb12u18+b3", "1:10.0.2+ds-2+deb13u1~bpo12+1"],
        &["6.12.90+deb13-1", "6.12.90+deb13.1-1"],
        &["1.20240101000000000000001", "1.20240101000000000000002"],
        &["2.0-9", "2.0-10"],
    ];

    #[test]
    fn order_is_debians() {
        for row in ORDER {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    assert_eq!(compare(a, b), i.cmp(&j), "{a} against {b}");
                }
            }
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
        assert_eq!(compare("0:1", "1"), Ordering::Equal);
    }

    /// dpkg is the authority where there is one.
    #[test]
    fn order_agrees_with_dpkg() {
        for (a, b) in ORDER.iter().flat_map(|row| row.iter().zip(row.iter().skip(1))) {
            let answer = std::process::Command::new("dpkg")
                .args(["--compare-versions", a, "lt", b])
                .status();
            if let Ok(status) = answer {
                assert!(status.success(), "dpkg does not put {a} before {b}");
            }
        }
    }

    #[test]
    fn upstream_drops_epoch_and_revision() {
        assert_eq!(upstream("6.12.117-1~bpo12+1"), "6.12.117");
        assert_eq!(upstream("1:10.0.2+ds-2"), "10.0.2+ds");
        assert_eq!(upstream("7.3~rc7-1~exp1"), "7.3~rc7");
    }
}
