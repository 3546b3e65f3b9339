//! What a matrix is going to be, written down before it begins: whoever goes on with it tomorrow does the same, or is told
//! the one thing that is not the same any more.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::workspace;

/// Version of the file; another one is not gone on with.
const FORMAT: u32 = 1;
const NAME: &str = "course.json";

/// What a matrix is going to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Course {
    pub(crate) format: u32,
    /// Commit of the tree; nothing outside a git checkout.
    pub(crate) commit: Option<String>,
    /// Whether the tree had local changes: then nobody knows what it held.
    pub(crate) dirty: bool,
    pub(crate) seed: u64,
    pub(crate) kernels: Vec<Kernel>,
    /// Whose server is tested, as it was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// The scenarios, in the order in which they run.
    pub(crate) scenarios: Vec<String>,
}

/// One kernel of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kernel {
    /// As it was typed.
    pub(crate) spec: String,
    /// What that meant: a release; of a file the hash of its content. Nothing where it could not be found.
    pub(crate) identity: Option<String>,
}

impl Course {
    /// Of this tree as it is.
    pub(crate) fn new(
        seed: u64,
        kernels: Vec<Kernel>,
        server: Option<String>,
        scenarios: Vec<String>,
    ) -> Self {
        let (commit, dirty) = workspace::commit();
        let commit = Some(commit).filter(|commit| commit != "unknown");
        Self { format: FORMAT, commit, dirty, seed, kernels, server, scenarios }
    }

    /// The course in `folder`, if one was begun there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let wrong = |error: &dyn std::fmt::Display| {
            Error::usage(format!("cannot go on with {}: {}: {error}", folder.display(), NAME))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
        let course: Self = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        if course.format != FORMAT {
            return Err(wrong(&format_args!("it has format {}, not {FORMAT}", course.format)));
        }
        Ok(Some(course))
    }

    /// Writes it down in `folder`.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(Error::infrastructure)? + "\n";
        reports::write_file(&path(folder), text.as_bytes()).map(drop).map_err(Error::infrastructure)
    }

    /// Whether what this course has done may be kept for `now`.
    ///
    /// # Errors
    /// The first thing that differs, in a line.
    pub(crate) fn agrees(&self, now: &Self, folder: &Path) -> Result<(), Error> {
        let commit = |course: &Self| course.commit.clone().unwrap_or_else(|| "unknown".to_owned());
        let seed = |course: &Self| format!("{:#x}", course.seed);
        let kernels = |course: &Self| {
            let names: Vec<&str> = course.kernels.iter().map(|k| k.spec.as_str()).collect();
            names.join(" ")
        };
        let differs = |what: &str, was: String, is: String| {
            Error::usage(format!(
                "cannot go on with {}: its {what} {was}, now {is}; name another --output",
                folder.display()
            ))
        };
        let server =
            |course: &Self| course.server.clone().unwrap_or_else(|| "not named".to_owned());
        for (what, was, is) in [
            ("server was", server(self), server(now)),
            ("commit was", commit(self), commit(now)),
            ("seed was", seed(self), seed(now)),
            ("kernels were", kernels(self), kernels(now)),
        ] {
            if was != is {
                return Err(differs(what, was, is));
            }
        }
        if self.dirty || now.dirty {
            return Err(Error::usage(format!(
                "cannot go on with {}: the tree {} local changes, and nobody knows whether they are the same; name another --output",
                folder.display(),
                if self.dirty { "had" } else { "has" },
            )));
        }
        if self.scenarios != now.scenarios {
            let count = |course: &Self| format!("{}", course.scenarios.len());
            return Err(differs("scenarios were other ones,", count(self), count(now)));
        }
        for (was, is) in self.kernels.iter().zip(&now.kernels) {
            if was.identity != is.identity {
                let name = |kernel: &Kernel| {
                    kernel.identity.clone().unwrap_or_else(|| "not to be had".to_owned())
                };
                return Err(differs(&format!("kernel {} was", was.spec), name(was), name(is)));
            }
        }
        Ok(())
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        let kernel = |spec: &str, identity: &str| Kernel {
            spec: spec.into(),
            identity: Some(identity.into()),
        };
        Course {
            format: FORMAT,
            commit: Some("abc".into()),
            dirty: false,
            seed: 7,
            kernels: vec![kernel("6.12", "6.12.117-a"), kernel("7.3", "7.3.4-a")],
            server: None,
            scenarios: vec!["a/b".into()],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Course::load(folder.path()).unwrap(), None);
        course().save(folder.path()).unwrap();
        assert_eq!(Course::load(folder.path()).unwrap(), Some(course()));
        std::fs::write(path(folder.path()), "{\"format\": 1").unwrap();
        let line = Course::load(folder.path()).unwrap_err().to_string();
        assert!(line.contains("cannot go on with") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn whatever_differs_is_said_in_one_line() {
        type Change = fn(&mut Course);
        let changes: [(&str, Change); 8] = [
            ("its server was not named, now rublk", |c| c.server = Some("rublk".into())),
            ("its commit was abc, now def", |c| c.commit = Some("def".into())),
            ("its seed was 0x7, now 0x8", |c| c.seed = 8),
            ("its kernels were 6.12 7.3, now 6.12", |c| c.kernels.truncate(1)),
            ("the tree has local changes", |c| c.dirty = true),
            ("its scenarios were other ones, 1, now 2", |c| c.scenarios.push("a/c".into())),
            ("its kernel 7.3 was 7.3.4-a, now 7.3.5-a", |c| {
                c.kernels[1].identity = Some("7.3.5-a".into());
            }),
            ("its kernel 6.12 was 6.12.117-a, now not to be had", |c| c.kernels[0].identity = None),
        ];
        let folder = Path::new("out");
        course().agrees(&course(), folder).unwrap();
        for (says, change) in changes {
            let mut now = course();
            change(&mut now);
            let error = course().agrees(&now, folder).unwrap_err();
            let line = error.to_string();
            assert!(line.contains(says) && !line.contains('\n'), "{line}");
            assert_eq!(error.code, reports::report::ExitCode::Usage);
        }
        let mut before = course();
        before.dirty = true;
        assert!(before.agrees(&course(), folder).is_err());
    }
}
