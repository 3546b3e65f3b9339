//! Properties that must hold for any input: the slicer sees whatever a dying process leaves in a pipe,
//! and must neither panic nor turn a part of a document into numbers.

// The lint knows test functions, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::LazyLock;

use fio_parser::{Capture, FioOutput, JobFile, Mode, Section, document, parse_last};
use proptest::prelude::*;

/// A small valid document, parsed.
static DOCUMENT: LazyLock<(Vec<u8>, FioOutput)> = LazyLock::new(|| {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fio-3.41/unified-mixed.txt");
    let bytes = std::fs::read(path).unwrap();
    let output = parse_last(&bytes).unwrap();
    (bytes, output)
});

/// Bytes that are likely to confuse a slicer.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"{".to_vec()),
        Just(b"}".to_vec()),
        Just(b"{}".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\n{\n".to_vec()),
        Just(b"\n}\n".to_vec()),
        Just(b"note: both iodepth >= 1\n".to_vec()),
        Just(b"fio: pid=1, err=28/file:x\n".to_vec()),
        Just(b"{ \"fio version\" : \"fio-3.41\" }\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// Lines that no document could begin in.
fn diagnostics() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z][ -~]{0,40}\n", 0..6).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_cut_without_loss(bytes in noise()) {
        let slices = document::slice(&bytes).unwrap();
        let letters = |part: &[u8]| part.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
        let documents: usize = slices.documents.iter().map(|part| letters(part)).sum();
        prop_assert!(documents <= letters(&bytes));
        for part in &slices.documents {
            prop_assert_eq!((part.first(), part.last()), (Some(&b'{'), Some(&b'}')));
        }
        if slices.truncated_at_line.is_none() && std::str::from_utf8(&bytes).is_ok() {
            let rest: usize = slices.diagnostics.iter().map(|line| letters(line.as_bytes())).sum();
            prop_assert_eq!(documents + rest, letters(&bytes));
        }
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in noise()) {
        // None of the noise is a whole fio document.
        prop_assert!(parse_last(&bytes).is_err());
        for mode in [Mode::Lenient, Mode::Strict] {
            prop_assert!(Capture::parse(&bytes, mode).is_err());
        }
    }

    #[test]
    fn noise_around_a_document_gives_it_or_an_error(before in noise(), after in noise()) {
        let (document, expected) = &*DOCUMENT;
        let bytes = [before.as_slice(), b"\n", document, b"\n", &after].concat();
        if let Ok(output) = parse_last(&bytes) {
            prop_assert_eq!(&output, expected);
        }
    }

    #[test]
    fn diagnostics_around_a_document_give_it(before in diagnostics(), after in diagnostics()) {
        let (document, expected) = &*DOCUMENT;
        let bytes = [before.as_bytes(), document, after.as_bytes()].concat();
        let capture = Capture::parse(&bytes, Mode::Strict).unwrap();
        prop_assert_eq!(capture.last(), expected);
        prop_assert_eq!(capture.documents().len(), 1);
        prop_assert_eq!(capture.diagnostics().len(), before.lines().count() + after.lines().count());
    }

    #[test]
    fn a_cut_document_gives_an_error(from in 0.0..1.0_f64, to in 0.0..1.0_f64, whole_first in any::<bool>()) {
        let (document, expected) = &*DOCUMENT;
        let document = document.trim_ascii();
        let at = |share: f64| (document.len() as f64 * share) as usize;
        // Whatever lost its tail is an error, also behind a complete document.
        let head = &document[..at(to).max(1)];
        let first: &[u8] = if whole_first { document } else { b"" };
        prop_assert!(parse_last(&[first, b"\n", head].concat()).is_err());
        // What lost its head is no document, and does not spoil a complete one behind it.
        let tail = &document[at(from).max(1)..];
        prop_assert!(parse_last(tail).is_err());
        if let Ok(output) = parse_last(&[tail, b"\n", document].concat()) {
            prop_assert_eq!(&output, expected);
        }
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0.0..1.0_f64, byte in any::<u8>()) {
        let mut bytes = DOCUMENT.0.clone();
        let at = (bytes.len() as f64 * at) as usize;
        bytes[at] = byte;
        if let Ok(capture) = Capture::parse(&bytes, Mode::Lenient) {
            let _ = (capture.validate(), capture.summary());
        }
    }

    #[test]
    fn job_files_survive_rendering(file in job_file()) {
        prop_assert_eq!(JobFile::parse(&file.render()), Ok(file));
    }

    #[test]
    fn any_text_is_a_job_file_or_an_error(text in "([\\[\\]a-z=;# \n\u{e4}]|global|include){0,60}") {
        if let Ok(file) = JobFile::parse(&text) {
            prop_assert_eq!(JobFile::parse(&file.render()), Ok(file));
        }
    }
}

/// Job files of everything the builder lets pass.
fn job_file() -> impl Strategy<Value = JobFile> {
    let key = "[a-zA-Z0-9_.-]{1,12}";
    let value = prop::option::of("\\PC{1,20}");
    let options = prop::collection::vec((key, value), 0..6);
    let name = prop::option::of("\\PC{1,20}");
    let section = (name, options).prop_filter_map("refused name", |(name, options)| {
        let section = match name {
            None => Section::global(),
            Some(name) => Section::job(name).ok()?,
        };
        Some(options.into_iter().fold(section, |section, (key, value)| {
            let unchanged = section.clone();
            match value {
                Some(value) => section.set(&key, value),
                None => section.flag(&key),
            }
            .unwrap_or(unchanged)
        }))
    });
    prop::collection::vec(section, 0..5)
        .prop_map(|sections| sections.into_iter().fold(JobFile::new(), JobFile::with))
}
