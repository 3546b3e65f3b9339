//! How a user names a kernel. People think in series (`6.12`), bisect with exact versions
//! (`6.18.5`), and develop with a build of their own; all three come in as one word or two paths.

use std::fmt;
use std::path::PathBuf;

use super::instrument::{InstrumentError, Instruments};

/// Which kernel is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KernelSpec {
    /// The newest whole version of a series: `6.12`.
    Series(u32, u32),
    /// One stable version: `6.18.5`.
    Exact(u32, u32, u32),
    /// The newest released version of all; a release candidate only where there is nothing else.
    Newest,
    /// A kernel image and, unless everything is built in, its modules, brought by the user.
    Files {
        /// The bzImage.
        bzimage: PathBuf,
        /// A directory as `/lib/modules/RELEASE`.
        modules_dir: Option<PathBuf>,
    },
    /// One built here from the archive's sources: `7.3+kasan,lockdep`.
    Built {
        /// The series; `None` is the newest whose sources the archive has.
        series: Option<(u32, u32)>,
        /// What watches it.
        with: Instruments,
    },
}

/// A word that names no kernel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// No series, version or `newest`.
    #[error(
        "`{0}` names no kernel: use a series (6.12), a version (6.18.5), `newest`, or a series and what to build it with (7.3+kasan,lockdep)"
    )]
    Word(String),
    /// A version and instruments: the archive keeps one version's sources for a series.
    #[error(
        "`{0}` cannot be built: name a series (7.3+kasan), whose sources the archive has in one version"
    )]
    ExactBuilt(String),
    /// Instruments that do not exist.
    #[error(transparent)]
    Instrument(#[from] InstrumentError),
}

impl KernelSpec {
    /// Reads `6.12`, `6.18.5`, `newest` or `7.3+kasan,lockdep`.
    pub fn parse(text: &str) -> Result<KernelSpec, SpecError> {
        if let Some((base, with)) = text.split_once('+').filter(|(base, _)| !base.is_empty()) {
            let series = match KernelSpec::parse(base)? {
                KernelSpec::Series(major, minor) => Some((major, minor)),
                KernelSpec::Newest => None,
                _ => return Err(SpecError::ExactBuilt(text.to_owned())),
            };
            return Ok(KernelSpec::Built { series, with: Instruments::parse(with)? });
        }
        if text == "newest" {
            return Ok(KernelSpec::Newest);
        }
        let bad = || SpecError::Word(text.to_owned());
        let digits = |part: &str| -> Option<u32> {
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten()
        };
        let numbers: Option<Vec<u32>> = text.split('.').map(digits).collect();
        match numbers.ok_or_else(bad)?.as_slice() {
            [major, minor] => Ok(KernelSpec::Series(*major, *minor)),
            [major, minor, patch] => Ok(KernelSpec::Exact(*major, *minor, *patch)),
            _ => Err(bad()),
        }
    }
}

impl std::str::FromStr for KernelSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<KernelSpec, SpecError> {
        KernelSpec::parse(text)
    }
}

impl fmt::Display for KernelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelSpec::Series(major, minor) => write!(f, "{major}.{minor}"),
            KernelSpec::Exact(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
            KernelSpec::Newest => f.write_str("newest"),
            KernelSpec::Files { bzimage, .. } => write!(f, "{}", bzimage.display()),
            KernelSpec::Built { series: Some((major, minor)), with } => {
                write!(f, "{major}.{minor}+{with}")
            }
            KernelSpec::Built { series: None, with } => write!(f, "newest+{with}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("6.12", KernelSpec::Series(6, 12))]
    #[case("7.3", KernelSpec::Series(7, 3))]
    #[case("6.18.5", KernelSpec::Exact(6, 18, 5))]
    #[case("newest", KernelSpec::Newest)]
    fn words_that_name_a_kernel(#[case] text: &str, #[case] spec: KernelSpec) {
        assert_eq!(KernelSpec::parse(text).unwrap(), spec);
        assert_eq!(spec.to_string(), text);
    }

    #[test]
    fn words_that_name_a_kernel_to_build() {
        let with = Instruments::parse("kasan,lockdep").unwrap();
        let spec = KernelSpec::parse("7.3+lockdep,kasan").unwrap();
        assert_eq!(spec, KernelSpec::Built { series: Some((7, 3)), with });
        assert_eq!(spec.to_string(), "7.3+kasan,lockdep");
        assert_eq!(KernelSpec::parse("newest+gcov").unwrap().to_string(), "newest+gcov");
        let exact = KernelSpec::parse("7.3.4+kasan").unwrap_err();
        assert!(exact.to_string().contains("name a series"), "{exact}");
        assert!(KernelSpec::parse("7.3+fast").unwrap_err().to_string().contains("`fast`"));
        assert!(KernelSpec::parse("7.3+gcov+kasan").is_err());
    }

    #[rstest]
    #[case("")]
    #[case("6")]
    #[case("6.")]
    #[case("6.12.")]
    #[case("+6.12")]
    #[case("6.12.1.2")]
    #[case("latest")]
    #[case("6.12-rc1")]
    #[case("99999999999.1")]
    fn words_that_do_not(#[case] text: &str) {
        let error = KernelSpec::parse(text).unwrap_err().to_string();
        assert!(error.contains(&format!("`{text}`")) && error.contains("6.12"), "{error}");
    }
}
