//! The kernel's sources as the archive packs them: one package for a series. The selftests' server is made of
//! them, and every kernel of our own.

use crate::archive::{Archive, ArchiveError, Record, version};

/// Before the series in a package's name.
const PREFIX: &str = "linux-source-";

/// Why there are no sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourcePackageError {
    /// No family has the package.
    #[error(
        "the archive has no package {package}, which holds the kernel's sources (it has {}): use one of these, or name an archive with --archive URI --suite S --keyring FILE",
        if there.is_empty() { "none of any kernel".to_owned() } else { there.join(", ") }
    )]
    Absent {
        /// The package that was looked for.
        package: String,
        /// Source packages that are there.
        there: Vec<String>,
    },
    /// The archive could not serve.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The source package of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePackage {
    /// The series: `7.3`.
    pub series: String,
    /// The family that has it.
    pub family: String,
    /// The package.
    pub record: Record,
}

impl SourcePackage {
    /// The tree's folder in the package's tar file, and the file's name without `.tar.xz`.
    #[must_use]
    pub fn tree(&self) -> String {
        format!("{PREFIX}{}", self.series)
    }
}

/// The sources of `series` (`7.3`); `None` takes the newest the archive has.
pub fn find(archive: &Archive, series: Option<&str>) -> Result<SourcePackage, SourcePackageError> {
    let mut found = Vec::new();
    for family in archive.families()? {
        let records = archive.candidates(&family, "^linux-source-[0-9.]+$")?;
        found.extend(records.into_iter().map(|record| (family.clone(), record)));
    }
    let Some((family, record)) = newest(&found, series) else {
        let mut there: Vec<String> = found.iter().map(|(_, r)| r.name.clone()).collect();
        there.sort();
        there.dedup();
        let package = format!("{PREFIX}{}", series.unwrap_or("X.Y"));
        return Err(SourcePackageError::Absent { package, there });
    };
    let series = series_of(record).to_owned();
    Ok(SourcePackage { series, family: family.clone(), record: record.clone() })
}

/// The newest source package of the series, or of all.
fn newest<'a>(found: &'a [(String, Record)], series: Option<&str>) -> Option<&'a (String, Record)> {
    let wanted = |(_, record): &&(String, Record)| series.is_none_or(|s| series_of(record) == s);
    // Of equals the first is taken: families are ordered from the machine's own to the newest.
    found.iter().rev().filter(wanted).max_by(|(_, a), (_, b)| {
        let by_series = version::compare(series_of(a), series_of(b));
        by_series.then_with(|| version::compare(&a.version, &b.version))
    })
}

fn series_of(record: &Record) -> &str {
    record.name.strip_prefix(PREFIX).unwrap_or(&record.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(family: &str, series: &str, version: &str) -> (String, Record) {
        let record = Record {
            name: format!("linux-source-{series}"),
            version: version.into(),
            depends: Vec::new(),
            size_bytes: 0,
            installed_bytes: 0,
            sha256: String::new(),
        };
        (family.into(), record)
    }

    #[test]
    fn a_release_is_newer_than_its_candidates_and_the_machines_own_family_comes_first() {
        let found = [
            source("trixie", "7.3", "7.3.4-1~bpo13+1"),
            source("trixie", "7.2", "7.2.12-1~bpo13+1"),
            source("forky", "7.2", "7.2.12-1~bpo13+1"),
            source("experimental", "7.3", "7.3~rc7-1~exp1"),
            source("bookworm", "6.12", "6.12.95-1"),
        ];
        let chosen = |series| {
            newest(&found, series).map(|(family, r)| format!("{family} {} {}", r.name, r.version))
        };
        let newest_of_all = "trixie linux-source-7.3 7.3.4-1~bpo13+1";
        assert_eq!(chosen(None).as_deref(), Some(newest_of_all));
        assert_eq!(chosen(Some("7.3")).as_deref(), Some(newest_of_all));
        let equal = "trixie linux-source-7.2 7.2.12-1~bpo13+1";
        assert_eq!(chosen(Some("7.2")).as_deref(), Some(equal));
        assert_eq!(chosen(Some("6.9")), None);
    }

    #[test]
    fn what_is_missing_is_said_in_one_line() {
        let there = vec!["linux-source-7.2".to_owned(), "linux-source-7.3".to_owned()];
        let error = SourcePackageError::Absent { package: "linux-source-6.9".into(), there };
        let text = error.to_string();
        assert!(
            text.contains("linux-source-6.9") && text.contains("7.2, linux-source-7.3"),
            "{text}"
        );
        let none =
            SourcePackageError::Absent { package: "linux-source-6.9".into(), there: Vec::new() };
        assert!(none.to_string().contains("none of any kernel"), "{none}");
        assert!(!text.contains('\n'));
    }
}
