//! A deliberate bug of the server: what it is, how it is planted, and which scenarios are asked first whether they see it.

use crate::edit::{Edit, Put};

/// One deliberate bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    /// Its name, as `lost-write`.
    pub(crate) name: &'static str,
    /// What the server does wrong, in a few words.
    pub(crate) what: &'static str,
    /// Filters, as for `vm-e2e`; the first scenario of each is asked first, for it probably sees the bug. All others
    /// are asked if none of these does.
    pub(crate) first: &'static [&'static str],
    /// How it is made. Each looks whether this bug is the chosen one.
    pub(crate) edits: &'static [Edit],
}

/// What is needed for any of them: the switch, and that it is part of the crate.
pub(crate) const SWITCH_FILE: &str = "ublk/src/mutant.rs";
/// Its text.
pub(crate) const SWITCH: &str = include_str!("switch.rs");
/// Its place in the crate.
pub(crate) const SWITCH_EDIT: Edit =
    Edit { file: "ublk/src/lib.rs", at: "pub mod params;", put: Put::Before("pub mod mutant;") };

pub(super) const fn before(file: &'static str, at: &'static str, line: &'static str) -> Edit {
    Edit { file, at, put: Put::Before(line) }
}

pub(super) const fn behind(file: &'static str, at: &'static str, line: &'static str) -> Edit {
    Edit { file, at, put: Put::Behind(line) }
}

pub(super) const fn instead(file: &'static str, at: &'static str, other: &'static str) -> Edit {
    Edit { file, at, put: Put::Instead(other) }
}
