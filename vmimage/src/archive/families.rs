//! Splits an archive into families, each one release with its updates. A kernel may come from any of
//! them, but a program and its libraries must come from one: mixing two releases in one resolution
//! gives a libc that is newer than the rest.

use std::path::{Path, PathBuf};

use super::sources::Source;
use super::spec::ArchiveSpec;

/// A release that packages are resolved in, with its updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The codename of the release (`trixie`), or the suite named by hand.
    pub name: String,
    /// Its archive entries; the first suite of the first is the release itself.
    pub sources: Vec<Source>,
}

impl Family {
    /// The suite of the release itself, without which the family is of no use.
    pub fn base_suite(&self) -> &str {
        self.sources.first().and_then(|s| s.suites.first()).map_or(&self.name, String::as_str)
    }
}

/// What `/etc/os-release` says about the distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Ubuntu or a derivative of it, against Debian or a derivative of it.
    pub ubuntu: bool,
    /// The codename of the release it is or is made from.
    pub codename: String,
}

impl Distribution {
    /// Reads the text of an os-release file. `None` where it names no Debian or Ubuntu release.
    pub fn parse(os_release: &str) -> Option<Distribution> {
        let value = |name: &str| {
            os_release.lines().find_map(|line| {
                let value = line.strip_prefix(name)?.strip_prefix('=')?;
                Some(value.trim_matches(['"', '\'']).to_owned())
            })
        };
        if let Some(codename) = value("UBUNTU_CODENAME") {
            return Some(Distribution { ubuntu: true, codename });
        }
        if let Some(codename) = value("DEBIAN_CODENAME") {
            return Some(Distribution { ubuntu: false, codename });
        }
        let ubuntu = match value("ID")?.as_str() {
            "debian" => false,
            "ubuntu" => true,
            _ => return None,
        };
        Some(Distribution { ubuntu, codename: value("VERSION_CODENAME")? })
    }

    fn keyring(&self) -> Option<PathBuf> {
        let name = if self.ubuntu { "ubuntu" } else { "debian" };
        ["gpg", "pgp"]
            .iter()
            .map(|ext| PathBuf::from(format!("/usr/share/keyrings/{name}-archive-keyring.{ext}")))
            .find(|path| path.exists())
    }

    /// Codenames of this release and the newer ones, oldest first. A codename that is not in the
    /// table (a release newer than this file) is followed by what has no codename.
    fn releases(&self) -> Vec<String> {
        let table: &[&str] = if self.ubuntu {
            &["jammy", "noble", "questing", "resolute"]
        } else {
            &["bullseye", "bookworm", "trixie", "forky"]
        };
        let from = table.iter().position(|c| *c == self.codename);
        let newer = from.map_or(&[][..], |i| &table[i + 1..]);
        std::iter::once(self.codename.as_str())
            .chain(newer.iter().copied())
            .map(str::to_owned)
            .collect()
    }
}

/// The families of an archive named by hand: one.
pub(super) fn of_spec(spec: &ArchiveSpec, uri: &str, suite: &str) -> Vec<Family> {
    let source = Source {
        uris: vec![uri.to_owned()],
        suites: vec![suite.to_owned()],
        // A component that an archive does not have is skipped by apt with a warning.
        components: vec!["main".into(), "universe".into()],
        signed_by: spec.keyring.as_ref().map(|k| k.display().to_string()),
    };
    vec![Family { name: suite.to_owned(), sources: vec![source] }]
}

/// The families of the archive a machine is configured for: its own release, then newer ones, oldest
/// first. `None` where no configured source serves the distribution's release.
pub(super) fn of_machine(
    distribution: &Distribution,
    configured: &[Source],
) -> Option<Vec<Family>> {
    let find = |security: bool| {
        configured.iter().find_map(|source| {
            let uri = source.uris.iter().find(|uri| !uri.starts_with("cdrom:"))?;
            let serves = |s: &String| serves(s, &distribution.codename, security);
            source.suites.iter().any(serves).then(|| (uri.clone(), source.signed_by.clone()))
        })
    };
    let main = find(false)?;
    // Ubuntu's main archive carries -security too; Debian's does not.
    let security = find(true).or_else(|| distribution.ubuntu.then(|| main.clone()));
    let components: &[&str] = if distribution.ubuntu { &["main", "universe"] } else { &["main"] };
    let source = |at: &(String, Option<String>), suites: Vec<String>| Source {
        uris: vec![at.0.clone()],
        suites,
        components: components.iter().map(|c| (*c).to_owned()).collect(),
        signed_by: at
            .1
            .clone()
            .or_else(|| distribution.keyring().map(|path| path.display().to_string())),
    };
    let mut families: Vec<Family> = distribution
        .releases()
        .into_iter()
        .map(|name| {
            let with = |suffix: &str| format!("{name}-{suffix}");
            let suites = vec![name.clone(), with("updates"), with("backports")];
            let mut sources = vec![source(&main, suites)];
            sources.extend(security.as_ref().map(|s| source(s, vec![with("security")])));
            Family { name, sources }
        })
        .collect();
    let rolling: &[&[&str]] =
        if distribution.ubuntu { &[&["devel"]] } else { &[&["sid"], &["experimental", "sid"]] };
    for suites in rolling {
        let names: Vec<String> = suites.iter().map(|s| (*s).to_owned()).collect();
        families.push(Family { name: names[0].clone(), sources: vec![source(&main, names)] });
    }
    Some(families)
}

/// Whether an entry for `suite` is one for the release `codename`, or for an alias that moves
/// (`stable`), whose URI serves every release.
fn serves(suite: &str, codename: &str, security: bool) -> bool {
    const ALIASES: [&str; 6] = ["oldstable", "stable", "testing", "unstable", "sid", "devel"];
    const SUFFIXES: [&str; 3] = ["-updates", "-backports", "-proposed"];
    let (base, is_security) =
        match suite.strip_suffix("-security").or(suite.strip_suffix("/updates")) {
            Some(base) => (base, true),
            None => (SUFFIXES.iter().find_map(|s| suite.strip_suffix(s)).unwrap_or(suite), false),
        };
    is_security == security && (base == codename || ALIASES.contains(&base))
}

/// Whether a source file of apt is read: apt ignores every other extension.
pub(super) fn is_source_file(path: &Path) -> bool {
    matches!(path.extension().and_then(|e| e.to_str()), Some("list" | "sources"))
}

#[cfg(test)]
mod tests {
    use super::super::sources::parse_one_line;
    use super::*;

    fn suites(family: &Family) -> Vec<String> {
        family.sources.iter().flat_map(|s| s.suites.clone()).collect()
    }

    #[test]
    fn os_release_of_debian_ubuntu_a_derivative_and_another() {
        let debian = Distribution::parse("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
        assert_eq!(debian, Distribution { ubuntu: false, codename: "bookworm".into() });
        let mint = "ID=linuxmint\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=\"noble\"\n";
        let mint = Distribution::parse(mint).unwrap();
        assert_eq!(mint, Distribution { ubuntu: true, codename: "noble".into() });
        assert_eq!(Distribution::parse("ID=fedora\nVERSION_CODENAME=\"\"\n"), None);
    }

    #[test]
    fn debian_families_start_at_the_machines_own_and_end_at_experimental() {
        let debian = Distribution { ubuntu: false, codename: "bookworm".into() };
        let configured = parse_one_line(
            "deb http://vendor.example/x bookworm-vendor main\n\
             deb [signed-by=/k.gpg] http://a.example/debian bookworm main\n\
             deb http://s.example/security bookworm-security main\n",
        );
        let families = of_machine(&debian, &configured).unwrap();
        let names: Vec<_> = families.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["bookworm", "trixie", "forky", "sid", "experimental"]);
        assert_eq!(
            suites(&families[1]),
            ["trixie", "trixie-updates", "trixie-backports", "trixie-security"]
        );
        assert_eq!(families[1].sources[0].uris, ["http://a.example/debian"]);
        assert_eq!(families[1].sources[0].signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!(families[1].sources[1].uris, ["http://s.example/security"]);
        assert_eq!(suites(&families[4]), ["experimental", "sid"]);
    }

    #[test]
    fn ubuntu_security_falls_back_to_the_main_archive() {
        let ubuntu = Distribution { ubuntu: true, codename: "noble".into() };
        let configured = parse_one_line("deb mirror+file:/m.txt noble main\n");
        let families = of_machine(&ubuntu, &configured).unwrap();
        assert_eq!(families[0].sources[1].suites, ["noble-security"]);
        assert_eq!(families[0].sources[1].uris, ["mirror+file:/m.txt"]);
        assert_eq!(families[0].sources[0].components, ["main", "universe"]);
        assert_eq!(families.last().unwrap().name, "devel");
    }

    #[test]
    fn foreign_sources_are_not_the_distributions_archive() {
        let debian = Distribution { ubuntu: false, codename: "bookworm".into() };
        let configured = parse_one_line(
            "deb http://vendor.example/x nodistro main\ndeb cdrom:[disk]/ bookworm main\n",
        );
        assert_eq!(of_machine(&debian, &configured), None);
    }
}
