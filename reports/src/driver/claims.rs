//! Rows of the errno map against the kernel's own counters: was a scenario where it says it has been? An errno alone does
//! not tell, because many conditions answer with the same.

use serde::Serialize;

use super::Line;

/// One row that scenarios of this run say they reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The row's id.
    pub row: String,
    /// The scenarios that passed and name it.
    pub scenarios: Vec<String>,
    /// What the counters say.
    pub proof: Proof,
}

/// What the counters of a row's scenarios say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The line of the answer was run.
    Line,
    /// The answer has no code of its own, and its condition went every way.
    Condition,
    /// The condition did not go every way, so that nothing follows.
    Open,
    /// The line of the answer was not run.
    Refuted,
}

/// Judges the row whose condition begins at line `first` and whose answer ends at line `last`.
///
/// A compiler gives an answer like `return -EINVAL` no code of its own where several share it. What is left are the
/// directions of the condition's branches.
#[must_use]
pub fn proof(detail: &[Line], first: u32, last: u32) -> Proof {
    let within = detail.iter().filter(|line| (first..=last).contains(&line.number));
    let lines: Vec<&Line> = within.collect();
    // A condition may be several lines long; the answer is behind the last of them that branches.
    let condition = lines.iter().rposition(|line| !line.branches.is_empty());
    let answer = lines.get(condition.map_or(0, |at| at + 1)..).unwrap_or_default();
    match (answer.last(), condition) {
        (Some(line), _) if line.count > 0 => Proof::Line,
        (Some(_), _) => Proof::Refuted,
        (None, Some(_)) if lines.iter().all(|line| line.missed() == 0) => Proof::Condition,
        (None, _) => Proof::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u32, count: u64, branches: &[u64]) -> Line {
        Line { number, function: "f".into(), count, branches: branches.to_vec() }
    }

    #[test]
    fn the_answers_own_line_decides() {
        let detail =
            [line(10, 5, &[4, 1]), line(11, 1, &[]), line(20, 5, &[5, 0]), line(21, 0, &[])];
        assert_eq!(proof(&detail, 10, 11), Proof::Line);
        assert_eq!(proof(&detail, 20, 21), Proof::Refuted);
    }

    #[test]
    fn without_one_every_direction_of_the_condition_must_be_taken() {
        let detail = [line(10, 5, &[4, 1]), line(11, 4, &[2, 2]), line(20, 5, &[5, 0])];
        assert_eq!(proof(&detail, 10, 12), Proof::Condition);
        assert_eq!(proof(&detail, 20, 21), Proof::Open);
        assert_eq!(proof(&detail, 30, 31), Proof::Open);
    }
}
