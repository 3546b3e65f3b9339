//! Which subjects a command line means. A word that means nobody is a mistake and said to be one.

use std::collections::BTreeSet;

use reports::perf::Subject;

use crate::error::Error;

/// Whether a subject is meant by filters and modes; both empty mean everybody.
pub(crate) fn is_meant(subject: &Subject, filters: &[String], modes: &[String]) -> bool {
    let id = subject.id();
    (filters.is_empty() || filters.iter().any(|filter| id.contains(filter.as_str())))
        && (modes.is_empty() || modes.contains(&subject.mode))
}

/// Refuses a filter or a mode that none of `all` has, and a choice that leaves nobody.
///
/// # Errors
/// A usage error that names what there is.
pub(crate) fn check(all: &[&Subject], filters: &[String], modes: &[String]) -> Result<(), Error> {
    let ids: Vec<String> = all.iter().map(|subject| subject.id()).collect();
    if let Some(filter) = filters.iter().find(|f| !ids.iter().any(|id| id.contains(f.as_str()))) {
        let known = ids.join(", ");
        return Err(Error::usage(format!("no subject matches `{filter}`; there are {known}")));
    }
    if let Some(mode) = modes.iter().find(|mode| !all.iter().any(|s| s.mode == **mode)) {
        let known: BTreeSet<&str> = all.iter().map(|subject| subject.mode.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let known = known.join(", ");
        return Err(Error::usage(format!("there is no mode `{mode}`; there are {known}")));
    }
    if all.iter().any(|subject| is_meant(subject, filters, modes)) {
        return Ok(());
    }
    Err(Error::usage("no subject matches both --filter and --modes"))
}

#[cfg(test)]
mod tests {
    use reports::perf::{Launch, Role};

    use super::*;

    fn subject(name: &str, mode: &str) -> Subject {
        Subject {
            name: name.into(),
            mode: mode.into(),
            role: Role::Peer,
            features: 0,
            launch: Launch::Loop { len_bytes: 0, direct: false },
            device: String::new(),
            target: None,
            proof: None,
        }
    }

    #[test]
    fn a_word_that_means_nobody_is_refused_with_what_there_is() {
        let all = [subject("ublk", "copy"), subject("kublk", "batch")];
        let all: Vec<&Subject> = all.iter().collect();
        let said = |filters: &[&str], modes: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
            check(&all, &owned(filters), &owned(modes)).err().map(|error| error.to_string())
        };
        assert_eq!(said(&[], &[]), None);
        assert_eq!(said(&["kublk"], &["batch"]), None);
        assert!(said(&["rublk"], &[]).unwrap().contains("ublk/copy, kublk/batch"));
        assert!(said(&[], &["zero"]).unwrap().contains("batch, copy"));
        assert!(said(&["ublk/copy"], &["batch"]).unwrap().contains("both"));
    }
}
