//! Takes what is around a kernel message off it: priorities, time stamps, callers, colours.
//!
//! A pattern is only looked for where a message begins. "BUG:" in the middle of a line is somebody
//! quoting; at the beginning it is the kernel.

use std::borrow::Cow;

/// Messages that may begin in one line; more are not looked at.
const MESSAGES_MAX: usize = 8;

/// `raw` without carriage returns and terminal escapes.
pub(super) fn plain(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['\r', '\x1b']) {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {}
            // A control sequence ends with its first letter.
            '\x1b' => drop(chars.by_ref().find(char::is_ascii_alphabetic)),
            _ => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// Every place in `line` where a kernel message may begin: its start, and after each time stamp.
///
/// After each, because a program that writes to the console without a newline shares its line with the
/// kernel's next message.
pub(super) fn messages(line: &str) -> impl Iterator<Item = &str> {
    let start = match kmsg_record(line) {
        Some((priority, _)) if priority >> 3 != 0 => None,
        Some((_, message)) => Some(message),
        None => Some(after_level(line)),
    };
    let stamped = line
        .match_indices('[')
        .filter_map(|(at, _)| after_stamp(&line[at..]))
        .filter(move |_| start.is_some());
    start.into_iter().chain(stamped).take(MESSAGES_MAX)
}

/// Splits a `/dev/kmsg` record: `priority,sequence,microseconds,flags[,...];message`.
fn kmsg_record(line: &str) -> Option<(u32, &str)> {
    let (header, message) = line.split_once(';')?;
    let mut fields = header.split(',');
    let priority = fields.next()?.parse().ok()?;
    fields.next()?.parse::<u64>().ok()?;
    fields.next()?.parse::<u64>().ok()?;
    fields.next()?;
    Some((priority, message))
}

/// Takes `<4>` off.
fn after_level(line: &str) -> &str {
    line.strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .filter(|(level, _)| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit()))
        .map_or(line, |(_, rest)| rest)
}

/// Takes `[   12.345678] ` and a caller as `[  T123] ` off, where `text` begins with a time stamp.
fn after_stamp(text: &str) -> Option<&str> {
    let (stamp, rest) = text.strip_prefix('[')?.split_once(']')?;
    let (seconds, micros) = stamp.trim_start().split_once('.')?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || micros.len() != 6 || !digits(micros) {
        return None;
    }
    let rest = match rest.strip_prefix('[').and_then(|caller| caller.split_once(']')) {
        Some((caller, after)) if caller.trim_start().starts_with(['T', 'C']) => after,
        _ => rest,
    };
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &str) -> Vec<&str> {
        messages(line).collect()
    }

    #[test]
    fn prefixes_come_off() {
        assert!(all("[    1.234567] hello").contains(&"hello"));
        assert!(all("<4>[    1.234567] hello").contains(&"hello"));
        assert!(all("[    1.234567][  T12] hello").contains(&"hello"));
        assert!(all("[    1.234567][    C0] hello").contains(&"hello"));
        assert_eq!(all("<6>hello"), ["hello"]);
        assert_eq!(all("6,339,5140900,-;hello"), ["hello"]);
        assert_eq!(all("6,339,5140900,c,caller=T1;hello"), ["hello"]);
    }

    #[test]
    fn a_message_may_begin_in_the_middle_of_a_line() {
        assert!(all("login: [   12.000001] hello").contains(&"hello"));
    }

    #[test]
    fn colours_and_carriage_returns_are_taken_out() {
        assert_eq!(plain("\x1b[1;31mred\x1b[0m\r"), "red");
        assert_eq!(plain("cut off \x1b["), "cut off ");
    }

    #[test]
    fn what_is_no_stamp_is_left_alone() {
        assert_eq!(all("[ BUG: Invalid wait context ]"), ["[ BUG: Invalid wait context ]"]);
        assert_eq!(all("[1.5] x"), ["[1.5] x"]);
    }
}
