//! What a kernel of our own can be made to watch itself with. A distribution's kernel has none of it, and a
//! use after free that nobody looks for passes every test.

use std::fmt;

/// One way in which a kernel watches itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instrument {
    /// Every access to memory is checked against a shadow.
    Kasan,
    /// The order of locks and the context they are taken in are checked.
    Lockdep,
    /// Array indexes and shifts are checked.
    Ubsan,
    /// The driver's code that a task has run can be read by it.
    Kcov,
    /// How often each branch of the driver was taken is counted.
    Gcov,
}

impl Instrument {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Kasan, Self::Lockdep, Self::Ubsan, Self::Kcov, Self::Gcov];

    /// The word it is named by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kasan => "kasan",
            Self::Lockdep => "lockdep",
            Self::Ubsan => "ubsan",
            Self::Kcov => "kcov",
            Self::Gcov => "gcov",
        }
    }
}

/// A set of instruments; written in one order and without repetitions, so that equal sets are equal names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Instruments(Vec<Instrument>);

/// A word that names no instrument.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no instrument: use kasan, lockdep, ubsan, kcov, gcov, several with commas, or `none`"
)]
pub struct InstrumentError(pub String);

impl Instruments {
    /// Reads `kasan,lockdep`, in any order; `none` is the empty set.
    pub fn parse(text: &str) -> Result<Self, InstrumentError> {
        if text == "none" {
            return Ok(Self::default());
        }
        let of_word = |word: &str| {
            let found = Instrument::ALL.into_iter().find(|instrument| instrument.name() == word);
            found.ok_or_else(|| InstrumentError(word.to_owned()))
        };
        let mut found = text.split(',').map(of_word).collect::<Result<Vec<_>, _>>()?;
        found.sort();
        found.dedup();
        Ok(Self(found))
    }

    /// Each of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = Instrument> + '_ {
        self.0.iter().copied()
    }

    /// Whether it holds `instrument`.
    #[must_use]
    pub fn has(&self, instrument: Instrument) -> bool {
        self.0.contains(&instrument)
    }

    /// What a kernel's release ends with: `-kasan-lockdep`.
    #[must_use]
    pub fn local_version(&self) -> String {
        if self.0.is_empty() {
            return "-none".to_owned();
        }
        self.iter().map(|instrument| format!("-{}", instrument.name())).collect()
    }
}

impl std::str::FromStr for Instruments {
    type Err = InstrumentError;

    fn from_str(text: &str) -> Result<Self, InstrumentError> {
        Self::parse(text)
    }
}

impl fmt::Display for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<_> = self.iter().map(Instrument::name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_have_one_name() {
        let set = Instruments::parse("lockdep,kasan,lockdep").unwrap();
        assert_eq!(set.to_string(), "kasan,lockdep");
        assert_eq!(set, Instruments::parse("kasan,lockdep").unwrap());
        assert_eq!(set.local_version(), "-kasan-lockdep");
        let none = Instruments::parse("none").unwrap();
        assert_eq!((none.to_string().as_str(), none.local_version().as_str()), ("none", "-none"));
    }

    #[test]
    fn other_words_are_refused_by_name() {
        for text in ["", "kasan,", "kmsan", "KASAN", "kasan lockdep"] {
            let error = Instruments::parse(text).unwrap_err().to_string();
            assert!(error.contains("kasan, lockdep"), "{error}");
        }
    }
}
