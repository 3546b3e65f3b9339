//! Names of the kernel's own selftests. They are scripts and not values of the catalogue, yet host and
//! agent have to agree on what `kselftest/test_null_01` means and where it lies in the guest.

use std::fmt;
use std::path::PathBuf;

/// Below this folder of the guest each server has a folder with the scripts and a `kublk`.
pub const GUEST_DIR: &str = "/opt/kselftest";

/// Whose `kublk` lies beside a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Server {
    /// The kernel's own C server: what the scripts were written for.
    Kublk,
    /// Our `ublk`, called by that name.
    Ours,
}

impl Server {
    /// The group of its ids, before the `/`.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Kublk => "kselftest-kublk",
            Self::Ours => "kselftest",
        }
    }

    /// Its folder in the guest.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        PathBuf::from(GUEST_DIR).join(self.group())
    }
}

/// One script with one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selftest {
    /// Whose `kublk`.
    pub server: Server,
    /// The script's name without `.sh`: `test_null_01`.
    pub test: String,
}

impl Selftest {
    /// Reads an id. `None` for ids of the catalogue, and for names that could leave the folder.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let (group, test) = id.split_once('/')?;
        let server = [Server::Kublk, Server::Ours].into_iter().find(|s| s.group() == group)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let legal = test.starts_with("test_") && test.chars().all(legal);
        legal.then(|| Self { server, test: test.to_owned() })
    }

    /// The script in the guest.
    #[must_use]
    pub fn script(&self) -> PathBuf {
        self.server.folder().join(format!("{}.sh", self.test))
    }

    /// The name the script gives itself in its verdict line: `null_01`.
    #[must_use]
    pub fn own_name(&self) -> &str {
        self.test.strip_prefix("test_").unwrap_or(&self.test)
    }
}

impl fmt::Display for Selftest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server.group(), self.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        for server in [Server::Kublk, Server::Ours] {
            let test = Selftest { server, test: "test_null_01".into() };
            assert_eq!(Selftest::parse(&test.to_string()), Some(test));
        }
        for id in ["kselftest/../x", "kselftest/test_a/b", "data/x", "kselftest/", "kselftest"] {
            assert_eq!(Selftest::parse(id), None, "{id}");
        }
    }
}
