//! The peers' programs: fetched and built here where this machine can, and a printed reason where it cannot.

use std::path::{Path, PathBuf};

use vmimage::initramfs::Content;
use vmimage::userland::GuestFile;

use crate::cli::SourceArgs;
use crate::error::Error;
use crate::perf::{libublk, rublk};
use crate::prepare::{Workshop, cache_dir};
use crate::progress::Terminal;
use crate::workspace;

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Ublk,
    Kublk,
    LibublkNull,
    LibublkFile,
    LibublkRam,
    Rublk,
}

impl Program {
    /// Where it is in the guest.
    pub(super) const fn guest(self) -> &'static str {
        match self {
            // Not `/bin/ublk`, which is built for a short wait instead of speed.
            Self::Ublk => "/opt/perf/ublk",
            Self::Kublk => "/opt/perf/kublk",
            Self::LibublkNull => "/opt/perf/libublk-null",
            Self::LibublkFile => "/opt/perf/libublk-loop",
            Self::LibublkRam => "/opt/perf/libublk-ramdisk",
            Self::Rublk => "/opt/perf/rublk",
        }
    }
}

/// What is needed of a peer, or why it is not there.
pub(crate) type Had<T> = Result<T, String>;

/// A program with its release.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// Everything that a run has to start with.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) ublk: PathBuf,
    pub(crate) kublk: Had<Built>,
    pub(crate) libublk: Had<libublk::Libublk>,
    pub(crate) rublk: Had<Built>,
    /// `nbd-server` and `nbd-client`; nothing but whether they are in the guest.
    pub(crate) nbd: Had<()>,
    /// A `losetup` that can ask for direct I/O.
    pub(crate) losetup: Had<()>,
}

impl Peers {
    /// Builds or fetches everybody. Only ours has to be there.
    pub(crate) fn gather(
        workshop: &mut Workshop,
        sources: &SourceArgs,
        progress: &Terminal,
    ) -> Result<Self, Error> {
        progress.doing("build: ublk as it is shipped, optimised across crates");
        let ublk = workspace::build_measured_ublk()?;
        let had = |who: &str, why: String| {
            progress.line(&format!("note: {who} is skipped: {why}"));
            why
        };
        progress.doing("build: kublk, from the kernel's sources");
        let kublk = vmimage::selftests::kublk(workshop.archive(), None)
            .map(|found| Built { path: found.kublk, version: found.series })
            .map_err(|error| had("kublk", error.to_string()));
        let cache = cache_dir(sources);
        progress.doing(&format!("build: libublk {}", libublk::VERSION));
        let libublk = libublk::build(&cache).map_err(|error| had("libublk", error.to_string()));
        progress.doing(&format!("build: rublk {}", rublk::VERSION));
        let rublk = rublk::build(&cache)
            .map(|path| Built { path, version: rublk::VERSION.to_owned() })
            .map_err(|error| had("rublk", error.to_string()));
        progress.doing("fetch: nbd-server, nbd-client, losetup");
        let nbd = [("nbd-server", "nbd-server"), ("nbd-client", "nbd-client")];
        let nbd = workshop.add_tools(&nbd).map_err(|error| had("nbd", error.to_string()));
        let losetup = workshop
            .add_tools(&[("mount", "losetup")])
            .map_err(|error| had("loop with direct I/O", error.to_string()));
        Ok(Self { ublk, kublk, libublk, rublk, nbd, losetup })
    }

    /// Path and release of a program, or why there is none.
    pub(super) fn program(&self, program: Program) -> Had<Built> {
        let of_libublk = |path: fn(&libublk::Libublk) -> &PathBuf| {
            let found = self.libublk.as_ref().map_err(String::clone)?;
            Ok(Built { path: path(found).clone(), version: libublk::VERSION.to_owned() })
        };
        match program {
            Program::Ublk => {
                Ok(Built { path: self.ublk.clone(), version: env!("CARGO_PKG_VERSION").to_owned() })
            }
            Program::Kublk => self.kublk.clone(),
            Program::LibublkNull => of_libublk(|found| &found.null),
            Program::LibublkFile => of_libublk(|found| &found.file),
            Program::LibublkRam => of_libublk(|found| &found.ram),
            Program::Rublk => self.rublk.clone(),
        }
    }

    /// What goes into the guest image, beside what is always in it.
    pub(crate) fn guest_files(&self) -> Vec<GuestFile> {
        use Program::{Kublk, LibublkFile, LibublkNull, LibublkRam, Rublk, Ublk};
        let file = |program: Program, path: &Path| {
            let content = Content::Path(path.to_owned());
            GuestFile { guest: program.guest().to_owned(), content, mode: 0o755 }
        };
        let all = [Ublk, Kublk, LibublkNull, LibublkFile, LibublkRam, Rublk];
        let found =
            all.into_iter().filter_map(|program| Some((program, self.program(program).ok()?)));
        found.map(|(program, built)| file(program, &built.path)).collect()
    }
}
