//! The program of an adapter, in the guest: built where this tree knows how, else taken from this machine with the libraries
//! it needs.

use std::path::{Path, PathBuf};

use reports::report::ServerFacts;
use scenarios::server::{ServerInput, Source};
use vmimage::arch::Arch;
use vmimage::fsio;
use vmimage::initramfs::Content;
use vmimage::userland::{GuestFile, Userland};

use super::Typed;
use crate::error::Error;
use crate::perf::{libublk, rublk};
use crate::prepare::Workshop;
use crate::progress::Terminal;

/// A server whose program is in every image that the workshop makes from now on.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// What reports say of it.
    pub(crate) facts: ServerFacts,
    input: String,
}

impl Server {
    /// What the guest is told: [`ServerInput`] as JSON.
    pub(crate) fn input(&self) -> &str {
        &self.input
    }
}

/// A program of this machine and where it goes.
struct Found {
    host: PathBuf,
    guest: String,
    version: Option<String>,
}

impl Typed {
    /// Builds or finds the program, and puts it and its files into the workshop's images.
    ///
    /// # Errors
    /// When it cannot be had, with the reason in a line.
    pub(crate) fn provide(
        self,
        workshop: &mut Workshop,
        progress: &Terminal,
    ) -> Result<Server, Error> {
        let name = &self.adapter.name;
        progress.doing(&format!("server {name}: its program"));
        let cannot = |error: Error| error.about(format_args!("server {name}"));
        let found = match self.adapter.program.source {
            Some(source) => built(source, workshop).map_err(cannot)?,
            None => self.taken(workshop).map_err(cannot)?,
        };
        let files = self.adapter.program.files.iter();
        workshop
            .add_guest_files(files.map(|(guest, host)| file(guest, &self.path(host))).collect());
        let facts = ServerFacts {
            name: name.clone(),
            argument: self.argument.clone(),
            version: found.version,
            program_sha256: fsio::sha256_file(&found.host).map_err(Error::infrastructure)?,
        };
        let input = ServerInput { adapter: self.adapter, program: found.guest };
        let input = serde_json::to_string(&input).map_err(Error::infrastructure)?;
        Ok(Server { facts, input })
    }

    /// The program that the adapter's path names. A script is taken as it is: its interpreter is the guest's.
    fn taken(&self, workshop: &mut Workshop) -> Result<Found, Error> {
        let host = self.path(self.adapter.program.path.as_deref().unwrap_or_default());
        let name = format!("server-{}", self.adapter.name);
        let guest = format!("/usr/bin/{name}");
        if starts_with_shebang(&host)? {
            workshop.add_guest_files(vec![file(&guest, &host)]);
        } else {
            let own = Userland::from_host(&host, &name, workshop.arch()).map_err(Error::usage)?;
            workshop.add_userland(own);
        }
        Ok(Found { host, guest, version: None })
    }
}

/// A server that this tree knows how to build.
fn built(source: Source, workshop: &mut Workshop) -> Result<Found, Error> {
    let arch = workshop.arch();
    if source != Source::Ublk && arch != Arch::HOST {
        return Err(Error::usage(format!(
            "that server is not built for {arch}: name a program for it in an adapter, or leave out --arch"
        )));
    }
    let (host, guest, version) = match source {
        // In every image anyway.
        Source::Ublk => {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            let (host, guest) = (workshop.programs()?.ublk, "/bin/ublk".to_owned());
            return Ok(Found { host, guest, version: Some(version) });
        }
        Source::Kublk => {
            let found = vmimage::selftests::kublk(workshop.archive(), None)
                .map_err(Error::infrastructure)?;
            (found.kublk, "/opt/server/kublk", format!("of Linux {}", found.series))
        }
        Source::Rublk => {
            (rublk::build(workshop.cache_root())?, "/opt/server/rublk", rublk::VERSION.to_owned())
        }
        Source::Libublk => (
            libublk::build(workshop.cache_root())?.file,
            "/opt/server/libublk-loop",
            libublk::VERSION.to_owned(),
        ),
    };
    workshop.add_guest_files(vec![file(guest, &host)]);
    Ok(Found { host, guest: guest.to_owned(), version: Some(version) })
}

fn file(guest: &str, host: &Path) -> GuestFile {
    GuestFile { guest: guest.to_owned(), content: Content::Path(host.to_owned()), mode: 0o755 }
}

fn starts_with_shebang(path: &Path) -> Result<bool, Error> {
    use std::io::Read;
    let mut begin = [0; 2];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut begin));
    let read = read.map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
    Ok(read == 2 && begin == *b"#!")
}
