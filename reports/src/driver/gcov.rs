//! Reads what `gcov --json-format --branch-probabilities` says of one source file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Line;

/// Why gcov's answer is no coverage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GcovError {
    /// It is not what gcov writes.
    #[error("gcov's answer cannot be read: {0}: use the gcov of the gcc that built the kernel")]
    Json(#[from] serde_json::Error),
    /// Nothing is said of the file.
    #[error("gcov says nothing of {0}")]
    Absent(String),
}

#[derive(Deserialize)]
struct Answer {
    files: Vec<AnswerFile>,
}

#[derive(Deserialize)]
struct AnswerFile {
    file: String,
    lines: Vec<AnswerLine>,
}

#[derive(Deserialize)]
struct AnswerLine {
    line_number: u32,
    /// Code outside of functions has none.
    #[serde(default)]
    function_name: String,
    count: u64,
    #[serde(default)]
    branches: Vec<AnswerBranch>,
}

#[derive(Deserialize)]
struct AnswerBranch {
    count: u64,
}

/// The lines of the file whose name ends with `file`. A line that several functions share, because it was
/// inlined, is one line here: run where any of them ran it.
pub fn parse(json: &str, file: &str) -> Result<Vec<Line>, GcovError> {
    let answer: Answer = serde_json::from_str(json)?;
    let found = answer.files.into_iter().find(|one| one.file.ends_with(file));
    let found = found.ok_or_else(|| GcovError::Absent(file.to_owned()))?;
    let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
    for line in found.lines {
        let branches = line.branches.iter().map(|branch| branch.count);
        let known = lines.entry(line.line_number).or_insert_with(|| Line {
            number: line.line_number,
            function: line.function_name.clone(),
            count: 0,
            branches: Vec::new(),
        });
        known.count = known.count.saturating_add(line.count);
        known.branches.extend(branches);
    }
    Ok(lines.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"format_version": "1", "files": [
        {"file": "include/linux/list.h", "lines": [{"line_number": 1, "function_name": "h", "count": 1, "branches": []}]},
        {"file": "drivers/block/ublk_drv.c", "lines": [
            {"line_number": 12, "function_name": "b", "count": 0, "unexecuted_block": true, "branches": []},
            {"line_number": 10, "function_name": "a", "count": 3,
             "branches": [{"count": 3, "throw": false, "fallthrough": true}, {"count": 0, "throw": false, "fallthrough": false}]},
            {"line_number": 12, "function_name": "c", "count": 4, "branches": []}]}]}"#;

    #[test]
    fn lines_of_one_file_in_order_and_once_each() {
        let lines = parse(ANSWER, "ublk_drv.c").unwrap();
        let line = |number, function: &str, count, branches: &[u64]| Line {
            number,
            function: function.into(),
            count,
            branches: branches.to_vec(),
        };
        assert_eq!(lines, [line(10, "a", 3, &[3, 0]), line(12, "b", 4, &[])]);
        assert_eq!(lines[0].missed(), 1);
    }

    #[test]
    fn another_answer_is_refused() {
        assert!(matches!(parse("{}", "x.c"), Err(GcovError::Json(_))));
        assert!(matches!(parse(ANSWER, "x.c"), Err(GcovError::Absent(_))));
    }
}
