//! From a word (`6.12`) to a kernel on disk: image, modules and configuration, with a record of
//! exactly which packages they came from. Exact kernels leave the archive within weeks, so a series is
//! resolved to what is whole today, and what is no longer whole is said.

mod built;
mod candidates;
mod fetch;
mod instrument;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use built::{BuildError, DriverNotes, Recipe, missing_tools};
pub use candidates::{Candidate, of_records};
pub use fetch::fetch;
pub use instrument::{Instrument, InstrumentError, Instruments};
pub use spec::{KernelSpec, SpecError};

use crate::arch::Arch;
use crate::archive::{Archive, ArchiveError, LockEntry};
use crate::cache::CacheError;
use crate::command::CommandError;
use crate::fsio::{self, IoError};
use crate::source_package::{self, SourcePackageError};

/// Why there is no such kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// No package of it is in the archive.
    #[error("the archive has no kernel {spec} for {arch}: whole ones are {}", list(whole))]
    Unknown {
        /// What was asked for.
        spec: String,
        /// For which guests.
        arch: Arch,
        /// The newest whole release of each series.
        whole: Vec<String>,
    },
    /// Its image is listed, but not everything it needs.
    #[error(
        "kernel {spec} is no longer whole in the archive: {release} lacks {}; whole ones are {}",
        missing.join(", "),
        list(whole)
    )]
    NotWhole {
        /// What was asked for.
        spec: String,
        /// The best release of it.
        release: String,
        /// The packages that are gone.
        missing: Vec<String>,
        /// The newest whole release of each series.
        whole: Vec<String>,
    },
    /// It would have to be built, for guests of another architecture than the builder's.
    #[error(
        "`{spec}` cannot be built for {arch}: own kernels are for {} only, name one of the archive's (7.3, 7.3+16k)",
        Arch::X86_64
    )]
    BuiltElsewhere {
        /// What was asked for.
        spec: String,
        /// For which guests.
        arch: Arch,
    },
    /// A kernel brought by the user cannot be used.
    #[error("cannot use the kernel {}: {reason}", path.display())]
    BadFiles {
        /// The path given.
        path: PathBuf,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// The packages do not hold what they should; the layout has changed once more.
    #[error(
        "the packages of kernel {release} hold no {what}: their layout is unknown to this version"
    )]
    Layout {
        /// The release.
        release: String,
        /// What was looked for.
        what: &'static str,
    },
    /// A kernel of our own could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There are no sources to build one from.
    #[error(transparent)]
    Source(#[from] SourcePackageError),
    /// A child process gave no answer.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The archive could not serve.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The cache could not serve.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

fn list(whole: &[String]) -> String {
    if whole.is_empty() { "none".to_owned() } else { whole.join(", ") }
}

/// One series as the archive has it today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its name: `6.12`.
    pub name: String,
    /// Its newest whole release, if any.
    pub newest_whole: Option<String>,
    /// Releases that are listed but lack a package, with what they lack.
    pub broken: Vec<(String, Vec<String>)>,
}

/// A kernel that was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedKernel {
    /// What was asked for.
    pub spec: KernelSpec,
    /// The release, as `uname -r` will print it; for files, the name of the modules directory.
    pub release: String,
    /// Where it comes from.
    pub source: KernelSource,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// Packages of one family of the archive.
    Packages(Candidate),
    /// Sources of the archive, to be built here.
    Built(Recipe),
    /// Files brought by the user, as in [`KernelSpec::Files`].
    Files {
        /// The kernel image.
        bzimage: PathBuf,
        /// A directory as `/lib/modules/RELEASE`; `None` where everything is built in.
        modules_dir: Option<PathBuf>,
    },
}

/// A kernel on disk.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The release, as `uname -r` will print it.
    pub release: String,
    /// The kernel image.
    pub vmlinuz: PathBuf,
    /// SHA-256 of the kernel image, hex.
    pub vmlinuz_sha256: String,
    /// A directory as `/lib/modules/RELEASE`; `None` where everything is built in.
    pub modules_dir: Option<PathBuf>,
    /// Its configuration, where known.
    pub config: Option<PathBuf>,
    /// SHA-256 of the configuration, hex.
    pub config_sha256: Option<String>,
    /// A hash over everything above, for keys of what is built from it.
    pub identity: String,
    /// What its driver's counters are read with, where it counts.
    pub driver_notes: Option<DriverNotes>,
    /// What it came from.
    pub lock: Vec<LockEntry>,
}

impl Kernel {
    /// The value of a configuration option: `y`, `m`, a number or a string without its quotes.
    /// `None` where it is not set or the configuration is not known. `name` is with `CONFIG_`.
    pub fn config_value(&self, name: &str) -> Result<Option<String>, IoError> {
        let Some(path) = &self.config else { return Ok(None) };
        Ok(value_in_config(&fsio::read_text(path)?, name))
    }
}

fn value_in_config(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Every kernel release the archive lists, whole or not, in all families.
pub fn list_candidates(archive: &Archive) -> Result<Vec<Candidate>, ArchiveError> {
    let (arch, mut found) = (archive.arch(), Vec::new());
    for family in archive.families()? {
        let records = archive.candidates(&family, &arch.facts().kernel_packages())?;
        found.extend(of_records(arch, &family, &records));
    }
    Ok(found)
}

/// The series the archive has with pages of the usual size, oldest first, each with its newest whole release.
pub fn list_series(archive: &Archive) -> Result<Vec<Series>, ArchiveError> {
    Ok(series_of(&list_candidates(archive)?, KernelSpec::Newest.page_kib()))
}

fn series_of(all: &[Candidate], page_kib: u32) -> Vec<Series> {
    let mut by_series: BTreeMap<(u32, u32), Vec<&Candidate>> = BTreeMap::new();
    for candidate in all.iter().filter(|candidate| candidate.page_kib == page_kib) {
        if let [major, minor, ..] = candidate.numbers()[..] {
            by_series.entry((major, minor)).or_default().push(candidate);
        }
    }
    by_series
        .into_iter()
        .map(|((major, minor), members)| Series {
            name: format!("{major}.{minor}"),
            newest_whole: members
                .iter()
                .filter(|c| c.is_whole())
                .max_by(|a, b| a.order(b))
                .map(|c| c.release.clone()),
            broken: members
                .iter()
                .filter(|c| !c.is_whole())
                .map(|c| (c.release.clone(), c.missing.clone()))
                .collect(),
        })
        .collect()
}

/// Decides which kernel `spec` means today. Needs no archive for files.
pub fn resolve(archive: &Archive, spec: &KernelSpec) -> Result<ResolvedKernel, KernelError> {
    if let KernelSpec::Files { bzimage, modules_dir } = spec {
        return fetch::check_files(archive.arch(), spec, bzimage, modules_dir.as_deref());
    }
    if let KernelSpec::Built { series, with } = spec {
        if archive.arch() != Arch::X86_64 {
            let (spec, arch) = (spec.to_string(), archive.arch());
            return Err(KernelError::BuiltElsewhere { spec, arch });
        }
        let series = series.map(|(major, minor)| format!("{major}.{minor}"));
        let source = source_package::find(archive, series.as_deref())?;
        let recipe = Recipe { source, with: with.clone() };
        let release = recipe.release();
        let source = KernelSource::Built(recipe);
        return Ok(ResolvedKernel { spec: spec.clone(), release, source });
    }
    let choose = || choose(&list_candidates(archive)?, spec, archive.arch());
    match choose() {
        Err(_) if archive.refresh_after_miss()? => choose(),
        chosen => chosen,
    }
}

fn choose(all: &[Candidate], spec: &KernelSpec, arch: Arch) -> Result<ResolvedKernel, KernelError> {
    let best = |whole: bool| {
        // Of equals the first is taken: families are ordered from the machine's own to the newest.
        all.iter()
            .rev()
            .filter(|c| c.is_whole() == whole && c.matches(spec))
            .max_by(|a, b| a.order(b))
    };
    if let Some(chosen) = best(true) {
        return Ok(ResolvedKernel {
            spec: spec.clone(),
            release: chosen.release.clone(),
            source: KernelSource::Packages(chosen.clone()),
        });
    }
    let whole_with = |page_kib| -> Vec<String> {
        series_of(all, page_kib).into_iter().filter_map(|s| s.newest_whole).collect()
    };
    let mut whole = whole_with(spec.page_kib());
    if whole.is_empty() {
        // None has pages of that size: the others say which sizes there are.
        let sizes: BTreeSet<u32> = all.iter().map(|candidate| candidate.page_kib).collect();
        whole = sizes.into_iter().flat_map(whole_with).collect();
    }
    let spec = spec.to_string();
    Err(match best(false) {
        Some(broken) => KernelError::NotWhole {
            spec,
            release: broken.release.clone(),
            missing: broken.missing.clone(),
            whole,
        },
        None => KernelError::Unknown { spec, arch, whole },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(release: &str, version: &str, family: &str, missing: &[&str]) -> Candidate {
        Candidate {
            release: release.into(),
            version: version.into(),
            family: family.into(),
            page_kib: 4,
            packages: Vec::new(),
            missing: missing.iter().map(|m| (*m).to_owned()).collect(),
        }
    }

    fn all() -> Vec<Candidate> {
        vec![
            candidate("6.12.5-a", "6.12.5-1", "bookworm", &[]),
            candidate("6.12.5-a", "6.12.5-1", "trixie", &[]),
            candidate("7.0.4-a", "7.0.4-1", "sid", &["linux-modules-7.0.4-a"]),
            candidate("7.3.4-a", "7.3.4-1", "sid", &[]),
        ]
    }

    #[test]
    fn errors_say_what_is_missing_and_what_is_there() {
        let choose = |spec| choose(&all(), &KernelSpec::parse(spec).unwrap(), Arch::X86_64);
        let gone = choose("7.0").unwrap_err().to_string();
        assert!(gone.contains("7.0.4-a lacks linux-modules-7.0.4-a"), "{gone}");
        assert!(gone.contains("6.12.5-a, 7.3.4-a"), "{gone}");
        let unknown = choose("9.9").unwrap_err().to_string();
        assert!(unknown.contains("no kernel 9.9") && unknown.contains("7.3.4-a"), "{unknown}");
    }

    #[test]
    fn where_none_has_such_pages_all_are_listed() {
        let large = Candidate { page_kib: 16, ..candidate("7.3.4-16k", "7.3.4-1", "sid", &[]) };
        let all = [all(), vec![large]].concat();
        let choose = |spec| choose(&all, &KernelSpec::parse(spec).unwrap(), Arch::Aarch64);
        assert_eq!(choose("7.3+16k").unwrap().release, "7.3.4-16k");
        let error = choose("6.12+16k").unwrap_err().to_string();
        assert!(
            error.ends_with("no kernel 6.12+16k for aarch64: whole ones are 7.3.4-16k"),
            "{error}"
        );
        let error = choose("7.3+64k").unwrap_err().to_string();
        assert!(error.ends_with("are 6.12.5-a, 7.3.4-a, 7.3.4-16k"), "{error}");
    }

    #[test]
    fn of_equal_versions_the_machines_own_family_is_taken() {
        let chosen = choose(&all(), &KernelSpec::Series(6, 12), Arch::X86_64).unwrap();
        let KernelSource::Packages(chosen) = chosen.source else { panic!("not packages") };
        assert_eq!(chosen.family, "bookworm");
    }

    #[test]
    fn series_are_in_numeric_order_with_what_is_broken() {
        let series = series_of(&all(), 4);
        let names: Vec<_> = series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["6.12", "7.0", "7.3"]);
        assert_eq!(series[1].newest_whole, None);
        assert_eq!(series[1].broken.len(), 1);
    }

    #[test]
    fn config_values() {
        let text = "# CONFIG_B is not set\nCONFIG_A=m\nCONFIG_AB=y\nCONFIG_S=\"(none)\"\n";
        assert_eq!(value_in_config(text, "CONFIG_A").as_deref(), Some("m"));
        assert_eq!(value_in_config(text, "CONFIG_S").as_deref(), Some("(none)"));
        assert_eq!(value_in_config(text, "CONFIG_B"), None);
    }
}
