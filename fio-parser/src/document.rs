//! Cuts fio's output into JSON documents and everything else.
//!
//! fio prints notes and errors into the stream of its JSON, also with `--output`
//! (<https://github.com/axboe/fio/issues/731>), and one document per `--status-interval`
//! (<https://github.com/axboe/fio/issues/672>). A document starts at a line that begins with `{` and
//! ends with the brace that closes it; what lies between documents is kept as diagnostics.

use std::borrow::Cow;
use std::ops::Range;

/// Most bytes of output that are looked at. A JSON+ document of 100 busy jobs is some 10 MB.
pub const INPUT_BYTES_MAX: usize = 256 << 20;

/// Output cut into documents and diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices<'a> {
    /// Complete documents by their braces, in order. Not yet known to be JSON.
    pub documents: Vec<&'a [u8]>,
    /// Non-blank lines outside of documents, trimmed, with invalid UTF-8 replaced.
    pub diagnostics: Vec<Cow<'a, str>>,
    /// Line (from 1) at which a document begins whose end is missing.
    pub truncated_at_line: Option<usize>,
}

/// Why output was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// More than [`INPUT_BYTES_MAX`].
    #[error(
        "fio output of {len_bytes} bytes is over the limit of {INPUT_BYTES_MAX}; run fewer jobs or a longer status interval"
    )]
    TooLarge {
        /// Bytes given.
        len_bytes: usize,
    },
}

/// Cuts `output` into documents and diagnostics. Any bytes are legal input.
///
/// # Errors
/// [`SliceError::TooLarge`].
pub fn slice(output: &[u8]) -> Result<Slices<'_>, SliceError> {
    if output.len() > INPUT_BYTES_MAX {
        return Err(SliceError::TooLarge { len_bytes: output.len() });
    }
    let mut slices =
        Slices { documents: Vec::new(), diagnostics: Vec::new(), truncated_at_line: None };
    let mut at = 0;
    while let Some(start) = next_non_blank(output, at) {
        if output[start] != b'{' {
            let end = line_end(output, start);
            let line = output[start..end].trim_ascii_end();
            slices.diagnostics.push(String::from_utf8_lossy(line));
            at = end;
        } else if let Some(document) = balanced(output, start) {
            at = document.end;
            slices.documents.push(&output[document]);
        } else {
            slices.truncated_at_line = Some(line_number(output, start));
            break;
        }
    }
    Ok(slices)
}

fn next_non_blank(output: &[u8], at: usize) -> Option<usize> {
    output[at..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|offset| at + offset)
}

fn line_end(output: &[u8], at: usize) -> usize {
    output[at..].iter().position(|&byte| byte == b'\n').map_or(output.len(), |offset| at + offset)
}

fn line_number(output: &[u8], at: usize) -> usize {
    1 + output[..at].iter().filter(|&&byte| byte == b'\n').count()
}

/// The range from the brace at `start` to the one that closes it; braces inside strings do not count.
fn balanced(output: &[u8], start: usize) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (offset, &byte) in output[start..].iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(start..start + offset + 1);
        }
    }
    None
}

/// Escapes raw control characters inside strings, which fio copies unescaped from `description=`.
pub(crate) fn escape_control_characters(document: &str) -> Cow<'_, str> {
    // Between tokens JSON allows these three, so only they need the scan to be sure.
    let suspicious = |letter: char| letter.is_ascii_control() && !"\n\r".contains(letter);
    if !document.contains(suspicious) {
        return Cow::Borrowed(document);
    }
    let mut repaired = String::with_capacity(document.len() + 16);
    let (mut in_string, mut escaped) = (false, false);
    for letter in document.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        if in_string && letter < ' ' {
            repaired.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            repaired.push(letter);
        }
    }
    Cow::Owned(repaired)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", &[], &[], None)]
    #[case::blank(" \n\t\n", &[], &[], None)]
    #[case::only_text("fio: bad option\n", &[], &["fio: bad option"], None)]
    #[case::one("{\n}\n", &["{\n}"], &[], None)]
    #[case::text_around("note: x\n{}\nfio: y\n", &["{}"], &["note: x", "fio: y"], None)]
    #[case::concatenated("{\n}\n{\n}", &["{\n}", "{\n}"], &[], None)]
    #[case::back_to_back("{}{}", &["{}", "{}"], &[], None)]
    #[case::text_after_the_brace("{} fio: y", &["{}"], &["fio: y"], None)]
    #[case::brace_in_string(r#"{"a":"}\"}"}"#, &[r#"{"a":"}\"}"}"#], &[], None)]
    #[case::brace_inside_a_line("job {x}\n{}", &["{}"], &["job {x}"], None)]
    #[case::truncated("{}\nx\n{ \"a\": {}", &["{}"], &["x"], Some(3))]
    #[case::truncated_in_string("{\"a\": \"}", &[], &[], Some(1))]
    #[case::stray_close("}\n{}", &["{}"], &["}"], None)]
    fn cuts(
        #[case] output: &str,
        #[case] documents: &[&str],
        #[case] diagnostics: &[&str],
        #[case] truncated_at_line: Option<usize>,
    ) {
        let slices = slice(output.as_bytes()).unwrap();
        let found: Vec<_> =
            slices.documents.iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect();
        assert_eq!(found, documents);
        assert_eq!(slices.diagnostics, diagnostics);
        assert_eq!(slices.truncated_at_line, truncated_at_line);
    }

    #[rstest]
    #[case("{\"a\": \"tab\there\"}", "{\"a\": \"tab\\u0009here\"}")]
    #[case("{\t\"a\": \"x\"}", "{\t\"a\": \"x\"}")]
    #[case("{\"a\": \"q\\\"\tz\"}", "{\"a\": \"q\\\"\\u0009z\"}")]
    #[case("{\"a\": \"\\\\\"\t}", "{\"a\": \"\\\\\"\t}")]
    fn control_characters_are_escaped_only_inside_strings(
        #[case] raw: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(escape_control_characters(raw), expected);
    }

    #[test]
    fn too_much_is_refused_unread() {
        let huge = vec![b' '; INPUT_BYTES_MAX + 1];
        assert_eq!(slice(&huge), Err(SliceError::TooLarge { len_bytes: INPUT_BYTES_MAX + 1 }));
    }
}
