//! How a user names a kernel. People think in series (`6.12`), bisect with exact versions
//! (`6.18.5`), and develop with a build of their own; all three come in as one word or two paths.

use std::fmt;
use std::path::PathBuf;

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
}

/// A word that names no kernel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` names no kernel: use a series (6.12), a version (6.18.5) or `newest`")]
pub struct SpecError(pub String);

impl KernelSpec {
    /// Reads `6.12`, `6.18.5` or `newest`.
    pub fn parse(text: &str) -> Result<KernelSpec, SpecError> {
        if text == "newest" {
            return Ok(KernelSpec::Newest);
        }
        let bad = || SpecError(text.to_owned());
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
