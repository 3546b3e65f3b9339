//! Puts a kernel's modules, an agent and its tools into one initramfs. Everything the guest needs
//! rides in it: the cloud kernels have no 9p or virtiofs, and a root file system on the device type
//! under test would be part of the experiment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::archive::LockEntry;
use crate::cache::{Cache, CacheError, Entry, Key};
use crate::fsio::{self, At, IoError};
use crate::initramfs::{Content, Initramfs, InitramfsError};
use crate::kernel::Kernel;
use crate::modules::{self, ModuleError, ModuleRequest, ModuleSet};
use crate::userland::{GuestFile, Userland};

/// Raise when the layout of a guest changes.
const LAYOUT: &str = "image layout 1";

/// Above this an image is worth a note: the guest unpacks it before anything else.
const LARGE_BYTES: u64 = 64 << 20;

/// The guest's list of modules to load at boot: one absolute path per line, in load order.
pub const MODULE_ORDER_PATH: &str = "/modules/order";

/// The guest's list of modules to load when asked for: a name and the absolute paths to load for it
/// in order, separated by spaces, one module per line.
pub const MODULE_ON_DEMAND_PATH: &str = "/modules/on-demand";

/// Directories of every guest, with their permission bits.
const DIRECTORIES: [(&str, u32); 13] = [
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/mnt", 0o755),
    ("/modules", 0o755),
    ("/proc", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sys", 0o755),
    ("/tmp", 0o1777),
    ("/usr/bin", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/lib64", 0o755),
    ("/usr/sbin", 0o755),
];

/// Directories that are links into `/usr`, so that both layouts of a distribution fit.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Images kept in the cache: more than a matrix of kernels needs, less than a day of changes to the agent
/// would leave, at some 90 MiB each.
const IMAGES_MAX: usize = 24;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Two files of different content are to be at one guest path.
    #[error("two different files are to be at {guest} in the guest: {first} and {second}")]
    Conflict {
        /// The guest path.
        guest: String,
        /// Where the first comes from.
        first: String,
        /// Where the second comes from.
        second: String,
    },
    /// The program to start is not among the files.
    #[error("the guest's init {init} is not among the files of the image")]
    NoInit {
        /// The guest path.
        init: String,
    },
    /// The modules cannot be gathered.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The initramfs cannot be written.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The cache could not serve.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// What an image is to hold.
#[derive(Debug, Clone)]
pub struct ImageSpec<'a> {
    /// The kernel it boots.
    pub kernel: &'a Kernel,
    /// Modules, in the order to load them; dependencies are added.
    pub modules: Vec<ModuleRequest>,
    /// Files, the agent among them.
    pub files: Vec<GuestFile>,
    /// Symbolic links: absolute guest path, target.
    pub symlinks: Vec<(String, String)>,
    /// Programs with their libraries.
    pub userlands: Vec<&'a Userland>,
    /// The absolute guest path of what runs as PID 1.
    pub init: String,
}

/// An image on disk, ready to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The kernel image.
    pub vmlinuz: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// Length of the initramfs, in bytes.
    pub initramfs_bytes: u64,
    /// SHA-256 over kernel and initramfs, hex.
    pub sha256: String,
    /// Guest paths of the modules loaded at boot, in load order.
    pub modules_in_load_order: Vec<String>,
    /// For each module on demand, the guest paths to load for it, in load order.
    pub modules_on_demand: BTreeMap<String, Vec<String>>,
    /// Requested modules that are part of the kernel.
    pub modules_builtin: Vec<String>,
    /// Optional modules that the kernel does not have.
    pub modules_absent: Vec<String>,
    /// What everything came from.
    pub lock: Vec<LockEntry>,
}

/// The part of an image that is not known without its modules; kept beside the initramfs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ModuleLists {
    at_boot: Vec<String>,
    on_demand: BTreeMap<String, Vec<String>>,
    builtin: Vec<String>,
    absent: Vec<String>,
}

/// Builds an image, unless the cache has one of exactly these inputs.
pub fn build(cache: &Cache, spec: &ImageSpec<'_>) -> Result<Image, ImageError> {
    let files = gather(spec)?;
    let init = guest_path(&spec.init);
    if !files.contains_key(&init) {
        return Err(ImageError::NoInit { init });
    }
    let mut lock = spec.kernel.lock.clone();
    spec.userlands.iter().for_each(|u| lock.extend(u.lock.iter().cloned()));
    lock.sort();
    lock.dedup();
    let entry = cache.get_or_build("image", &key_of(spec, &files), &["initramfs"], |tmp| {
        cache.progress().stage("image", &format!("building the image for {}", spec.kernel.release));
        let set = modules::closure(spec.kernel, &spec.modules)?;
        let initramfs = assemble(spec, &files, &set)?;
        let len_bytes = initramfs.write_file(&tmp.join("initramfs"))?;
        if len_bytes > LARGE_BYTES {
            cache.progress().note(&format!("the initramfs is large: {} MiB", len_bytes >> 20));
        }
        let lists = tmp.join("modules.json");
        let text = serde_json::to_vec_pretty(&lists_of(&set));
        fsio::write(&lists, &text.map_err(std::io::Error::from).at("write", &lists)?)?;
        Ok::<_, ImageError>(())
    })?;
    let image = of_entry(spec.kernel, &entry, lock)?;
    cache.keep_newest("image", IMAGES_MAX, &entry)?;
    Ok(image)
}

fn of_entry(kernel: &Kernel, entry: &Entry, lock: Vec<LockEntry>) -> Result<Image, ImageError> {
    let path = entry.path("modules.json");
    let lists: ModuleLists = serde_json::from_slice(&fsio::read(&path)?)
        .map_err(std::io::Error::from)
        .at("read", &path)?;
    let initramfs_sha256 = entry.sha256("initramfs").unwrap_or_default();
    Ok(Image {
        vmlinuz: kernel.vmlinuz.clone(),
        initramfs: entry.path("initramfs"),
        initramfs_bytes: entry.manifest.files.get("initramfs").map_or(0, |f| f.size_bytes),
        sha256: fsio::sha256_bytes(
            format!("{} {initramfs_sha256}", kernel.vmlinuz_sha256).as_bytes(),
        ),
        modules_in_load_order: lists.at_boot,
        modules_on_demand: lists.on_demand,
        modules_builtin: lists.builtin,
        modules_absent: lists.absent,
        lock,
    })
}

struct Gathered {
    file: GuestFile,
    sha256: String,
}

/// All files by guest path, each hashed once.
fn gather(spec: &ImageSpec<'_>) -> Result<BTreeMap<String, Gathered>, ImageError> {
    let mut gathered: BTreeMap<String, Gathered> = BTreeMap::new();
    for file in spec.files.iter().chain(spec.userlands.iter().flat_map(|u| &u.files)) {
        let guest = guest_path(&file.guest);
        let sha256 = file.content.sha256()?;
        if let Some(there) = gathered.get(&guest) {
            if there.sha256 != sha256 {
                let first = origin(&there.file.content);
                return Err(ImageError::Conflict { guest, first, second: origin(&file.content) });
            }
            continue;
        }
        gathered.insert(guest, Gathered { file: file.clone(), sha256 });
    }
    Ok(gathered)
}

fn origin(content: &Content) -> String {
    match content {
        Content::Path(path) | Content::Cached { path, .. } => path.display().to_string(),
        Content::Bytes(_) => "a generated file".to_owned(),
    }
}

/// `/bin/sh` is `/usr/bin/sh`: what lies below a link in the guest goes to where the link leads.
fn guest_path(path: &str) -> String {
    let name = path.trim_start_matches('/');
    let top = name.split('/').next().unwrap_or(name);
    if MERGED.contains(&top) && name != top { format!("/usr/{name}") } else { format!("/{name}") }
}

fn key_of(spec: &ImageSpec<'_>, files: &BTreeMap<String, Gathered>) -> Key {
    let mut key = Key::new([LAYOUT, &spec.kernel.identity, &spec.init]);
    for module in &spec.modules {
        key.push(format!("module {} {:?} {}", module.name, module.load, module.required));
    }
    for (guest, gathered) in files {
        key.push(format!("file {guest} {:o} {}", gathered.file.mode, gathered.sha256));
    }
    for (guest, target) in symlinks(spec) {
        key.push(format!("link {guest} {target}"));
    }
    key
}

fn symlinks<'a>(spec: &'a ImageSpec<'_>) -> impl Iterator<Item = (String, &'a str)> {
    let all = spec.symlinks.iter().chain(spec.userlands.iter().flat_map(|u| &u.symlinks));
    all.map(|(guest, target)| (guest_path(guest), target.as_str()))
}

fn module_path(name: &str) -> String {
    format!("/modules/{name}.ko")
}

fn lists_of(set: &ModuleSet) -> ModuleLists {
    let paths = |names: &Vec<String>| names.iter().map(|n| module_path(n)).collect();
    ModuleLists {
        at_boot: paths(&set.at_boot),
        on_demand: set.on_demand.iter().map(|(n, order)| (n.clone(), paths(order))).collect(),
        builtin: set.builtin.clone(),
        absent: set.absent.clone(),
    }
}

fn assemble(
    spec: &ImageSpec<'_>,
    files: &BTreeMap<String, Gathered>,
    set: &ModuleSet,
) -> Result<Initramfs, ImageError> {
    let mut initramfs = Initramfs::new();
    for (path, mode) in DIRECTORIES {
        initramfs.directory(path, mode)?;
    }
    for name in MERGED {
        initramfs.symlink(&format!("/{name}"), &format!("usr/{name}"))?;
    }
    // Before devtmpfs is mounted, PID 1 has no other standard output than this node.
    initramfs.char_device("/dev/console", 0o600, 5, 1)?;
    initramfs.char_device("/dev/null", 0o666, 1, 3)?;
    for (guest, gathered) in files {
        initramfs.file(guest, gathered.file.mode, gathered.file.content.clone())?;
    }
    for (guest, target) in symlinks(spec) {
        initramfs.symlink(&guest, target)?;
    }
    let init = guest_path(&spec.init);
    if init != "/init" {
        initramfs.symlink("/init", &init)?;
    }
    for module in set.modules.values() {
        let content = Content::Bytes(module.content.clone());
        initramfs.file(&module_path(&module.name), 0o644, content)?;
    }
    let lists = lists_of(set);
    let order: String = lists.at_boot.iter().map(|path| format!("{path}\n")).collect();
    initramfs.file(MODULE_ORDER_PATH, 0o644, Content::Bytes(order.into_bytes()))?;
    let on_demand: String =
        lists.on_demand.iter().map(|(n, paths)| format!("{n} {}\n", paths.join(" "))).collect();
    initramfs.file(MODULE_ON_DEMAND_PATH, 0o644, Content::Bytes(on_demand.into_bytes()))?;
    Ok(initramfs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::progress::Recorded;

    fn kernel() -> Kernel {
        Kernel {
            release: "9.9.9-test".into(),
            vmlinuz: "/k/vmlinuz".into(),
            vmlinuz_sha256: "k".into(),
            modules_dir: None,
            config: None,
            config_sha256: None,
            identity: "k".into(),
            driver_notes: None,
            lock: Vec::new(),
        }
    }

    fn file(guest: &str, text: &str) -> GuestFile {
        let content = Content::Bytes(text.as_bytes().to_vec());
        GuestFile { guest: guest.into(), content, mode: 0o755 }
    }

    fn spec<'a>(kernel: &'a Kernel, files: Vec<GuestFile>) -> ImageSpec<'a> {
        let modules = vec![ModuleRequest::at_boot("virtio")];
        let symlinks = vec![("/bin/sh".into(), "busybox".into())];
        let init = "/bin/agent".into();
        ImageSpec { kernel, modules, files, symlinks, userlands: Vec::new(), init }
    }

    #[test]
    fn a_second_build_of_the_same_inputs_builds_nothing_and_any_change_does() {
        let root = tempfile::tempdir().unwrap();
        let log = Arc::new(Recorded::default());
        let cache = Cache::open(root.path(), log.clone()).unwrap();
        let kernel = kernel();
        let first = build(&cache, &spec(&kernel, vec![file("/bin/agent", "a")])).unwrap();
        let again = build(&cache, &spec(&kernel, vec![file("/usr/bin/agent", "a")])).unwrap();
        assert_eq!(first, again);
        assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
        assert_eq!(first.modules_builtin, ["virtio"]);
        let changed = build(&cache, &spec(&kernel, vec![file("/bin/agent", "b")])).unwrap();
        assert_ne!(first.initramfs, changed.initramfs);
        assert_ne!(first.sha256, changed.sha256);
    }

    #[test]
    fn the_archive_holds_init_nodes_links_and_module_lists() {
        let kernel = kernel();
        let spec = spec(&kernel, vec![file("/bin/agent", "a")]);
        let files = gather(&spec).unwrap();
        let initramfs = assemble(&spec, &files, &ModuleSet::default()).unwrap();
        let paths: Vec<String> = initramfs.paths().collect();
        for path in [
            "/init",
            "/bin",
            "/usr/bin/agent",
            "/usr/bin/sh",
            "/dev/console",
            "/dev/null",
            MODULE_ORDER_PATH,
            MODULE_ON_DEMAND_PATH,
        ] {
            assert!(paths.iter().any(|p| p == path), "{path} of {paths:?}");
        }
    }

    #[test]
    fn two_different_files_at_one_path_and_a_missing_init_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path(), Arc::new(Recorded::default())).unwrap();
        let kernel = kernel();
        let twice = vec![file("/bin/agent", "a"), file("/usr/bin/agent", "b")];
        let error = build(&cache, &spec(&kernel, twice)).unwrap_err();
        assert!(matches!(error, ImageError::Conflict { .. }), "{error}");
        let error = build(&cache, &spec(&kernel, Vec::new())).unwrap_err();
        assert!(matches!(error, ImageError::NoInit { .. }), "{error}");
    }
}
