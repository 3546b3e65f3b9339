//! Cutting text to a limit without cutting a character in two.

/// The beginning of `text`, at most `max_bytes` long.
pub(crate) fn head(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_cut() {
        assert_eq!(head("a\u{e9}b", 2), "a");
        assert_eq!(head("a\u{e9}b", 3), "a\u{e9}");
        assert_eq!(head("ab", 99), "ab");
        assert_eq!(head("", 0), "");
    }
}
