//! The guest of `kselftest`: the scripts twice, once beside the kernel's own server and once beside
//! ours, and the userland of a real system that they take for granted.

use std::path::Path;

use scenarios::kselftest::Server;
use vmimage::initramfs::Content;
use vmimage::selftests::{METADATA_SIZE, SERVER, Selftests};
use vmimage::userland::{GuestFile, Userland, UserlandRequest};

use crate::error::Error;
use crate::prepare::{Outfit, Workshop};

/// Modules a script loads or mounts by; in the guest where the kernel has them as modules.
const MODULES: &[&str] = &["ext4", "null_blk", "loop"];

const PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "e2fsprogs",
    "fdisk",
    "findutils",
    "fio",
    "grep",
    "kmod",
    "mawk",
    "mount",
    "procps",
    "sed",
    "udev",
    "util-linux",
];

const PROGRAMS: &[&str] = &[
    "bash",
    "basename",
    "blkdiscard",
    "blockdev",
    "cat",
    "chmod",
    "cp",
    "cut",
    "date",
    "dd",
    "depmod",
    "df",
    "dirname",
    "dmesg",
    "e2fsck",
    "echo",
    "env",
    "fallocate",
    "false",
    "find",
    "findmnt",
    "fio",
    "flock",
    "grep",
    "head",
    "id",
    "kill",
    "ln",
    "ls",
    "lsblk",
    "lsmod",
    "mawk",
    "md5sum",
    "mkdir",
    "mkfs.ext4",
    "mktemp",
    "modprobe",
    "mount",
    "mv",
    "nproc",
    "od",
    "pgrep",
    "pkill",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "rmmod",
    "sed",
    "seq",
    "sfdisk",
    "sleep",
    "sort",
    "stat",
    "sync",
    "tail",
    "taskset",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "udevadm",
    "umount",
    "uname",
    "uniq",
    "wc",
    "xargs",
];

/// udev's own rules for block devices: they open each new device, as they do on every real machine.
const DATA: &[&str] = &[
    "etc/mke2fs.conf",
    "usr/lib/udev/rules.d/50-udev-default.rules",
    "usr/lib/udev/rules.d/60-block.rules",
    "usr/lib/udev/rules.d/60-persistent-storage.rules",
];

/// Everything the guest holds besides the agent, `ublk` and the modules at boot.
pub(crate) fn outfit(
    workshop: &Workshop,
    selftests: &Selftests,
    bpftrace: bool,
) -> Result<Outfit, Error> {
    let mut files = Vec::new();
    for server in [Server::Kublk, Server::Ours] {
        scripts(&selftests.scripts, &server.folder(), &mut files)?;
        files.push(program(&server.folder().join(METADATA_SIZE), &selftests.metadata_size));
    }
    files.push(program(&Server::Kublk.folder().join(SERVER), &selftests.kublk));
    let ours = Server::Ours.folder().join(SERVER).display().to_string();
    let links = [
        ("/usr/bin/sh", "bash"),
        // Alternatives are links that only an installation makes.
        ("/usr/bin/awk", "mawk"),
        (ours.as_str(), "/usr/bin/ublk"),
        // fio and mount read it; the kernel's is the only truth.
        ("/etc/mtab", "/proc/self/mounts"),
    ];
    Ok(Outfit {
        userlands: vec![userland(workshop, selftests, bpftrace)?],
        files,
        symlinks: links.map(|(at, to)| (at.to_owned(), to.to_owned())).to_vec(),
        modules_on_demand: MODULES.to_vec(),
        lock: selftests.lock.clone(),
    })
}

fn userland(workshop: &Workshop, selftests: &Selftests, bpftrace: bool) -> Result<Userland, Error> {
    let more: &[&str] = if bpftrace { &["bpftrace"] } else { &[] };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let request = UserlandRequest {
        packages: words(&[PACKAGES, more].concat()),
        programs: words(&[PROGRAMS, more].concat()),
        data: words(DATA),
        // The release that the kernel's sources come from: tools as old as the scripts.
        family: selftests.lock.first().map(|entry| entry.origin.clone()),
    };
    Userland::from_archive(workshop.archive(), &request).map_err(Error::infrastructure)
}

fn program(guest: &Path, path: &Path) -> GuestFile {
    let content = Content::Path(path.to_owned());
    GuestFile { guest: guest.display().to_string(), content, mode: 0o755 }
}

/// Every file below `from`, for the same place below `to`.
fn scripts(from: &Path, to: &Path, files: &mut Vec<GuestFile>) -> Result<(), Error> {
    let failed = |error| Error::infrastructure(format!("cannot list {}: {error}", from.display()));
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let guest = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            scripts(&path, &guest, files)?;
        } else {
            files.push(program(&guest, &path));
        }
    }
    Ok(())
}
