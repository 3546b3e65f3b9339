//! The kernel under test, as far as expectations depend on it.
//!
//! What a scenario needs is asked by a probe. What a kernel answers to a wrong command is a fact of its
//! version, and that is what this type is for.

/// `major.minor.patch` of a kernel release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRelease {
    /// 7 in 7.3.4.
    pub major: u32,
    /// 3 in 7.3.4.
    pub minor: u32,
    /// 4 in 7.3.4.
    pub patch: u32,
    /// Whether it was built to prove its locks, as 7.3.4-lockdep.
    pub lockdep: bool,
}

impl KernelRelease {
    /// Reads `uname -r` text as `7.3.4+deb13-cloud-amd64` or `7.3-cloud-amd64`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        let lockdep = text.split('-').any(|word| word == "lockdep");
        Some(Self { major, minor, patch, lockdep })
    }

    /// Whether this kernel is of the series `major.minor` or a later one.
    #[must_use]
    pub fn at_least(self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// Whether this kernel is of exactly the series `major.minor`.
    #[must_use]
    pub fn is_series(self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) == (major, minor)
    }

    /// Where it is written down that this kernel prints a splat with the first pages that are registered in a ring since
    /// boot, whatever is done with them. For [`Scenario::known_bug`](crate::Scenario).
    #[must_use]
    pub fn page_registration_bug(self) -> Option<&'static str> {
        self.is_series(7, 2).then_some("docs/kernel-facts.md, registered pages on 7.2")
    }

    /// Where it is written down that a kernel that proves its locks complains at the first request that is looked up in
    /// shared memory. For [`Scenario::known_bug`](crate::Scenario).
    #[must_use]
    pub fn shared_memory_bug(self) -> Option<&'static str> {
        self.lockdep.then_some("docs/kernel-findings/shmem-lookup-without-rcu.md")
    }

    /// Whether this kernel has a change that came with 7.0 and with the stable release `patch` of 6.12,
    /// and not with the series between them.
    #[must_use]
    pub fn has_backport(self, patch: u32) -> bool {
        self.at_least(7, 0) || (self.is_series(6, 12) && self.patch >= patch)
    }
}

impl std::fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("6.12.107+deb13-cloud-amd64", Some((6, 12, 107)))]
    #[case("7.3-cloud-amd64", Some((7, 3, 0)))]
    #[case("7.3.0-rc7-x", Some((7, 3, 0)))]
    #[case("6", None)]
    #[case("", None)]
    fn releases(#[case] text: &str, #[case] expected: Option<(u32, u32, u32)>) {
        let parsed = KernelRelease::parse(text).map(|k| (k.major, k.minor, k.patch));
        assert_eq!(parsed, expected);
    }

    #[test]
    fn what_a_kernel_of_ours_was_built_with_is_in_its_name() {
        let lockdep = |text| KernelRelease::parse(text).unwrap().lockdep;
        assert!(lockdep("7.3.4-kasan-lockdep-ubsan") && lockdep("7.3.4-lockdep"));
        assert!(!lockdep("7.3.4-kasan") && !lockdep("7.3.4+deb13-cloud-amd64"));
    }

    #[test]
    fn six_twelve_is_before_seven() {
        let kernel = KernelRelease::parse("6.12.107").unwrap();
        assert!(kernel.at_least(6, 12) && kernel.at_least(6, 9) && !kernel.at_least(7, 0));
    }
}
