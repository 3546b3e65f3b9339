//! Which archive to use, when it is not the one the machine is configured for: a mirror near a CI
//! runner, another distribution's, a snapshot.

use std::path::PathBuf;

/// An archive named by hand. Empty means "what this machine's apt is configured for".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveSpec {
    /// Base URI of the archive, the part before `dists/`.
    pub uri: Option<String>,
    /// The suite or codename below `dists/`.
    pub suite: Option<String>,
    /// The keyring that its Release file is signed with.
    pub keyring: Option<PathBuf>,
}

impl ArchiveSpec {
    /// What `UBLK_ARCHIVE`, `UBLK_SUITE` and `UBLK_KEYRING` say.
    pub fn from_env() -> ArchiveSpec {
        let text = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        ArchiveSpec {
            uri: text("UBLK_ARCHIVE"),
            suite: text("UBLK_SUITE"),
            keyring: text("UBLK_KEYRING").map(PathBuf::from),
        }
    }

    /// This specification, with what it leaves open taken from `fallback`.
    pub fn or(self, fallback: ArchiveSpec) -> ArchiveSpec {
        ArchiveSpec {
            uri: self.uri.or(fallback.uri),
            suite: self.suite.or(fallback.suite),
            keyring: self.keyring.or(fallback.keyring),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_wins_over_the_environment() {
        let typed = ArchiveSpec { suite: Some("sid".into()), ..Default::default() };
        let env = ArchiveSpec {
            uri: Some("file:/mirror".into()),
            suite: Some("trixie".into()),
            keyring: None,
        };
        let both = typed.or(env);
        assert_eq!(both.uri.as_deref(), Some("file:/mirror"));
        assert_eq!(both.suite.as_deref(), Some("sid"));
    }
}
