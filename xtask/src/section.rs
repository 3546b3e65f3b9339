//! The part of a page that a command writes: tables in the documentation are outputs, and only the words
//! around them are anybody's own.

use std::path::Path;

use crate::error::Error;

/// Puts `text` between the marks of `name` in the page at `path`.
///
/// # Errors
/// When the page cannot be read or written, or has not exactly one such section.
pub(crate) fn replace(path: &Path, name: &str, text: &str) -> Result<(), Error> {
    let failed = |what: &str, error: std::io::Error| {
        Error::infrastructure(format!("cannot {what} {}: {error}", path.display()))
    };
    let page = std::fs::read_to_string(path).map_err(|error| failed("read", error))?;
    let page = replaced(&page, name, text)
        .map_err(|why| Error::usage(format!("{}: {why}", path.display())))?;
    std::fs::write(path, page).map_err(|error| failed("write", error))
}

/// Refuses, before anything is measured for it, a page that has no such section.
///
/// # Errors
/// As [`replace`].
pub(crate) fn check(path: &Path, name: &str) -> Result<(), Error> {
    let page = std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())))?;
    replaced(&page, name, "")
        .map(drop)
        .map_err(|why| Error::usage(format!("{}: {why}", path.display())))
}

fn replaced(page: &str, name: &str, text: &str) -> Result<String, String> {
    let begin = format!("<!-- begin: cargo xtask {name} -->\n");
    let end = format!("<!-- end: cargo xtask {name} -->\n");
    let (before, rest) = page.split_once(&begin).ok_or(format!("no line `{}`", begin.trim()))?;
    let (_, after) = rest.split_once(&end).ok_or(format!("no line `{}`", end.trim()))?;
    if after.contains(&begin) || before.contains(&end) {
        return Err(format!("more than one section of `{name}`"));
    }
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# P\nmine\n<!-- begin: cargo xtask a -->\nold\n<!-- end: cargo xtask a -->\nmine too\n";

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let once = replaced(PAGE, "a", "new\n").unwrap();
        assert_eq!(
            once,
            "# P\nmine\n<!-- begin: cargo xtask a -->\n\nnew\n\n<!-- end: cargo xtask a -->\nmine too\n"
        );
        assert_eq!(replaced(&once, "a", "new").unwrap(), once);
    }

    #[test]
    fn a_page_without_marks_or_with_two_is_refused() {
        assert!(replaced(PAGE, "b", "").unwrap_err().contains("cargo xtask b"));
        assert!(replaced(&PAGE.replace("end:", "end"), "a", "").is_err());
        assert!(replaced(&format!("{PAGE}{PAGE}"), "a", "").unwrap_err().contains("more than one"));
    }
}
