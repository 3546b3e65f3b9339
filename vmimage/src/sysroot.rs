//! Unpacks packages just far enough that some programs in them can run. A dependency closure is
//! resolved as if it were to be installed, so most of it serves maintainer scripts; by name alone most
//! of that can be told apart, and reading the programs' headers proves whether the guess was right.

use std::path::{Path, PathBuf};

use crate::archive::{Archive, ArchiveError, Record};
use crate::elf::{ElfError, LibraryClosure, LibrarySearch};

/// Unpacked packages, and what programs in them need.
pub(crate) struct Sysroot {
    /// The root they are unpacked below.
    pub(crate) root: PathBuf,
    /// The libraries of the programs.
    pub(crate) closure: LibraryClosure,
    /// The packages that were unpacked.
    pub(crate) used: Vec<Record>,
}

/// Unpacks, out of the closure `all`, the packages `asked` for and those that hold libraries by their
/// name; and the rest only if a library is still missing. `programs` finds the programs in the root.
pub(crate) fn unpack<E: From<ElfError> + From<ArchiveError>>(
    archive: &Archive,
    family: &str,
    all: &[Record],
    asked: &[&str],
    work: &Path,
    programs: impl Fn(&Path) -> Result<Vec<PathBuf>, E>,
) -> Result<Sysroot, E> {
    let (mut used, rest): (Vec<Record>, Vec<Record>) =
        all.iter().cloned().partition(|r| asked.contains(&r.name.as_str()) || is_library(&r.name));
    let root = archive.unpack(family, &used, work)?;
    let search = LibrarySearch::sysroot(&root, archive.arch());
    let closure = match search.closure(&programs(&root)?) {
        Err(ElfError::NotFound { .. }) if !rest.is_empty() => {
            archive.unpack(family, &rest, work)?;
            used.extend(rest);
            search.closure(&programs(&root)?)?
        }
        closure => closure?,
    };
    Ok(Sysroot { root, closure, used })
}

/// Whether a package holds libraries, judged by its name. Interpreters do too, and are huge.
fn is_library(name: &str) -> bool {
    let interpreters = ["libpython", "libperl"];
    (name.starts_with("lib") || name.starts_with("zlib"))
        && !interpreters.iter().any(|i| name.starts_with(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_and_tools_are_no_libraries() {
        let kept: Vec<_> =
            ["libaio1t64", "zlib1g", "libpython3.11-stdlib", "perl-base", "libperl5.36", "dpkg"]
                .into_iter()
                .filter(|name| is_library(name))
                .collect();
        assert_eq!(kept, ["libaio1t64", "zlib1g"]);
    }
}
