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
    /// The kernel it came with.
    pub since: &'static str,
    /// How a user of the library reaches it, with commas between: functions, variants, types.
    pub api: &'static str,
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
    ($( $item:literal, $since:literal, $api:literal => $($scenario:literal),+ ; )*) => {
        &[$( Row { item: $item, since: $since, api: $api, scenarios: &[$($scenario),+] } ),*]
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

/// The series that whole runs are made with, the oldest first.
const SERIES: [(u32, u32); 6] = [(6, 12), (6, 16), (6, 17), (6, 18), (7, 2), (7, 3)];

impl Row {
    /// The series that have it.
    fn series(&self) -> String {
        let number = |text: &str| text.parse().unwrap_or(u32::MAX);
        let since = self.since.split_once('.').map(|(major, minor)| (number(major), number(minor)));
        let have: Vec<_> = SERIES.iter().filter(|series| Some(**series) >= since).collect();
        match have.as_slice() {
            _ if have.len() == SERIES.len() => "all".into(),
            [(major, minor)] => format!("{major}.{minor}"),
            [(major, minor), ..] => format!("from {major}.{minor}"),
            [] => "none".into(),
        }
    }
}

fn code(words: impl Iterator<Item = &'static str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The tables as `docs/abi-coverage.md` shows them.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Coverage of the kernel's interface\n\n\
         Generated from `scenarios/src/abi/coverage/`; a test compares both, and\n\
         `UBLK_BLESS=1 cargo test -p scenarios coverage` writes this file anew. What is declared in `ublk::uapi`, the names\n\
         in the second column and the scenarios are compared with the code. \"Series\" is which of 6.12, 6.16, 6.17, 6.18,\n\
         7.2 and 7.3 have the item; on the others its scenarios are skipped by a printed probe: GET_FEATURES, or parameters\n\
         that do not come back.\n",
    );
    for Table { title, rows } in tables() {
        let head = "| item | API | series | scenarios |\n|---|---|---|---|";
        let _ = write!(text, "\n## {title}\n\n{head}\n");
        for row in *rows {
            let (api, scenarios) = (code(row.api.split(", ")), code(row.scenarios.iter().copied()));
            let _ = writeln!(text, "| {} | {api} | {} | {scenarios} |", row.item, row.series());
        }
    }
    text
}
