//! The ublk servers of a comparison, a line each: which target, which mode, and the words that ask for it.
//!
//! All get one queue of 128 tags, and a file where the target is one. What cannot be asked for the same way
//! is said in a note, and in the table of the devices.

use super::peers::Program;
use crate::cli::PerfTarget;
use crate::perf::subjects::{AUTO_BUF_REG, BATCH_IO, USER_COPY};

/// One server in one mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) target: PerfTarget,
    pub(super) name: &'static str,
    pub(super) mode: &'static str,
    pub(super) program: Program,
    /// Its arguments; the depth is appended, so the last is the option for it.
    pub(super) words: &'static str,
    /// What else is different about it.
    pub(super) note: Option<&'static str>,
}

impl Server {
    /// `UBLK_F_*` bits that the mode needs.
    pub(super) fn features(&self) -> u64 {
        match self.mode {
            "user-copy" => USER_COPY,
            "auto-buf" => AUTO_BUF_REG,
            "batch-auto-buf" => BATCH_IO | AUTO_BUF_REG,
            _ => 0,
        }
    }
}

const fn server(
    target: PerfTarget,
    name: &'static str,
    mode: &'static str,
    program: Program,
    words: &'static str,
) -> Server {
    Server { target, name, mode, program, words, note: None }
}

const fn noted(server: Server, note: &'static str) -> Server {
    Server { note: Some(note), ..server }
}

use PerfTarget::{File, Null, Ram};
use Program::{Kublk, LibublkFile, LibublkNull, LibublkRam, Rublk, Ublk};

const NULL_KUBLK: &str =
    "in user-copy it reads and writes the bytes, which no other null target does";
const FILE_OURS: &str = "with --direct, as the other servers open the file";
const RAM_LIBUBLK: &str = "its ramdisk example, which has no options for queues and depth";

/// Everybody. Ours in the mode `copy` comes first of each target: it is what the others are compared with.
pub(super) const SERVERS: &[Server] = &[
    server(Null, "ublk", "copy", Ublk, "add null --untouched --size 1G --id 1 --queues 1 --depth"),
    server(
        Null,
        "ublk",
        "user-copy",
        Ublk,
        "add null --untouched --size 1G --id 1 --queues 1 --mode user-copy --depth",
    ),
    server(
        Null,
        "ublk",
        "auto-buf",
        Ublk,
        "add null --untouched --size 1G --id 1 --queues 1 --mode auto-zero-copy --depth",
    ),
    server(
        Null,
        "ublk",
        "batch-auto-buf",
        Ublk,
        "add null --untouched --size 1G --id 1 --queues 1 --batch --mode auto-zero-copy --depth",
    ),
    noted(server(Null, "kublk", "copy", Kublk, "add -t null -n 1 -q 1 -d"), NULL_KUBLK),
    noted(server(Null, "kublk", "user-copy", Kublk, "add -t null -n 1 -q 1 -u -d"), NULL_KUBLK),
    noted(
        server(Null, "kublk", "auto-buf", Kublk, "add -t null -n 1 -q 1 --auto_zc -d"),
        NULL_KUBLK,
    ),
    noted(
        server(Null, "kublk", "batch-auto-buf", Kublk, "add -t null -n 1 -q 1 -b --auto_zc -d"),
        NULL_KUBLK,
    ),
    server(Null, "libublk", "copy", LibublkNull, "add --foreground -n 1 -q 1 -d"),
    server(Null, "libublk", "user-copy", LibublkNull, "add --foreground -n 1 -q 1 -u -d"),
    server(Null, "libublk", "auto-buf", LibublkNull, "add --foreground -n 1 -q 1 -z -d"),
    server(Null, "rublk", "copy", Rublk, "add null --foreground -n 1 -q 1 -d"),
    server(Null, "rublk", "user-copy", Rublk, "add null --foreground -n 1 -q 1 -u -d"),
    server(Null, "rublk", "auto-buf", Rublk, "add null --foreground -n 1 -q 1 -z -d"),
    noted(
        server(
            File,
            "ublk-file",
            "copy",
            Ublk,
            "add file --path /tmp/compare.img --direct --id 1 --queues 1 --depth",
        ),
        FILE_OURS,
    ),
    noted(
        server(
            File,
            "ublk-file",
            "user-copy",
            Ublk,
            "add file --path /tmp/compare.img --direct --id 1 --queues 1 --mode user-copy --depth",
        ),
        FILE_OURS,
    ),
    noted(
        server(
            File,
            "ublk-file",
            "auto-buf",
            Ublk,
            "add file --path /tmp/compare.img --direct --id 1 --queues 1 --mode auto-zero-copy --depth",
        ),
        FILE_OURS,
    ),
    server(File, "kublk-file", "copy", Kublk, "add -t loop /tmp/compare.img -n 1 -q 1 -d"),
    server(File, "kublk-file", "user-copy", Kublk, "add -t loop /tmp/compare.img -n 1 -q 1 -u -d"),
    server(
        File,
        "kublk-file",
        "auto-buf",
        Kublk,
        "add -t loop /tmp/compare.img -n 1 -q 1 --auto_zc -d",
    ),
    server(
        File,
        "libublk-file",
        "copy",
        LibublkFile,
        "add --foreground -f /tmp/compare.img -n 1 -q 1 -d",
    ),
    server(
        File,
        "rublk-file",
        "copy",
        Rublk,
        "add loop --foreground -f /tmp/compare.img -n 1 -q 1 -d",
    ),
    server(
        File,
        "rublk-file",
        "auto-buf",
        Rublk,
        "add loop --foreground -f /tmp/compare.img -n 1 -q 1 -z -d",
    ),
    server(Ram, "ublk-ram", "copy", Ublk, "add ram --size 256M --id 1 --queues 1 --depth"),
    server(
        Ram,
        "ublk-ram",
        "user-copy",
        Ublk,
        "add ram --size 256M --id 1 --queues 1 --mode user-copy --depth",
    ),
    noted(server(Ram, "libublk-ram", "copy", LibublkRam, "add 1 256"), RAM_LIBUBLK),
];
