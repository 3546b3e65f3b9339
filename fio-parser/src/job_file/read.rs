//! Reads a job file line by line, as fio does, but refuses what fio would misread.

use super::{JobFile, JobFileError, Section};

pub(super) fn job_file(text: &str) -> Result<JobFile, JobFileError> {
    let mut sections: Vec<Section> = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        let line = without_comment(raw).trim();
        if line.is_empty() {
            continue;
        }
        let at_line = |source| JobFileError::Line { line: number, source: Box::new(source) };
        if line.starts_with('[') {
            sections.push(section(line, number)?);
        } else if line.starts_with("include") {
            return Err(JobFileError::Include { line: number });
        } else {
            let current = sections.pop().ok_or(JobFileError::OutsideSection { line: number })?;
            sections.push(option(current, line).map_err(at_line)?);
        }
    }
    Ok(JobFile { sections })
}

fn without_comment(line: &str) -> &str {
    line.split([';', '#']).next().unwrap_or_default()
}

fn section(line: &str, number: usize) -> Result<Section, JobFileError> {
    let name = line
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or(JobFileError::Header { line: number })?;
    if name == Section::GLOBAL {
        return Ok(Section::global());
    }
    Section::job(name)
        .map_err(|source| JobFileError::Line { line: number, source: Box::new(source) })
}

fn option(section: Section, line: &str) -> Result<Section, JobFileError> {
    match line.split_once('=') {
        Some((key, value)) => section.set(key.trim_end(), value.trim_start()),
        None => section.flag(line),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn comments_blanks_and_spacing_are_dropped() {
        let text = "; head\n\n[global] ; all\n bs = 4k # size\ntime_based\r\n#x\n[a]\nrw=read\n";
        let file = job_file(text).unwrap();
        assert_eq!(file.render(), "[global]\nbs=4k\ntime_based\n\n[a]\nrw=read\n");
    }

    #[test]
    fn only_the_first_equals_sign_divides() {
        let file = job_file("[a]\ndescription=x=y  z\n").unwrap();
        assert_eq!(file.sections()[0].options()[0].value(), Some("x=y  z"));
    }

    #[rstest]
    #[case::outside("bs=4k\n[a]\n", "line 1: option outside of a section")]
    #[case::open("[a\n", "line 1: a section is written")]
    #[case::trailing("\n[a] x\n", "line 2: a section is written")]
    #[case::empty_name("[]\n", "line 1: `` cannot name a fio job")]
    #[case::include("[a]\ninclude x.fio\n", "line 2: `include` is not followed")]
    #[case::empty_value("[a]\nbs=\n", "line 2: the value of fio option `bs`")]
    #[case::empty_key("[a]\n=4\n", "line 2: `` cannot name a fio option")]
    #[case::pretend_global("[globals]\n", "line 1: `globals` cannot name a fio job")]
    fn refusals_name_the_line(#[case] text: &str, #[case] message: &str) {
        let error = job_file(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
