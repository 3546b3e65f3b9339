//! Mutants of what is said about a device, and of the life of its server.

use super::mutant::{Mutant, before, behind, instead};

const EXECUTE: &str = "ublk/src/queue/execute.rs";
const AFFINITY: &str = "ublk/src/queue/affinity.rs";
const COUNTERS: &str = "ublk/src/queue/counters.rs";
const LIVE: &str = "ublk/src/server/live.rs";
const WORKERS: &str = "ublk/src/server/workers.rs";
const RESIZE: &str = "ublk/src/server/resize.rs";
const PARAMS: &str = "ublk/src/params/basic.rs";
const RECOVERY: &str = "ublk/src/device/recovery.rs";
const READ: &str = "        Op::Read => target.read_hinted(offset, buffer, descriptor.hints),";

/// Bugs that no byte shows.
pub(super) const LIFE: &[Mutant] = &[
    Mutant {
        name: "one-sector-too-large",
        what: "the device is a sector larger than its target",
        first: &["data/options", "lifecycle/fresh-state", "lifecycle/info"],
        edits: &[instead(
            PARAMS,
            "            dev_sectors: blocks * (u64::from(logical) / SECTOR_BYTES),",
            "            dev_sectors: blocks * (u64::from(logical) / SECTOR_BYTES)
                 + u64::from(crate::mutant::is(\"one-sector-too-large\")) * u64::from(logical) / SECTOR_BYTES,",
        )],
    },
    Mutant {
        name: "read-only-not-said",
        what: "a read-only device is writable",
        first: &["data/read-only"],
        edits: &[instead(
            PARAMS,
            "(self.read_only || read_only, Attrs::READ_ONLY),",
            "((self.read_only || read_only) && !crate::mutant::is(\"read-only-not-said\"), Attrs::READ_ONLY),",
        )],
    },
    Mutant {
        name: "cache-not-said",
        what: "the kernel is not told of a volatile cache, and never sends a FLUSH",
        first: &["data/flush", "data/file-target-flushes-its-file"],
        edits: &[instead(
            PARAMS,
            "(flush, Attrs::VOLATILE_CACHE),",
            "(flush && !crate::mutant::is(\"cache-not-said\"), Attrs::VOLATILE_CACHE),",
        )],
    },
    Mutant {
        name: "reissue-not-asked-for",
        what: "a device that is to send its requests again is made without",
        first: &["recovery/killed-reissue"],
        edits: &[
            instead(
                RECOVERY,
                "    pub const fn features(self) -> Features {",
                "    pub fn features(self) -> Features {",
            ),
            before(
                RECOVERY,
                "            Self::Reissue => Features::USER_RECOVERY.union(Features::USER_RECOVERY_REISSUE),",
                "            Self::Reissue if crate::mutant::is(\"reissue-not-asked-for\") => Features::USER_RECOVERY,",
            ),
        ],
    },
    Mutant {
        name: "size-not-told",
        what: "a resize changes the target, and not the disk",
        first: &["recovery/resize"],
        edits: &[behind(
            RESIZE,
            "    fn update_kernel(&self, control: &mut Control, dev_sectors: u64) -> Result<(), ResizeError> {",
            "        if crate::mutant::is(\"size-not-told\") { return Ok(()) }",
        )],
    },
    // The life of a server.
    Mutant {
        name: "device-left-behind",
        what: "a server that stops does not delete its device",
        first: &["lifecycle/stop-idle", "lifecycle/fresh-state"],
        edits: &[instead(
            LIVE,
            "            stopped.delete(DELETE_TIMEOUT)?;",
            "            if crate::mutant::is(\"device-left-behind\") { stopped.detach(); } else { stopped.delete(DELETE_TIMEOUT)?; }",
        )],
    },
    Mutant {
        name: "leaked-fd",
        what: "each queue thread leaves a file open",
        first: &["lifecycle/twenty-cycles"],
        edits: &[before(
            WORKERS,
            "    worker.fetch_all()?;",
            "    if crate::mutant::is(\"leaked-fd\") { std::mem::forget(std::fs::File::open(\"/dev/null\")); }",
        )],
    },
    Mutant {
        name: "leaked-memory",
        what: "each queue thread leaves 4 MiB behind",
        first: &["lifecycle/twenty-cycles"],
        edits: &[before(
            WORKERS,
            "    worker.fetch_all()?;",
            "    if crate::mutant::is(\"leaked-memory\") { std::mem::forget(std::hint::black_box(vec![1_u8; 4 << 20])); }",
        )],
    },
    Mutant {
        name: "late-start",
        what: "START_DEV is sent a second after all tags were fetched",
        first: &["lifecycle/starts-when"],
        edits: &[before(
            WORKERS,
            "    shared.armed(index);",
            "    if crate::mutant::is(\"late-start\") { std::thread::sleep(Duration::from_secs(1)); }",
        )],
    },
    Mutant {
        name: "wakes-while-idle",
        what: "a server with nothing to do wakes up all the time",
        first: &["lifecycle/idle"],
        edits: &[before(
            WORKERS,
            "    shared.armed(index);",
            "    if crate::mutant::is(\"wakes-while-idle\") {
                 std::thread::spawn(|| loop { std::thread::sleep(Duration::from_millis(10)) });
             }",
        )],
    },
    Mutant {
        name: "threads-anywhere",
        what: "queue threads are not pinned to their CPUs",
        first: &["modes/threads-run"],
        edits: &[instead(
            AFFINITY,
            "    sched_setaffinity(Pid::from_raw(0), &set).map_err(io::Error::from)",
            "    if crate::mutant::is(\"threads-anywhere\") { return Ok(()) }
             sched_setaffinity(Pid::from_raw(0), &set).map_err(io::Error::from)",
        )],
    },
    Mutant {
        name: "hints-dropped",
        what: "what the kernel says about a request does not reach the target",
        first: &["modes/hints"],
        edits: &[before(
            EXECUTE,
            READ,
            "Op::Read if crate::mutant::is(\"hints-dropped\") => target.read(offset, buffer),",
        )],
    },
    Mutant {
        name: "reads-counted-twice",
        what: "`ublk stats` shows twice the reads there were",
        first: &["command/stats"],
        edits: &[instead(
            COUNTERS,
            "            Op::Read => add(&self.reads, 1),",
            "            Op::Read => add(&self.reads, 1 + u64::from(crate::mutant::is(\"reads-counted-twice\"))),",
        )],
    },
];
