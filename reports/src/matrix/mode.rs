//! The way in which a scenario moves bytes, read from its name: one row of the matrix is one family in one mode, and the
//! catalogue names each scenario after its mode where it has one of its own.

/// Words of a scenario's name, and the mode that they say. Longer ones stand before those that are part of them.
const NAMED: &[(&[&str], &str)] = &[
    (&["batch", "auto", "zero", "copy"], "batch-auto"),
    (&["batch", "auto"], "batch-auto"),
    (&["batch", "user", "copy"], "batch-user-copy"),
    (&["batch", "zero", "copy"], "batch-zero-copy"),
    (&["batch"], "batch-copy"),
    (&["batches"], "batch-copy"),
    (&["shmem"], "shmem"),
    (&["shared", "memory"], "shmem"),
    (&["auto", "zero", "copy"], "auto"),
    (&["auto", "buf", "reg"], "auto"),
    (&["get", "data"], "get-data"),
    (&["user", "copy"], "user-copy"),
    (&["zero", "copy"], "zero-copy"),
];

/// The same where they are the name's last words.
const LAST: &[(&[&str], &str)] = &[(&["auto"], "auto"), (&["copy"], "copy")];

/// The same where they are the name's first words.
const FIRST: &[(&[&str], &str)] = &[(&["register"], "zero-copy")];

/// The mode of a scenario that names none: where it moves bytes, the driver copies them.
pub const DEFAULT: &str = "default";

/// The mode in a scenario's id, or [`DEFAULT`].
#[must_use]
pub fn of(id: &str) -> &'static str {
    let name = id.split_once('/').map_or(id, |(_, name)| name);
    let words: Vec<&str> = name.split('-').collect();
    let anywhere = NAMED.iter().find(|(said, _)| words.windows(said.len()).any(|w| w == *said));
    let last = || LAST.iter().find(|(said, _)| words.ends_with(said));
    let first = || FIRST.iter().find(|(said, _)| words.starts_with(said));
    anywhere.or_else(last).or_else(first).map_or(DEFAULT, |(_, mode)| mode)
}

/// The family of a scenario: what stands before the slash.
#[must_use]
pub fn family(id: &str) -> &str {
    id.split_once('/').map_or("other", |(family, _)| family)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("property/descriptors-batch-auto", "batch-auto")]
    #[case("modes/batch-auto-zero-copy-file", "batch-auto")]
    #[case("modes/auto-zero-copy-fallback-file", "auto")]
    #[case("modes/batch-one-queue-on-four-threads", "batch-copy")]
    #[case("recovery/killed-in-batches", "batch-copy")]
    #[case("property/batch-user-copy-positions", "batch-user-copy")]
    #[case("modes/shmem-zero-copy", "shmem")]
    #[case("abi/shared-memory-and-get-data", "shmem")]
    #[case("abi/need-get-data", "get-data")]
    #[case("property/linear-ram-get-data", "get-data")]
    #[case("abi/auto-buf-reg-that-fails", "auto")]
    #[case("abi/register-of-a-flush", "zero-copy")]
    #[case("property/partial-commit-copy", "copy")]
    #[case("property/partial-commit-user-copy", "user-copy")]
    #[case("abi/no-auto-part-scan", DEFAULT)]
    #[case("targets/integrity-auto-modes", DEFAULT)]
    #[case("abi/users-quota", DEFAULT)]
    #[case("startup/fetch-twice", DEFAULT)]
    #[case("fetch-twice", DEFAULT)]
    fn names_say_their_mode(#[case] id: &str, #[case] mode: &str) {
        assert_eq!(of(id), mode);
    }

    #[test]
    fn a_family_stands_before_the_slash() {
        assert_eq!((family("startup/fetch-twice"), family("odd")), ("startup", "other"));
    }
}
