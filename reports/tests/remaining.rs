//! What the next boot has to do, after each way a boot can end.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use reports::remaining;
use rstest::rstest;
use support::Stream;

/// Ids that are left of `stream`'s first kernel after its first boot.
fn left_after_first_boot(name: &str) -> Vec<String> {
    let stream = Stream::named(name);
    let first = stream.records.iter().filter(|record| record.kernel == 0 && record.boot == 0);
    let left = remaining(&stream.expected.planned[0], first);
    left.into_iter().map(|scenario| scenario.id).collect()
}

#[rstest]
#[case::crash("panic-text", &["data/scatter"])]
#[case::hang("hang", &["data/scatter"])]
#[case::lost("lost-vm", &["data/scatter"])]
#[case::never_ready("retry-before-ready", &["startup/a", "startup/b", "data/scatter"])]
#[case::left_out("missing-scenario", &["startup/b"])]
#[case::all_done("lost-vm-after-last", &[])]
#[case::not_believed("wrong-nonce", &[])]
fn what_was_not_started_is_left(#[case] stream: &str, #[case] left: &[&str]) {
    assert_eq!(left_after_first_boot(stream), left);
}

#[test]
fn before_any_boot_everything_is_left_in_its_order() {
    let stream = Stream::named("clean");
    let planned = &stream.expected.planned[0];
    assert_eq!(&remaining(planned, []), planned);
}

#[test]
fn a_start_without_the_nonce_starts_nothing() {
    let stream = Stream::named("clean");
    let planned = &stream.expected.planned[0];
    let mut records: Vec<_> =
        stream.records.iter().filter(|record| record.kernel == 0).cloned().collect();
    for record in &mut records {
        if let reports::event::Seen::Line { text } = &mut record.seen {
            *text = text.replacen("5eed", "dead", 1);
        }
    }
    assert_eq!(&remaining(planned, &records), planned);
}
