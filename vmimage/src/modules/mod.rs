//! Which module files a guest needs, and in which order to load them. The index for that,
//! `modules.dep`, is made when a kernel package is installed, and these packages are only unpacked;
//! but each module carries the same facts in its own `.modinfo` section, so that is what is read.

mod decompress;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use goblin::elf::Elf;
use walkdir::WalkDir;

use crate::fsio::{self, At, IoError};
use crate::kernel::Kernel;

/// A chain of dependencies longer than this is a loop; the longest real one is under ten.
const DEPTH_LIMIT: usize = 64;

/// When a module is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Load {
    /// Before anything else runs in the guest.
    AtBoot,
    /// When something in the guest asks for it.
    OnDemand,
}

/// One module that an image should hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModuleRequest {
    /// Its name; `-` and `_` are equal.
    pub name: String,
    /// When it is to be loaded.
    pub load: Load,
    /// Whether an image without it is an error.
    pub required: bool,
}

impl ModuleRequest {
    /// A module that is loaded before anything else, and without which there is no image.
    pub fn at_boot(name: &str) -> ModuleRequest {
        ModuleRequest { name: name.to_owned(), load: Load::AtBoot, required: true }
    }

    /// A module that is loaded when asked for, where the kernel has it.
    pub fn on_demand(name: &str) -> ModuleRequest {
        ModuleRequest { name: name.to_owned(), load: Load::OnDemand, required: false }
    }
}

/// One module with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, with `_`.
    pub name: String,
    /// Its decompressed ELF file.
    pub content: Vec<u8>,
}

/// What a list of requests came to.
#[derive(Debug, Default)]
pub struct ModuleSet {
    /// Every module needed, by name.
    pub modules: BTreeMap<String, Module>,
    /// Names to load at boot, dependencies first.
    pub at_boot: Vec<String>,
    /// For each module on demand, the names to load for it, dependencies first, itself last.
    pub on_demand: BTreeMap<String, Vec<String>>,
    /// Requested modules that are part of the kernel image.
    pub builtin: Vec<String>,
    /// Requested modules that the kernel does not have and that were not required.
    pub absent: Vec<String>,
}

/// Why there is no such set of modules.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The kernel was built without a required module.
    #[error(
        "kernel {release} has no module `{name}`, as a file or built in ({config}): use a kernel configured with it"
    )]
    Missing {
        /// The kernel's release.
        release: String,
        /// The module's name.
        name: String,
        /// Where its configuration is, to look the option up.
        config: String,
    },
    /// A module file cannot be read.
    #[error("cannot use the module {}: {reason}", path.display())]
    Bad {
        /// The module file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Modules depend on each other in a circle.
    #[error("the modules of kernel {release} depend on each other in a circle at `{name}`")]
    Circle {
        /// The kernel's release.
        release: String,
        /// A module in the circle.
        name: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// Finds the requested modules of a kernel with everything they depend on.
pub fn closure(kernel: &Kernel, requests: &[ModuleRequest]) -> Result<ModuleSet, ModuleError> {
    let index = match &kernel.modules_dir {
        Some(dir) => Index::of_dir(dir)?,
        None => Index::default(),
    };
    let mut walk = Walk { kernel, index, set: ModuleSet::default(), depends: BTreeMap::new() };
    // Without a modules directory nothing can be looked up: the user says all is built in.
    let all_builtin = kernel.modules_dir.is_none();
    for request in requests {
        let name = canonical(&request.name);
        if all_builtin || walk.index.builtin.contains(&name) {
            walk.set.builtin.push(name);
        } else if !walk.index.files.contains_key(&name) && !request.required {
            walk.set.absent.push(name);
        } else {
            walk.add(&name, request.load)?;
        }
    }
    Ok(walk.set)
}

struct Walk<'k> {
    kernel: &'k Kernel,
    index: Index,
    set: ModuleSet,
    depends: BTreeMap<String, Vec<String>>,
}

impl Walk<'_> {
    fn add(&mut self, name: &str, load: Load) -> Result<(), ModuleError> {
        let mut order = Vec::new();
        self.visit(name, 0, &mut order)?;
        match load {
            Load::AtBoot => {
                order.retain(|n| !self.set.at_boot.contains(n));
                self.set.at_boot.extend(order);
            }
            Load::OnDemand => {
                self.set.on_demand.insert(name.to_owned(), order);
            }
        }
        Ok(())
    }

    /// Appends to `order` what must be loaded for `name`, itself last.
    fn visit(
        &mut self,
        name: &str,
        depth: usize,
        order: &mut Vec<String>,
    ) -> Result<(), ModuleError> {
        if order.iter().any(|n| n == name) || self.index.builtin.contains(name) {
            return Ok(());
        }
        if depth > DEPTH_LIMIT {
            let release = self.kernel.release.clone();
            return Err(ModuleError::Circle { release, name: name.to_owned() });
        }
        self.read(name)?;
        for dependency in self.depends.get(name).cloned().unwrap_or_default() {
            self.visit(&dependency, depth + 1, order)?;
        }
        order.push(name.to_owned());
        Ok(())
    }

    fn read(&mut self, name: &str) -> Result<(), ModuleError> {
        if self.set.modules.contains_key(name) {
            return Ok(());
        }
        let path = self.index.files.get(name).ok_or_else(|| ModuleError::Missing {
            release: self.kernel.release.clone(),
            name: name.to_owned(),
            config: match &self.kernel.config {
                Some(path) => format!("its configuration is {}", path.display()),
                None => "its configuration is not known".to_owned(),
            },
        })?;
        let bad = |reason| ModuleError::Bad { path: path.clone(), reason };
        let content = decompress::decompress(path, fsio::read(path)?).map_err(bad)?;
        let depends = dependencies(&content).map_err(bad)?;
        self.depends.insert(name.to_owned(), depends);
        self.set.modules.insert(name.to_owned(), Module { name: name.to_owned(), content });
        Ok(())
    }
}

/// What a modules directory holds.
#[derive(Debug, Default)]
struct Index {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Index {
    fn of_dir(dir: &Path) -> Result<Index, IoError> {
        let mut index = Index::default();
        // `build` and `source` are links to trees far larger than the modules.
        for found in WalkDir::new(dir).sort_by_file_name().follow_links(false) {
            let found = found.map_err(std::io::Error::from).at("list", dir)?;
            if let Some(name) = module_name(found.path()).filter(|_| found.file_type().is_file()) {
                index.files.entry(name).or_insert_with(|| found.path().to_owned());
            }
        }
        let list = dir.join("modules.builtin");
        if list.is_file() {
            let text = fsio::read_text(&list)?;
            index.builtin = text.lines().filter_map(|l| module_name(Path::new(l.trim()))).collect();
        }
        Ok(index)
    }
}

/// `virtio_blk` of `kernel/drivers/block/virtio-blk.ko.xz`; `None` for other files.
fn module_name(path: &Path) -> Option<String> {
    let (stem, rest) = path.file_name()?.to_str()?.split_once(".ko")?;
    (rest.is_empty() || rest.starts_with('.')).then(|| canonical(stem))
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The names in the `depends=` line of a module's `.modinfo` section.
fn dependencies(module: &[u8]) -> Result<Vec<String>, String> {
    let elf = Elf::parse(module).map_err(|e| format!("it is no ELF file: {e}"))?;
    let section = elf
        .section_headers
        .iter()
        .find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(".modinfo"))
        .and_then(|s| module.get(s.file_range()?))
        .ok_or("it has no .modinfo section")?;
    Ok(depends_of_modinfo(section))
}

fn depends_of_modinfo(section: &[u8]) -> Vec<String> {
    section
        .split(|b| *b == 0)
        .filter_map(|line| std::str::from_utf8(line).ok()?.strip_prefix("depends="))
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
        .map(canonical)
        .collect()
}

#[cfg(test)]
mod tests;
