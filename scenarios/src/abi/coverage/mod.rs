//! Which scenario uses which item of the kernel's interface, and a test that none is left out.
//!
//! The items are not listed here by hand: they are the commands, flags and fields that `ublk::uapi` declares, and
//! `ublk/tests/uapi_header.rs` compares those with the kernel's header. So an item of a new kernel that is declared
//! and used by nobody fails a test, and so does a scenario here that is in no catalogue. `docs/abi-coverage.md` is
//! this table for people.

use std::fmt::Write;

/// One command, flag, rule, or group of fields, and the scenarios that use it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name: `ADD_DEV`, or the fields of a group with commas between.
    pub item: &'static str,
    /// Ids of scenarios, or patterns with `*`.
    pub scenarios: &'static [&'static str],
}

/// One table of rows: a section of the interface, or a struct.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// What it is about.
    pub title: &'static str,
    /// Its rows.
    pub rows: &'static [Row],
}

macro_rules! rows {
    ($( $item:literal => $($scenario:literal),+ ; )*) => {
        &[$( Row { item: $item, scenarios: &[$($scenario),+] } ),*]
    };
}

#[cfg(test)]
mod check;
mod commands;
mod structs;

/// Every table, in the order of the document.
pub fn tables() -> impl Iterator<Item = &'static Table> {
    commands::TABLES.iter().chain(structs::TABLES)
}

/// The tables as `docs/abi-coverage.md` shows them.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Coverage of the kernel's interface\n\n\
         Generated from `scenarios/src/abi/coverage.rs`; a test compares both, and\n\
         `UBLK_BLESS=1 cargo test -p scenarios coverage` writes this file anew. A scenario whose item the\n\
         running kernel has not is skipped by a printed probe: GET_FEATURES, or parameters that do not come back.\n",
    );
    for Table { title, rows } in tables() {
        let _ = write!(text, "\n## {title}\n\n| item | scenarios |\n|---|---|\n");
        for row in *rows {
            let ids: Vec<_> = row.scenarios.iter().map(|id| format!("`{id}`")).collect();
            let _ = writeln!(text, "| {} | {} |", row.item, ids.join(", "));
        }
    }
    text
}
