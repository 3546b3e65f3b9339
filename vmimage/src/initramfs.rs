//! Writes the initramfs. It is the guest's whole file system, so the same inputs must give the same
//! bytes: names are sorted, times and owners zero. It is not compressed: under emulation the guest
//! would spend longer on decompressing than QEMU does on copying.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::fsio::{self, At, IoError};

/// Where the content of a guest file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file on the host.
    Path(PathBuf),
    /// A file of a cache entry, with the hash that is known since it was built.
    Cached {
        /// Where it is.
        path: PathBuf,
        /// Its SHA-256, hex.
        sha256: String,
    },
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Content {
    /// The bytes themselves.
    pub fn read(&self) -> Result<Vec<u8>, IoError> {
        match self {
            Content::Path(path) | Content::Cached { path, .. } => fsio::read(path),
            Content::Bytes(bytes) => Ok(bytes.clone()),
        }
    }

    /// SHA-256 of the bytes, hex.
    pub fn sha256(&self) -> Result<String, IoError> {
        match self {
            Content::Cached { sha256, .. } => Ok(sha256.clone()),
            Content::Path(path) => fsio::sha256_file(path),
            Content::Bytes(bytes) => Ok(fsio::sha256_bytes(bytes)),
        }
    }
}

/// Why no initramfs can be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitramfsError {
    /// Two different things are to be at one place.
    #[error("the guest path /{path} is given twice, or lies below a file or a link")]
    Conflict {
        /// The path, without its leading slash.
        path: String,
    },
    /// A path that no archive should hold.
    #[error("`{path}` is no absolute guest path without `..`")]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// A file is larger than the format can say.
    #[error(
        "/{path} is too large for an initramfs: {len_bytes} bytes where 4294967295 are the most"
    )]
    TooLarge {
        /// The guest path.
        path: String,
        /// Its length, in bytes.
        len_bytes: usize,
    },
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory { mode: u32 },
    File { mode: u32, content: Content },
    Symlink { target: String },
    CharDevice { mode: u32, major: u32, minor: u32 },
}

/// An initramfs in the making. Directories above an entry are made by themselves, mode 0755.
#[derive(Debug, Clone, Default)]
pub struct Initramfs {
    nodes: BTreeMap<String, Node>,
}

impl Initramfs {
    /// An empty one.
    pub fn new() -> Initramfs {
        Initramfs::default()
    }

    /// Adds a directory with permission bits `mode`.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), InitramfsError> {
        self.insert(path, Node::Directory { mode })
    }

    /// Adds a regular file with permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: Content) -> Result<(), InitramfsError> {
        self.insert(path, Node::File { mode, content })
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), InitramfsError> {
        self.insert(path, Node::Symlink { target: target.to_owned() })
    }

    /// Adds a character device node.
    pub fn char_device(
        &mut self,
        path: &str,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<(), InitramfsError> {
        self.insert(path, Node::CharDevice { mode, major, minor })
    }

    /// The guest paths so far, sorted, with a leading slash.
    pub fn paths(&self) -> impl Iterator<Item = String> + '_ {
        self.nodes.keys().map(|path| format!("/{path}"))
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<(), InitramfsError> {
        let name = path.trim_start_matches('/').trim_end_matches('/');
        let bad = |c: &str| c.is_empty() || c == "." || c == "..";
        if !path.starts_with('/') || path.contains('\0') || name.split('/').any(bad) {
            return Err(InitramfsError::BadPath { path: path.to_owned() });
        }
        for (i, _) in name.match_indices('/') {
            let parent = self.nodes.entry(name[..i].to_owned());
            if !matches!(parent.or_insert(Node::Directory { mode: 0o755 }), Node::Directory { .. })
            {
                return Err(InitramfsError::Conflict { path: name.to_owned() });
            }
        }
        match self.nodes.get(name) {
            None => {}
            Some(there) if *there == node => {}
            Some(Node::Directory { .. }) if matches!(node, Node::Directory { .. }) => {}
            Some(_) => return Err(InitramfsError::Conflict { path: name.to_owned() }),
        }
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// Writes the archive to a file and returns its length, in bytes.
    pub fn write_file(&self, path: &Path) -> Result<u64, InitramfsError> {
        let file = File::create(path).at("create", path)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        self.write_named(&mut out, path)?;
        out.flush().at("write", path)?;
        Ok(out.get_ref().metadata().at("stat", path)?.len())
    }

    /// Writes the archive.
    pub fn write(&self, out: &mut impl Write) -> Result<(), InitramfsError> {
        self.write_named(out, Path::new("the initramfs"))
    }

    fn write_named(&self, out: &mut impl Write, path: &Path) -> Result<(), InitramfsError> {
        for (inode, (name, node)) in (1..).zip(&self.nodes) {
            let builder = Builder::new(name).ino(inode).uid(0).gid(0).mtime(0);
            let (builder, content) = match node {
                Node::Directory { mode } => {
                    let builder = builder.nlink(2).mode(*mode);
                    (builder.set_mode_file_type(ModeFileType::Directory), Vec::new())
                }
                Node::File { mode, content } => {
                    let builder = builder.nlink(1).mode(*mode);
                    (builder.set_mode_file_type(ModeFileType::Regular), content.read()?)
                }
                Node::Symlink { target } => {
                    let builder = builder.nlink(1).mode(0o777);
                    let content = target.clone().into_bytes();
                    (builder.set_mode_file_type(ModeFileType::Symlink), content)
                }
                Node::CharDevice { mode, major, minor } => {
                    let builder =
                        builder.nlink(1).mode(*mode).rdev_major(*major).rdev_minor(*minor);
                    (builder.set_mode_file_type(ModeFileType::Char), Vec::new())
                }
            };
            let len = u32::try_from(content.len()).map_err(|_| InitramfsError::TooLarge {
                path: name.clone(),
                len_bytes: content.len(),
            })?;
            write_entry(builder, &mut *out, &content, len).at("write", path)?;
        }
        trailer(out).map(|_| ()).at("write", path)?;
        Ok(())
    }
}

fn write_entry(builder: Builder, out: impl Write, content: &[u8], len: u32) -> io::Result<()> {
    let mut writer = builder.write(out, len);
    writer.write_all(content)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Content {
        Content::Bytes(text.as_bytes().to_vec())
    }

    fn sample(reverse: bool) -> Vec<u8> {
        let mut initramfs = Initramfs::new();
        type Step = fn(&mut Initramfs) -> Result<(), InitramfsError>;
        let mut steps: [Step; 5] = [
            |i| i.symlink("/lib", "usr/lib"),
            |i| i.file("/usr/lib/a.so", 0o644, bytes("library")),
            |i| i.file("/init", 0o755, bytes("#!/bin/sh\n")),
            |i| i.char_device("/dev/console", 0o600, 5, 1),
            |i| i.directory("/tmp", 0o1777),
        ];
        if reverse {
            steps.reverse();
        }
        steps.iter().for_each(|step| step(&mut initramfs).unwrap());
        let mut out = Vec::new();
        initramfs.write(&mut out).unwrap();
        out
    }

    #[test]
    fn the_order_of_adding_does_not_change_a_byte() {
        assert_eq!(sample(false), sample(true));
    }

    #[test]
    fn what_is_written_can_be_read_and_parents_come_first() {
        let archive = sample(false);
        let mut rest = archive.as_slice();
        let mut seen = Vec::new();
        loop {
            let reader = cpio::newc::Reader::new(rest).unwrap();
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                break;
            }
            assert_eq!((entry.mtime(), entry.uid(), entry.gid()), (0, 0, 0));
            let mut content = Vec::new();
            rest = reader.to_writer(&mut content).unwrap();
            seen.push((entry.name().to_owned(), entry.mode(), String::from_utf8(content).unwrap()));
        }
        let expected = [
            ("dev", 0o40755, ""),
            ("dev/console", 0o20600, ""),
            ("init", 0o100_755, "#!/bin/sh\n"),
            ("lib", 0o120_777, "usr/lib"),
            ("tmp", 0o41777, ""),
            ("usr", 0o40755, ""),
            ("usr/lib", 0o40755, ""),
            ("usr/lib/a.so", 0o100_644, "library"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(n, m, c)| ((*n).to_owned(), *m, (*c).to_owned())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_path_below_a_link_or_a_file_or_given_twice_is_refused() {
        let mut initramfs = Initramfs::new();
        initramfs.symlink("/lib", "usr/lib").unwrap();
        initramfs.file("/etc/a", 0o644, bytes("a")).unwrap();
        initramfs.file("/etc/a", 0o644, bytes("a")).unwrap();
        for path in ["/lib/a.so", "/etc/a/b", "/etc/a"] {
            let refused = initramfs.file(path, 0o644, bytes("b"));
            assert!(matches!(refused, Err(InitramfsError::Conflict { .. })), "{path}");
        }
        for path in ["relative", "/a/../b", "/", "/a//b"] {
            let refused = initramfs.file(path, 0o644, bytes("b"));
            assert!(matches!(refused, Err(InitramfsError::BadPath { .. })), "{path}");
        }
    }
}
