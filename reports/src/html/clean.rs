//! Keeps a guest's bytes from becoming anything but text that is seen.
//!
//! Escaping makes markup harmless; it does nothing about characters that a browser drops, refuses or obeys
//! without showing them. And ten megabytes of one evidence would make a page nobody can open.

use std::cell::Cell;

/// Bytes of evidence on one page, over all scenarios.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes shown of one text: its beginning and its end, where crashes are.
const HEAD_BYTES_MAX: usize = 48 << 10;
const TAIL_BYTES_MAX: usize = 16 << 10;
/// Bytes shown of something that is meant to be a line.
const LINE_BYTES_MAX: usize = 2000;

/// What of the page's room for evidence is left.
#[derive(Debug)]
pub(super) struct Room(Cell<usize>);

/// The part of a text that is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    pub(super) head: &'a str,
    /// Bytes between head and tail that are left out.
    pub(super) left_out_bytes: usize,
    pub(super) tail: &'a str,
}

impl Room {
    /// A whole page's.
    pub(super) const fn new() -> Self {
        Self(Cell::new(PAGE_BYTES_MAX))
    }

    /// Takes as much of `text` as there is room for.
    pub(super) fn take<'a>(&self, text: &'a str) -> Shown<'a> {
        let left = self.0.get();
        let shown = if text.len() <= left.min(HEAD_BYTES_MAX + TAIL_BYTES_MAX) {
            Shown { head: text, left_out_bytes: 0, tail: "" }
        } else {
            let head = crate::text::head(text, left.min(HEAD_BYTES_MAX));
            let tail = tail(text, left.saturating_sub(HEAD_BYTES_MAX).min(TAIL_BYTES_MAX));
            Shown { head, left_out_bytes: text.len() - head.len() - tail.len(), tail }
        };
        self.0.set(left - shown.head.len() - shown.tail.len());
        shown
    }
}

/// The end of `text`, at most `max_bytes` long.
fn tail(text: &str, max_bytes: usize) -> &str {
    let mut begin = text.len() - max_bytes.min(text.len());
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    &text[begin..]
}

/// `text` on one line and not longer than a paragraph.
pub(super) fn line(text: &str) -> String {
    let short = crate::text::head(text, LINE_BYTES_MAX);
    let mut line = short.split_whitespace().collect::<Vec<_>>().join(" ");
    if short.len() < text.len() {
        line.push_str(" \u{2026}");
    }
    line
}

/// `page` with every character that is not seen made visible: control characters as their pictures, what
/// turns the direction of text and what is no character at all as a replacement character.
pub(super) fn visible(page: &str) -> String {
    page.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
            '\x7f' => '\u{2421}',
            '\u{80}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fdd0}'..='\u{fdef}' => '\u{fffd}',
            c if c as u32 & 0xfffe == 0xfffe => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_made_visible() {
        let hostile = "a\0b\x1b[31m\r\n\u{7f}\u{85}\u{202e}\u{fffe}\u{1ffff}\u{e9}";
        let seen = visible(hostile);
        assert_eq!(
            seen,
            "a\u{2400}b\u{241b}[31m\u{240d}\n\u{2421}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{e9}"
        );
    }

    #[test]
    fn a_long_text_keeps_its_two_ends() {
        let text = "\u{e9}".repeat(5 << 20);
        let room = Room::new();
        let shown = room.take(&text);
        assert!(shown.head.len() <= HEAD_BYTES_MAX && shown.tail.len() <= TAIL_BYTES_MAX);
        assert_eq!(shown.head.len() + shown.tail.len() + shown.left_out_bytes, text.len());
        assert!(!shown.tail.is_empty());
    }

    #[test]
    fn a_page_has_an_end() {
        let text = "x".repeat(HEAD_BYTES_MAX);
        let room = Room::new();
        let total: usize = (0..10_000).map(|_| room.take(&text).head.len()).sum();
        assert_eq!(total, PAGE_BYTES_MAX);
    }

    #[test]
    fn a_line_is_one() {
        assert_eq!(line("a\n  b"), "a b");
        assert!(line(&"x".repeat(1 << 20)).len() < LINE_BYTES_MAX + 8);
    }
}
