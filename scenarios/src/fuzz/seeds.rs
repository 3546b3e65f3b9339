//! Cases that are done first in every run: each has shown something once.

use super::act::Act;

/// Seeds of a scenario, by its id. A file that cannot be read is caught by a test.
const FILES: &[(&str, &str)] = &[
    // An asynchronous SET_PARAMS behind a DEL_DEV that waits: its payload was read when the next act had overwritten it, and the
    // answer was EINVAL. The fault was the hand's, whose acts shared payloads.
    ("fuzz/sqe", include_str!("seeds/sqe-payload-read-late.json")),
    // Answers that the table did not have: see `allowed.rs`.
    ("fuzz/sqe", include_str!("seeds/sqe-path-of-a-deleted-device.json")),
    ("fuzz/sqe", include_str!("seeds/sqe-fixed-buffer-before-the-file.json")),
    ("fuzz/sqe", include_str!("seeds/sqe-fsync-fails-in-silence.json")),
    ("fuzz/sqe", include_str!("seeds/sqe-two-refusals-of-a-nop.json")),
    // A command with IOSQE_IO_DRAIN waits for the DEL_DEV before it, and all that is sent to that ring later waits for both.
    ("fuzz/sqe", include_str!("seeds/sqe-behind-a-drain.json")),
    // The table took a field's first value for the one that was sent.
    ("fuzz/sqe", include_str!("seeds/sqe-flags-set-twice.json")),
];

/// Its cases.
pub(super) fn all(scenario: &str) -> Vec<Vec<Act>> {
    let own = FILES.iter().filter(|(id, _)| *id == scenario);
    own.filter_map(|(_, text)| serde_json::from_str(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_can_be_read() {
        for (scenario, text) in FILES {
            let acts: Vec<Act> = serde_json::from_str(text).unwrap();
            assert!(!acts.is_empty(), "{scenario}");
        }
    }
}
