//! No small damage to a clean record ends in a pass.
//!
//! The named streams show the damages somebody thought of; these tests try all the others of their kind.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use reports::Status;
use reports::event::{Record, Seen};
use support::Stream;

fn clean() -> Stream {
    Stream::named("clean")
}

fn is_passed(stream: &Stream, records: &[Record]) -> bool {
    stream.fold_records(records).status() == Status::Passed
}

#[test]
fn the_clean_stream_passes() {
    let stream = clean();
    assert!(is_passed(&stream, &stream.records));
}

#[test]
fn no_record_can_be_dropped() {
    let stream = clean();
    for index in 0..stream.records.len() {
        let mut records = stream.records.clone();
        let dropped = records.remove(index);
        assert!(!is_passed(&stream, &records), "passed without {dropped:?}");
    }
}

#[test]
fn no_record_can_be_doubled() {
    let stream = clean();
    for index in 0..stream.records.len() {
        let mut records = stream.records.clone();
        records.insert(index, records[index].clone());
        assert!(!is_passed(&stream, &records), "passed with two of {:?}", records[index]);
    }
}

#[test]
fn no_stream_can_be_cut_short() {
    let stream = clean();
    for len in 0..stream.records.len() {
        assert!(!is_passed(&stream, &stream.records[..len]), "passed with {len} records");
    }
}

#[test]
fn no_nonce_can_be_flipped() {
    let stream = clean();
    for index in 0..stream.records.len() {
        let mut records = stream.records.clone();
        match &mut records[index].seen {
            Seen::BootStarted { nonce, .. } => nonce.replace_range(..1, "f"),
            Seen::Line { text } => *text = text.replacen("5eed", "5eec", 1),
            // The one boot end that has none.
            Seen::BootEnded { .. } => continue,
        }
        // A boot that was repeated before it was ready has said nothing under its nonce.
        let silent = index == 0;
        assert_eq!(is_passed(&stream, &records), silent, "record {index}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A case that was ever found is kept beside this file and tried first.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
     })]

    /// Swapped with their times, and with the times left in order: a recorder's bug may look like either.
    #[test]
    fn no_two_records_of_a_kernel_can_be_swapped(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        keep_times in any::<bool>(),
    ) {
        let stream = clean();
        let mut records = stream.records.clone();
        let (one, other) = (one.index(records.len()), other.index(records.len()));
        prop_assume!(records[one].kernel == records[other].kernel);
        prop_assume!(records[one].seen != records[other].seen);
        records.swap(one, other);
        if keep_times {
            let (a, b) = (records[one].at_ms, records[other].at_ms);
            (records[one].at_ms, records[other].at_ms) = (b, a);
        }
        prop_assert!(!is_passed(&stream, &records));
    }

    /// Bytes changed in a guest's line: either it says the same, or it does not pass.
    #[test]
    fn no_line_can_be_garbled(
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
    ) {
        let stream = clean();
        let mut records = stream.records.clone();
        let at = at.index(records.len());
        if let Seen::Line { text } = &mut records[at].seen {
            let len = 1 + byte.index(text.len() - 1);
            text.truncate(len);
            prop_assert!(!is_passed(&stream, &records));
        }
    }

    /// Whatever comes over the wire, folding it neither panics nor passes.
    #[test]
    fn noise_is_never_a_pass(lines in prop::collection::vec(".{0,60}", 1..8), at in any::<prop::sample::Index>()) {
        let stream = clean();
        let mut records = stream.records.clone();
        let at = 1 + at.index(records.len() - 1);
        let place = records[at - 1].clone();
        // One exception is a rule and not a hole: a machine that crashed may have died while it wrote, so the
        // beginning of a line is taken as that where a crashed boot ends.
        let cut_off = lines.len() == 1
            && serde_json::from_str::<serde_json::Value>(&lines[0]).is_err_and(|e| e.is_eof());
        prop_assume!(!cut_off || !matches!(records[at].seen, Seen::BootEnded { .. }));
        for text in lines {
            records.insert(at, Record { seen: Seen::Line { text }, ..place.clone() });
        }
        prop_assert!(!is_passed(&stream, &records));
    }
}
