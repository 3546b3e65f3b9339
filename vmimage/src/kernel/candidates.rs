//! Which kernels an archive really has. An index lists image packages whose modules have been
//! removed, metapackages that look like images, and release candidates next to releases; this module
//! turns package records into releases and says of each whether it is whole.

use std::cmp::Ordering;

use super::KernelSpec;
use crate::arch::Arch;
use crate::archive::{Record, version};

/// One kernel release in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The release as `uname -r` will print it (`6.12.117+deb13-cloud-amd64`).
    pub release: String,
    /// The Debian version of its packages.
    pub version: String,
    /// The family whose index lists it.
    pub family: String,
    /// The size of its pages, in KiB.
    pub page_kib: u32,
    /// What to download: the image first.
    pub packages: Vec<Record>,
    /// Packages it needs that the archive no longer has. Empty means whole.
    pub missing: Vec<String>,
}

impl Candidate {
    /// The numbers of its upstream version: `[6, 12, 117]`.
    pub fn numbers(&self) -> Vec<u32> {
        let upstream = version::upstream(&self.version);
        let numeric = upstream.split(|c: char| c != '.' && !c.is_ascii_digit()).next();
        numeric.unwrap_or_default().split('.').filter_map(|n| n.parse().ok()).collect()
    }

    /// Whether it is a release candidate.
    pub fn is_rc(&self) -> bool {
        version::upstream(&self.version).contains("~rc")
    }

    /// Whether nothing it needs is missing.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether `spec` means this kernel, or one that this one competes with.
    pub fn matches(&self, spec: &KernelSpec) -> bool {
        self.page_kib == spec.page_kib() && self.is_version(spec)
    }

    fn is_version(&self, spec: &KernelSpec) -> bool {
        let numbers = self.numbers();
        let at = |i: usize| numbers.get(i).copied().unwrap_or(0);
        match spec {
            KernelSpec::Series(major, minor) => (at(0), at(1)) == (*major, *minor),
            KernelSpec::Exact(major, minor, patch) => {
                (at(0), at(1), at(2)) == (*major, *minor, *patch) && !self.is_rc()
            }
            KernelSpec::Newest => true,
            KernelSpec::Paged { of, .. } => self.is_version(of),
            KernelSpec::Files { .. } | KernelSpec::Built { .. } => false,
        }
    }

    /// Worse to better: releases beat candidates, then the higher version, then the signed image.
    pub fn order(&self, other: &Candidate) -> Ordering {
        let signed =
            |c: &Candidate| !c.packages.first().is_some_and(|p| p.name.contains("-unsigned"));
        (!self.is_rc())
            .cmp(&!other.is_rc())
            .then_with(|| version::compare(&self.version, &other.version))
            .then_with(|| signed(self).cmp(&signed(other)))
    }
}

/// The releases that the records of one family amount to.
pub fn of_records(arch: Arch, family: &str, records: &[Record]) -> Vec<Candidate> {
    let find = |name: &str, version: &str| {
        records.iter().find(|r| r.name == name && r.version == version).cloned()
    };
    let mut found: Vec<Candidate> = Vec::new();
    for image in records {
        let Some((stem, release)) = split_name(&image.name) else { continue };
        let modules = format!("linux-modules-{release}");
        let needs_modules = match stem {
            "binary" => true,
            // From 6.19 Debian's linux-image is a metapackage, as `linux-image-6.12-cloud-amd64` is.
            "image" if is_meta(image) => continue,
            "image" => image.depends.contains(&modules),
            _ => continue,
        };
        let mut candidate = Candidate {
            release: release.to_owned(),
            version: image.version.clone(),
            family: family.to_owned(),
            page_kib: arch.facts().page_kib_of(release),
            packages: vec![image.clone()],
            missing: Vec::new(),
        };
        if needs_modules {
            match find(&modules, &image.version) {
                Some(record) => candidate.packages.push(record),
                None => candidate.missing.push(modules),
            }
            // The configuration file (Debian) and less common modules (Ubuntu): used where there.
            for optional in
                [format!("linux-base-{release}"), format!("linux-modules-extra-{release}")]
            {
                candidate.packages.extend(find(&optional, &image.version));
            }
        }
        if !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

fn is_meta(image: &Record) -> bool {
    image.depends.iter().any(|d| d.starts_with("linux-binary-") || d.starts_with("linux-image-"))
}

/// `linux-image-unsigned-R`, `linux-image-R-unsigned` and `linux-image-R` are `("image", R)`.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix("linux-")?;
    let (stem, rest) = rest.split_at(rest.find('-')?);
    let rest = rest.strip_prefix("-unsigned").unwrap_or(rest).strip_prefix('-')?;
    let release = rest.strip_suffix("-unsigned").unwrap_or(rest);
    release.starts_with(|c: char| c.is_ascii_digit()).then_some((stem, release))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, version: &str, depends: &[&str]) -> Record {
        Record {
            name: name.into(),
            version: version.into(),
            depends: depends.iter().map(|d| (*d).to_owned()).collect(),
            size_bytes: 1,
            installed_bytes: 1,
            sha256: "0".into(),
        }
    }

    fn index() -> Vec<Candidate> {
        let r = record;
        of_records(
            Arch::X86_64,
            "sid",
            &[
                // One package, signed and unsigned; and the metapackage of the series.
                r("linux-image-6.12.117+deb13-cloud-amd64", "6.12.117-1", &["kmod"]),
                r("linux-image-6.12.117+deb13-cloud-amd64-unsigned", "6.12.117-1", &["kmod"]),
                r("linux-image-6.12.9+deb13-cloud-amd64", "6.12.9-1", &["kmod"]),
                r(
                    "linux-image-6.12-cloud-amd64",
                    "6.12.117-1",
                    &["linux-image-6.12.117+deb13-cloud-amd64"],
                ),
                r("linux-image-6.1.0-47-cloud-amd64", "6.1.170-1", &["kmod"]),
                // Two packages.
                r(
                    "linux-image-7.3.4+deb13-cloud-amd64",
                    "7.3.4-1",
                    &["linux-binary-7.3.4+deb13-cloud-amd64"],
                ),
                r("linux-binary-7.3.4+deb13-cloud-amd64", "7.3.4-1", &[]),
                r("linux-modules-7.3.4+deb13-cloud-amd64", "7.3.4-1", &[]),
                r("linux-base-7.3.4+deb13-cloud-amd64", "7.3.4-1", &[]),
                r("linux-binary-7.3-cloud-amd64", "7.3~rc7-1~exp1", &[]),
                r("linux-modules-7.3-cloud-amd64", "7.3~rc7-1~exp1", &[]),
                // Modules gone, or of another version.
                r("linux-binary-7.1.13+deb13-cloud-amd64", "7.1.13-1", &[]),
                r("linux-binary-7.2.6+deb13-cloud-amd64", "7.2.6-1", &[]),
                r("linux-modules-7.2.6+deb13-cloud-amd64", "7.2.6-1~bpo13+1", &[]),
                // A candidate of a series that has no release yet.
                r("linux-binary-7.4-cloud-amd64", "7.4~rc1-1~exp1", &[]),
                r("linux-modules-7.4-cloud-amd64", "7.4~rc1-1~exp1", &[]),
                // Ubuntu.
                r(
                    "linux-image-unsigned-6.8.0-45-generic",
                    "6.8.0-45.45",
                    &["linux-modules-6.8.0-45-generic"],
                ),
                r("linux-modules-6.8.0-45-generic", "6.8.0-45.45", &[]),
                r("linux-modules-extra-6.8.0-45-generic", "6.8.0-45.45", &[]),
            ],
        )
    }

    fn best(spec: &str) -> Option<Candidate> {
        let spec = KernelSpec::parse(spec).unwrap();
        index().into_iter().filter(|c| c.matches(&spec) && c.is_whole()).max_by(Candidate::order)
    }

    #[test]
    fn the_newest_whole_signed_one_of_a_series() {
        let found = best("6.12").unwrap();
        assert_eq!(found.release, "6.12.117+deb13-cloud-amd64");
        assert_eq!(found.packages.len(), 1);
        assert!(!found.packages[0].name.ends_with("unsigned"));
        assert_eq!(best("6.1").unwrap().numbers(), [6, 1, 170]);
    }

    #[test]
    fn two_package_layout_brings_modules_and_config() {
        let found = best("7.3").unwrap();
        let names: Vec<_> = found.packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64",
                "linux-base-7.3.4+deb13-cloud-amd64"
            ]
        );
    }

    #[test]
    fn a_release_candidate_loses_to_any_release_and_wins_where_it_is_alone() {
        assert_eq!(best("newest").unwrap().release, "7.3.4+deb13-cloud-amd64");
        assert_eq!(best("7.4").unwrap().release, "7.4-cloud-amd64");
        assert_eq!(best("7.3.0"), None);
    }

    #[test]
    fn a_release_without_its_modules_is_not_whole() {
        assert_eq!(best("7.1"), None);
        assert_eq!(best("7.2"), None);
        let spec = KernelSpec::parse("7.1.13").unwrap();
        let found = index().into_iter().find(|c| c.matches(&spec)).unwrap();
        assert_eq!(found.missing, ["linux-modules-7.1.13+deb13-cloud-amd64"]);
    }

    #[test]
    fn large_pages_are_taken_only_where_they_are_named() {
        let releases = ["7.3.4+deb13-cloud-arm64", "7.3.4+deb13-arm64-16k"];
        let records: Vec<_> = ["binary", "modules"]
            .iter()
            .flat_map(|stem| releases.map(|release| format!("linux-{stem}-{release}")))
            .map(|name| record(&name, "7.3.4-1", &[]))
            .collect();
        let all = of_records(Arch::Aarch64, "sid", &records);
        let of = |spec: &str| {
            let spec = KernelSpec::parse(spec).unwrap();
            let found = all.iter().filter(|c| c.matches(&spec) && c.is_whole());
            found.map(|c| c.release.as_str()).collect::<Vec<_>>()
        };
        for spec in ["7.3", "7.3.4", "newest", "7.3+4k"] {
            assert_eq!(of(spec), ["7.3.4+deb13-cloud-arm64"], "{spec}");
        }
        for spec in ["7.3+16k", "7.3.4+16k", "newest+16k"] {
            assert_eq!(of(spec), ["7.3.4+deb13-arm64-16k"], "{spec}");
        }
        assert!(of("7.3+64k").is_empty());
    }

    #[test]
    fn ubuntu_names() {
        let found = best("6.8").unwrap();
        assert_eq!(found.release, "6.8.0-45-generic");
        assert_eq!(found.packages.len(), 3);
    }
}
