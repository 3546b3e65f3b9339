//! Everything a boot needs, made or found: QEMU, accelerator, kernel, programs, image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reports::report::{Accelerator, KernelHeader, LockEntry, QemuFacts};
use vmimage::arch::Arch;
use vmimage::archive::{Archive, ArchiveSpec};
use vmimage::cache::Cache;
use vmimage::image::{self, Image, ImageSpec};
use vmimage::initramfs::Content;
use vmimage::kernel::{self, Kernel, KernelError, KernelSpec, ResolvedKernel};
use vmimage::machine::{self, QemuProgram};
use vmimage::modules::ModuleRequest;
use vmimage::qemu_install;
use vmimage::userland::{GuestFile, Userland, UserlandRequest};

use crate::cli::{Accel, SourceArgs};
use crate::error::Error;
use crate::interrupt;
use crate::progress::Terminal;
use crate::workspace::{self, GuestPrograms};

/// Loaded before the agent starts, on every kernel.
const MODULES_AT_BOOT: &[&str] = &["virtio_pci", "virtio_console", "ublk_drv"];
/// In the image where the kernel has them; loaded by the scenario that needs one.
const MODULES_ON_DEMAND: &[&str] = &["null_blk", "ext4", "loop", "btrfs", "crc32c_cryptoapi"];

/// The tools of this run.
pub(crate) struct Workshop {
    /// The guests' packages.
    archive: Archive,
    sources: SourceArgs,
    resolved: BTreeMap<String, ResolvedKernel>,
    userlands: Option<Vec<Userland>>,
    programs: Option<GuestPrograms>,
    /// What guests hold instead of the scenarios' tools, for a job that needs another guest.
    pub(crate) outfit: Option<Outfit>,
    guest_files: Vec<GuestFile>,
    /// Packages and programs that go into the guest beside the scenarios' tools.
    more_tools: Vec<(&'static str, &'static str)>,
    /// Further programs with their libraries.
    more_userlands: Vec<Userland>,
    /// Modules that are in the image beside those of the scenarios.
    more_modules: Vec<&'static str>,
    progress: Arc<Terminal>,
}

/// What a guest holds besides the agent, `ublk` and the modules at boot.
#[derive(Clone, Debug)]
pub(crate) struct Outfit {
    pub(crate) userlands: Vec<Userland>,
    pub(crate) files: Vec<GuestFile>,
    /// Absolute guest path, target.
    pub(crate) symlinks: Vec<(String, String)>,
    pub(crate) modules_on_demand: Vec<&'static str>,
    /// What the files came from, where no userland says so.
    pub(crate) lock: Vec<vmimage::archive::LockEntry>,
}

/// QEMU and what drives it.
#[derive(Clone, Debug)]
pub(crate) struct Emulator {
    /// Of the guests.
    pub(crate) arch: Arch,
    pub(crate) program: QemuProgram,
    pub(crate) accelerator: machine::Accelerator,
    pub(crate) reason: String,
}

/// One kernel, ready to boot.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) image: Image,
    pub(crate) header: KernelHeader,
}

impl Workshop {
    pub(crate) fn open(
        sources: &SourceArgs,
        arch: Arch,
        progress: &Arc<Terminal>,
    ) -> Result<Self, Error> {
        let root = cache_dir(sources);
        let shared: Arc<dyn vmimage::progress::Progress> = progress.clone();
        let cache = Cache::open(root, shared).map_err(Error::infrastructure)?;
        // A CI variable that is not set arrives as an empty text, and means "not given".
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let spec = ArchiveSpec {
            uri: given(&sources.archive),
            suite: given(&sources.suite),
            // The keyring alone says nothing: without an archive the machine's own is used.
            keyring: sources.keyring.clone().filter(|_| given(&sources.archive).is_some()),
        };
        let mut archive = Archive::open(&cache, spec, arch);
        if sources.refresh {
            archive.refresh().map_err(Error::infrastructure)?;
        }
        Ok(Self {
            archive,
            sources: sources.clone(),
            resolved: BTreeMap::new(),
            userlands: None,
            programs: None,
            outfit: None,
            guest_files: Vec::new(),
            more_tools: Vec::new(),
            more_userlands: Vec::new(),
            more_modules: Vec::new(),
            progress: Arc::clone(progress),
        })
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// What its guests are.
    pub(crate) fn arch(&self) -> Arch {
        self.archive.arch()
    }

    /// Where downloads and builds are kept.
    pub(crate) fn cache_root(&self) -> &Path {
        self.archive.cache().root()
    }

    /// Files that go into every image from now on, beside those that always do.
    pub(crate) fn add_guest_files(&mut self, files: Vec<GuestFile>) {
        self.guest_files.extend(files);
    }

    /// A program with its libraries that goes into every image from now on.
    pub(crate) fn add_userland(&mut self, userland: Userland) {
        self.more_userlands.push(userland);
    }

    /// What guests run instead of this tree's programs.
    pub(crate) fn use_programs(&mut self, programs: GuestPrograms) {
        self.programs = Some(programs);
    }

    /// Modules that go into every image from now on, where its kernel has them.
    pub(crate) fn add_modules(&mut self, modules: &[&'static str]) {
        self.more_modules.extend(modules);
    }

    /// Programs of these packages go into every image from now on, with their libraries.
    ///
    /// # Errors
    /// When they cannot be had; then nothing has changed.
    pub(crate) fn add_tools(
        &mut self,
        tools: &[(&'static str, &'static str)],
    ) -> Result<(), Error> {
        let before = self.more_tools.len();
        self.more_tools.extend(tools);
        let loaded = self.userlands.take();
        let done = self.load_userlands();
        if done.is_err() {
            self.more_tools.truncate(before);
            self.userlands = loaded;
        }
        done
    }

    /// QEMU, and the accelerator that was seen to work.
    pub(crate) fn emulator(&self, accel: Accel) -> Result<Emulator, Error> {
        let arch = self.arch();
        let foreign = arch != Arch::HOST;
        if foreign && accel == Accel::Kvm {
            let message = format!(
                "--accel kvm runs {} guests on this machine, not {arch}: leave it out",
                Arch::HOST
            );
            return Err(Error::usage(message));
        }
        // QEMU runs here, whatever it emulates.
        let own = foreign.then(|| self.archive.of_arch(Arch::HOST));
        let program = qemu_install::provide(
            own.as_ref().unwrap_or(&self.archive),
            arch,
            self.sources.qemu.as_deref(),
        )
        .map_err(Error::infrastructure)?;
        let (accelerator, reason) = match accel {
            Accel::Kvm => (machine::Accelerator::Kvm, "asked for by --accel".to_owned()),
            Accel::Tcg => (machine::Accelerator::Tcg, "asked for by --accel".to_owned()),
            Accel::Auto if foreign => {
                let reason = format!("{arch} guests are emulated on {}", Arch::HOST);
                (machine::Accelerator::Tcg, reason)
            }
            Accel::Auto => {
                self.progress.doing("accelerator: booting a boot sector");
                let memory = self.archive.cache().root().join("accelerator.json");
                let choice = machine::choose_accelerator(&program, &memory);
                (choice.accelerator, choice.reason)
            }
        };
        Ok(Emulator { arch, program, accelerator, reason })
    }

    /// Which kernel is meant; asked once. Wrong names end here, before anything is downloaded for them.
    pub(crate) fn resolve(&mut self, typed: &str) -> Result<ResolvedKernel, Error> {
        if let Some(resolved) = self.resolved.get(typed) {
            return Ok(resolved.clone());
        }
        let spec = self.spec(typed)?;
        let resolved = kernel::resolve(&self.archive, &spec).map_err(|error| match error {
            KernelError::BuiltElsewhere { .. } => Error::usage(error),
            _ => Error::infrastructure(error),
        })?;
        self.resolved.insert(typed.to_owned(), resolved.clone());
        Ok(resolved)
    }

    /// The kernel on disk: downloaded or built, unless the cache has it.
    pub(crate) fn fetch(&mut self, typed: &str) -> Result<Kernel, Error> {
        let resolved = self.resolve(typed)?;
        self.progress.doing(&format!("kernel {typed}: {}", resolved.release));
        kernel::fetch(&self.archive, &resolved).map_err(|error| {
            if interrupt::requested() {
                return Error::interrupted(format_args!(
                    "stopped while a kernel was made: {error}"
                ));
            }
            Error::infrastructure(error)
        })
    }

    /// The image of one kernel. Built once; the cache knows it by content afterwards.
    pub(crate) fn kernel(&mut self, typed: &str) -> Result<Ready, Error> {
        let resolved = self.resolve(typed)?;
        let kernel = self.fetch(typed)?;
        let image = self.image(&kernel)?;
        let header = KernelHeader {
            spec: typed.to_owned(),
            release: Some(kernel.release.clone())
                .filter(|_| !matches!(resolved.spec, KernelSpec::Files { .. })),
            packages: image.lock.iter().map(lock_entry).collect(),
            config_sha256: kernel.config_sha256.clone(),
            image_sha256: Some(image.sha256.clone()),
            instruments: instruments_of(&resolved.spec),
            arch: Some(self.arch())
                .filter(|arch| *arch != Arch::default())
                .map(|arch| arch.to_string()),
        };
        Ok(Ready { image, header })
    }

    fn spec(&self, typed: &str) -> Result<KernelSpec, Error> {
        let path = PathBuf::from(typed);
        if typed.contains('/') || path.is_file() {
            return Ok(KernelSpec::Files {
                bzimage: path,
                modules_dir: self.sources.modules.clone(),
            });
        }
        KernelSpec::parse(typed).map_err(Error::usage)
    }

    fn image(&mut self, kernel: &Kernel) -> Result<Image, Error> {
        let programs = self.programs()?;
        let file = |guest: &str, path: PathBuf| GuestFile {
            guest: guest.into(),
            content: Content::Path(path),
            mode: 0o755,
        };
        let mut files =
            vec![file("/bin/runner", programs.runner), file("/bin/ublk", programs.ublk)];
        files.extend(self.guest_files.iter().cloned());
        let mut modules: Vec<_> =
            MODULES_AT_BOOT.iter().map(|name| ModuleRequest::at_boot(name)).collect();
        let outfit = self.outfit()?;
        files.extend(outfit.files);
        modules.extend(outfit.modules_on_demand.iter().map(|name| ModuleRequest::on_demand(name)));
        let spec = ImageSpec {
            kernel,
            modules,
            files,
            symlinks: outfit.symlinks,
            userlands: outfit.userlands.iter().collect(),
            init: "/bin/runner".into(),
        };
        let mut image = image::build(self.archive.cache(), &spec).map_err(Error::infrastructure)?;
        image.lock.extend(outfit.lock);
        Ok(image)
    }

    /// The one that was set, else that of the scenarios.
    fn outfit(&mut self) -> Result<Outfit, Error> {
        if let Some(outfit) = &self.outfit {
            return Ok(outfit.clone());
        }
        self.load_userlands()?;
        Ok(Outfit {
            userlands: [self.userlands.clone().unwrap_or_default(), self.more_userlands.clone()]
                .concat(),
            files: Vec::new(),
            symlinks: vec![("/bin/sh".into(), "busybox".into())],
            modules_on_demand: [MODULES_ON_DEMAND, &self.more_modules].concat(),
            lock: Vec::new(),
        })
    }

    /// The statically linked programs of the guest, built once.
    pub(crate) fn programs(&mut self) -> Result<GuestPrograms, Error> {
        if self.programs.is_none() {
            self.progress.doing("build: runner and ublk, statically linked");
            self.programs = Some(workspace::build_guest_programs(self.arch())?);
        }
        self.programs.clone().ok_or_else(|| Error::infrastructure("no guest programs"))
    }

    /// fio, file system tools and a shell, with their libraries. Who brings a fio may have no archive at all:
    /// then the rest is left out, and the scenarios that need it say so.
    fn load_userlands(&mut self) -> Result<(), Error> {
        if self.userlands.is_some() {
            return Ok(());
        }
        let userlands = match self.sources.fio.clone() {
            None => vec![self.tools(&[("fio", "fio")])?],
            Some(fio) => {
                let own =
                    Userland::from_host(&fio, "fio", self.arch()).map_err(Error::infrastructure)?;
                match self.tools(&[]).or_else(|error| self.shell_of_this_machine(&error)) {
                    Ok(tools) => vec![tools, own],
                    Err(error) => {
                        // A program of another machine is started by a script, and nothing reads it.
                        self.progress.line(&format!("note: fio and tools are left out: {error}"));
                        Vec::new()
                    }
                }
            }
        };
        self.userlands = Some(userlands);
        Ok(())
    }

    /// The scenarios' tools and more, as pairs of package and program.
    fn tools(&self, more: &[(&str, &str)]) -> Result<Userland, Error> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let more: Vec<_> = more.iter().chain(&self.more_tools).collect();
        let packages: Vec<&str> = more.iter().map(|(package, _)| *package).collect();
        let programs: Vec<&str> = more.iter().map(|(_, program)| *program).collect();
        let request = UserlandRequest {
            packages: words(
                &[&["e2fsprogs", "btrfs-progs", "util-linux", "busybox-static"], &packages[..]]
                    .concat(),
            ),
            programs: words(
                &[
                    &["mkfs.ext4", "e2fsck", "mkfs.btrfs", "blkdiscard", "blkzone", "busybox"],
                    &programs[..],
                ]
                .concat(),
            ),
            data: words(&["etc/mke2fs.conf"]),
            family: None,
        };
        Userland::from_archive(&self.archive, &request).map_err(Error::infrastructure)
    }

    /// A statically linked busybox of this machine, in place of the archive's tools.
    fn shell_of_this_machine(&self, without: &Error) -> Result<Userland, Error> {
        let places = ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox"];
        let found = places.iter().map(PathBuf::from).find(|path| path.is_file());
        let Some(path) = found else {
            let message = format!("{without}; and this machine has no busybox");
            return Err(Error::infrastructure(message));
        };
        self.progress
            .line(&format!("note: tools are left out, busybox is this machine's: {without}"));
        // For the error where it is of another architecture than the guest.
        Userland::from_host(&path, "busybox", self.arch()).map_err(Error::infrastructure)?;
        let file =
            GuestFile { guest: "/bin/busybox".into(), content: Content::Path(path), mode: 0o755 };
        Ok(Userland { files: vec![file], symlinks: Vec::new(), lock: Vec::new() })
    }
}

/// Where downloads and images are kept.
pub(crate) fn cache_dir(sources: &SourceArgs) -> PathBuf {
    sources.cache.clone().unwrap_or_else(|| workspace::root().join(".cache"))
}

/// What watches a kernel, by name; nothing in one that was not built here.
pub(crate) fn instruments_of(spec: &KernelSpec) -> Vec<String> {
    match spec {
        KernelSpec::Built { with, .. } => with.iter().map(|one| one.name().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn lock_entry(entry: &vmimage::archive::LockEntry) -> LockEntry {
    LockEntry {
        name: entry.name.clone(),
        version: entry.version.clone(),
        sha256: entry.sha256.clone(),
        origin: entry.origin.clone(),
    }
}

impl Emulator {
    /// The factor by which the budget table is scaled.
    pub(crate) fn scale(&self) -> u32 {
        match self.accelerator {
            machine::Accelerator::Kvm => 1,
            machine::Accelerator::Tcg => 3,
        }
    }

    pub(crate) fn accelerator_facts(&self) -> Accelerator {
        Accelerator { name: self.accelerator.to_string(), reason: self.reason.clone() }
    }

    pub(crate) fn qemu_facts(&self) -> QemuFacts {
        QemuFacts {
            version: self.program.version.to_string(),
            origin: self.program.origin.clone(),
            sha256: Some(self.program.sha256.clone()),
        }
    }
}
