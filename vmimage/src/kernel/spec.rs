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
    /// One of the archive's with larger pages than usual: `7.3+16k`.
    Paged {
        /// Which one, by its version.
        of: Box<KernelSpec>,
        /// The size of its pages, in KiB.
        page_kib: u32,
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
        "`{0}` names no kernel: use a series (6.12), a version (6.18.5), `newest`, or a series and what to build it with (7.3+kasan,lockdep) or the size of its pages (7.3+16k)"
    )]
    Word(String),
    /// A version and instruments: the archive keeps one version's sources for a series.
    #[error(
        "`{0}` cannot be built: name a series (7.3+kasan), whose sources the archive has in one version"
    )]
    ExactBuilt(String),
    /// A size of pages that no kernel has, or one with something beside it.
    #[error(
        "`{0}` names no pages: the size is 4k, 16k or 64k, and nothing stands beside it (7.3+16k)"
    )]
    Pages(String),
    /// Instruments that do not exist.
    #[error(transparent)]
    Instrument(#[from] InstrumentError),
}

/// The pages of a kernel that is named without any.
const PAGE_KIB_DEFAULT: u32 = 4;

/// Words for sizes of pages.
const PAGES: [(&str, u32); 3] = [("4k", PAGE_KIB_DEFAULT), ("16k", 16), ("64k", 64)];

/// Whether somebody meant a size of pages: `8k`.
fn is_size(word: &str) -> bool {
    let digits = word.strip_suffix('k').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl KernelSpec {
    /// Reads `6.12`, `6.18.5`, `newest`, `7.3+16k` or `7.3+kasan,lockdep`.
    pub fn parse(text: &str) -> Result<KernelSpec, SpecError> {
        if let Some((base, with)) = text.split_once('+').filter(|(base, _)| !base.is_empty()) {
            if let Some((_, page_kib)) = PAGES.iter().find(|(word, _)| *word == with) {
                let of = Box::new(KernelSpec::parse(base)?);
                return Ok(KernelSpec::Paged { of, page_kib: *page_kib });
            }
            if with.split([',', '+']).any(is_size) {
                return Err(SpecError::Pages(text.to_owned()));
            }
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

impl KernelSpec {
    /// The size of its pages in KiB, where that decides which kernel is meant.
    #[must_use]
    pub fn page_kib(&self) -> u32 {
        match self {
            KernelSpec::Paged { page_kib, .. } => *page_kib,
            _ => PAGE_KIB_DEFAULT,
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
            KernelSpec::Paged { of, page_kib } => write!(f, "{of}+{page_kib}k"),
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
    fn words_that_name_a_size_of_pages() {
        let of = |text| Box::new(KernelSpec::parse(text).unwrap());
        for (text, base) in [("7.3+16k", "7.3"), ("6.18.5+64k", "6.18.5"), ("newest+4k", "newest")]
        {
            let spec = KernelSpec::parse(text).unwrap();
            assert!(matches!(&spec, KernelSpec::Paged { of: base_of, .. } if *base_of == of(base)));
            assert_eq!(spec.to_string(), text);
        }
        assert_eq!(KernelSpec::parse("7.3+16k").unwrap().page_kib(), 16);
        for wrong in ["7.3+8k", "7.3+16k+kasan", "7.3+16k,kasan", "+16k", "x+16k"] {
            assert!(KernelSpec::parse(wrong).is_err(), "{wrong}");
        }
        let error = KernelSpec::parse("7.3+16k,kasan").unwrap_err().to_string();
        assert!(error.contains("nothing stands beside it"), "{error}");
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
