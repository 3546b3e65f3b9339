//! What each kernel can do, as a table. What all can do is said once: a reader looks for the differences.

use crate::abilities::Abilities;

use super::{Column, Matrix};

/// One line of the table: a question, and each kernel's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The question.
    pub name: String,
    /// The answers, in the order of the columns; `?` where nobody could ask.
    pub answers: Vec<String>,
}

/// The table, and what every kernel of it that could be asked can do.
#[must_use]
pub fn facts(matrix: &Matrix) -> (Vec<Fact>, Vec<String>) {
    let columns = &matrix.columns;
    let mut facts = vec![
        fact("release", columns, |column| column.release.clone()),
        fact("GET_FEATURES", columns, |column| column.features.map(|bits| format!("{bits:#x}"))),
    ];
    let mut everywhere = Vec::new();
    let features = |abilities: &Abilities| Some(abilities.features.clone());
    named(columns, "", features, &mut facts, &mut everywhere);
    facts.push(fact("opcodes without encoding (LEGACY_OPCODES)", columns, |column| {
        column.abilities.as_ref()?.legacy_opcodes.map(yes)
    }));
    facts.push(fact("zoned disks", columns, |column| column.abilities.as_ref().and_then(zoned)));
    facts.push(fact("integrity metadata", columns, |column| {
        Some(yes(offers(column.abilities.as_ref()?, "INTEGRITY")))
    }));
    facts.push(fact("io_uring operations", columns, |column| {
        Some(column.abilities.as_ref()?.io_uring.as_ref()?.operations.to_string())
    }));
    let setups = |abilities: &Abilities| Some(abilities.io_uring.as_ref()?.setups.clone());
    let wanted = |abilities: &Abilities| Some(abilities.io_uring.as_ref()?.wanted.clone());
    named(columns, "ring setup ", setups, &mut facts, &mut everywhere);
    named(columns, "operation ", wanted, &mut facts, &mut everywhere);
    (facts, everywhere)
}

fn fact(name: &str, columns: &[Column], answer: impl Fn(&Column) -> Option<String>) -> Fact {
    let answers = columns.iter().map(|column| answer(column).unwrap_or_else(|| "?".to_owned()));
    Fact { name: name.to_owned(), answers: answers.collect() }
}

/// A line for each name that some have and others have not.
fn named(
    columns: &[Column],
    prefix: &str,
    names: impl Fn(&Abilities) -> Option<Vec<String>>,
    facts: &mut Vec<Fact>,
    everywhere: &mut Vec<String>,
) {
    let lists: Vec<Option<Vec<String>>> =
        columns.iter().map(|column| column.abilities.as_ref().and_then(&names)).collect();
    // The longest list first: it has most of the order.
    let mut by_length: Vec<&Vec<String>> = lists.iter().flatten().collect();
    by_length.sort_by_key(|list| std::cmp::Reverse(list.len()));
    let mut all: Vec<&String> = Vec::new();
    for name in by_length.into_iter().flatten() {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    for name in all {
        if lists.iter().flatten().all(|list| list.contains(name)) {
            everywhere.push(format!("{prefix}{name}"));
            continue;
        }
        let answers = lists.iter().map(|list| match list {
            Some(list) => yes(list.contains(name)),
            None => "?".to_owned(),
        });
        facts.push(Fact { name: format!("{prefix}{name}"), answers: answers.collect() });
    }
}

fn zoned(abilities: &Abilities) -> Option<String> {
    if !offers(abilities, "ZONED") {
        return Some(yes(false));
    }
    Some(match abilities.zoned? {
        true => yes(true),
        false => "offered, but the block layer has no zones".to_owned(),
    })
}

fn offers(abilities: &Abilities, name: &str) -> bool {
    abilities.features.iter().any(|feature| feature == name)
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "-" }.to_owned()
}
