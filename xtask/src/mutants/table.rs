//! The mutants: what servers have done wrong, or easily could. A table, and so as long as it is.
//!
//! Code is planted beside lines that must be there once; where several mutants share a line each puts its own beside it
//! and leaves it as it is.

use super::mutant::{Mutant, before, behind, instead};

const EXECUTE: &str = "ublk/src/queue/execute.rs";
const WORKER: &str = "ublk/src/queue/worker.rs";
const SERVE: &str = "ublk/src/queue/serve.rs";
const METADATA: &str = "ublk/src/queue/metadata.rs";
const ZONE_REQUESTS: &str = "ublk/src/queue/execute/zones.rs";
const EXTENTS: &str = "ublk/src/queue/task/extents.rs";
const AFFINITY: &str = "ublk/src/queue/affinity.rs";
const COUNTERS: &str = "ublk/src/queue/counters.rs";
const DESCRIPTORS: &str = "ublk/src/sys/desc.rs";
const BUFFERS: &str = "ublk/src/sys/buffers.rs";
const BATCH: &str = "ublk/src/sys/batch.rs";
const RING: &str = "ublk/src/sys/worker_ring.rs";
const BYTES: &str = "ublk/src/sys/worker_ring/bytes.rs";
const COMMANDS: &str = "ublk/src/sys/worker_ring/commands.rs";
const FILE: &str = "ublk/src/target/file.rs";
const COW: &str = "ublk/src/target/cow.rs";
const STRIPE: &str = "ublk/src/target/stripe.rs";
const ZONES: &str = "ublk/src/target/zoned/zones.rs";
const LIVE: &str = "ublk/src/server/live.rs";
const WORKERS: &str = "ublk/src/server/workers.rs";
const RESIZE: &str = "ublk/src/server/resize.rs";
const PARAMS: &str = "ublk/src/params/basic.rs";
const RECOVERY: &str = "ublk/src/device/recovery.rs";

const READ: &str = "        Op::Read => target.read_hinted(offset, buffer, descriptor.hints),";
const WRITE: &str =
    "        Op::Write => target.write_hinted(offset, buffer, descriptor.fua, descriptor.hints),";
const FLUSH: &str = "        Op::Flush => target.flush(),";
const DISCARD: &str = "        Op::Discard => target.discard(offset, len),";
const ZEROES: &str =
    "        Op::WriteZeroes => target.write_zeroes(offset, len, !descriptor.no_unmap),";
const DONE: &str = "        Ok(()) => i32::try_from(len).unwrap_or(i32::MAX).into(),";
const ARRIVED: &str = "                    self.owned += 1;";
const COMMIT: &str = "        let committed = self.slots[slot as usize].tag.commit(answer.result, answer.append_sector);";

/// All of them.
pub(crate) const MUTANTS: &[Mutant] = &[
    // What is written and read.
    Mutant {
        name: "lost-write",
        what: "one write of seven is acknowledged and forgotten",
        first: &["data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            WRITE,
            "Op::Write if crate::mutant::every(\"lost-write\", 7) => Ok(()),",
        )],
    },
    Mutant {
        name: "torn-write",
        what: "a write of more than a sector ends in its middle, and reports all of it",
        first: &["data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            WRITE,
            "Op::Write if len > 512 && crate::mutant::is(\"torn-write\") => {
                 let half = (buffer.len() / 1024 * 512).max(512);
                 target.write_hinted(offset, &buffer[..half], descriptor.fua, descriptor.hints)
             }",
        )],
    },
    Mutant {
        name: "stale-read",
        what: "one read of five is answered with what the buffer held before",
        first: &["data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            READ,
            "Op::Read if crate::mutant::every(\"stale-read\", 5) => Ok(()),",
        )],
    },
    Mutant {
        name: "read-of-the-sector-before",
        what: "reads are answered from one sector before",
        first: &["data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            READ,
            "Op::Read if crate::mutant::is(\"read-of-the-sector-before\") => {
                 target.read_hinted(offset.saturating_sub(512), buffer, descriptor.hints)
             }",
        )],
    },
    Mutant {
        name: "write-to-the-sector-behind",
        what: "writes go to one sector behind",
        first: &["data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            WRITE,
            "Op::Write if offset + len + 512 <= size_bytes && crate::mutant::is(\"write-to-the-sector-behind\") => {
                 target.write_hinted(offset + 512, buffer, descriptor.fua, descriptor.hints)
             }",
        )],
    },
    Mutant {
        name: "sectors-of-4096-bytes",
        what: "a start sector is taken for a block of 4096 bytes",
        first: &["data/request-sizes"],
        edits: &[behind(
            EXECUTE,
            "    let Some(offset) = descriptor.offset_bytes() else { return (-libc::EIO).into() };",
            "    let offset = if crate::mutant::is(\"sectors-of-4096-bytes\") { offset.wrapping_mul(8) } else { offset };",
        )],
    },
    Mutant {
        name: "short-read-reported-full",
        what: "a read of more than a page fills its first half, and reports all of it",
        first: &["data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            READ,
            "Op::Read if len > 4096 && crate::mutant::is(\"short-read-reported-full\") => {
                 let half = buffer.len() / 2;
                 target.read_hinted(offset, &mut buffer[..half], descriptor.hints)
             }",
        )],
    },
    Mutant {
        name: "idle-buffer-dropped",
        what: "a buffer is given back while its tag waits, and with it the first page of a write that had come",
        first: &["data/scattered-ram"],
        edits: &[behind(
            WORKER,
            ARRIVED,
            "if crate::mutant::every(\"idle-buffer-dropped\", 6)
                 && let Some(bytes) = self.port.buffer(slot, 4096)
             {
                 bytes.fill(0);
             }",
        )],
    },
    Mutant {
        name: "one-buffer-for-all-tags",
        what: "all tags of a queue have one buffer, and overwrite each other in flight",
        first: &["data/scattered-ram-4q-4096"],
        edits: &[
            behind(
                BUFFERS,
                "    pub(crate) fn address(&self, tag: u16) -> Option<u64> {",
                "        let tag = if crate::mutant::is(\"one-buffer-for-all-tags\") { 0 } else { tag };",
            ),
            behind(
                BUFFERS,
                "    pub(crate) fn place(&self, tag: u16, len_bytes: usize) -> Option<NonNull<[u8]>> {",
                "        let tag = if crate::mutant::is(\"one-buffer-for-all-tags\") { 0 } else { tag };",
            ),
        ],
    },
    // FLUSH, FUA, DISCARD, WRITE_ZEROES.
    Mutant {
        name: "flush-ignored",
        what: "FLUSH is acknowledged and nothing made durable",
        first: &["data/file-target-flushes-its-file", "data/flush"],
        edits: &[before(
            EXECUTE,
            FLUSH,
            "Op::Flush if crate::mutant::is(\"flush-ignored\") => Ok(()),",
        )],
    },
    Mutant {
        name: "fua-ignored",
        what: "a FUA write is written as any other",
        first: &["data/fua"],
        edits: &[
            before(
                EXECUTE,
                WRITE,
                "Op::Write if crate::mutant::is(\"fua-ignored\") => {
                     target.write_hinted(offset, buffer, false, descriptor.hints)
                 }",
            ),
            instead(
                EXTENTS,
                "write && descriptor.fua)",
                "write && descriptor.fua && !crate::mutant::is(\"fua-ignored\"))",
            ),
        ],
    },
    Mutant {
        name: "discard-zeroes-the-neighbour",
        what: "a discard reaches one sector too far",
        first: &["data/discard"],
        edits: &[before(
            EXECUTE,
            DISCARD,
            "Op::Discard if offset + len + 512 <= size_bytes
                 && crate::mutant::is(\"discard-zeroes-the-neighbour\") =>
             {
                 target.discard(offset, len + 512)
             }",
        )],
    },
    Mutant {
        name: "write-zeroes-ignored",
        what: "WRITE_ZEROES is acknowledged and the old bytes stay",
        first: &["data/discard"],
        edits: &[before(
            EXECUTE,
            ZEROES,
            "Op::WriteZeroes if crate::mutant::is(\"write-zeroes-ignored\") => Ok(()),",
        )],
    },
    Mutant {
        name: "write-zeroes-one-sector-short",
        what: "the last sector of a WRITE_ZEROES keeps its bytes",
        first: &["data/discard"],
        edits: &[before(
            EXECUTE,
            ZEROES,
            "Op::WriteZeroes if crate::mutant::is(\"write-zeroes-one-sector-short\") => {
                 target.write_zeroes(offset, len - 512, !descriptor.no_unmap)
             }",
        )],
    },
    // Results.
    Mutant {
        name: "error-reported-as-success",
        what: "an error of the target is acknowledged as success",
        first: &["targets/fault-error", "lifecycle/errors"],
        edits: &[before(
            EXECUTE,
            DONE,
            "        Err(_) if crate::mutant::is(\"error-reported-as-success\") => {
                 i32::try_from(len).unwrap_or(i32::MAX).into()
             }",
        )],
    },
    Mutant {
        name: "wrong-sign-of-an-error",
        what: "an error of the target is committed as a positive number",
        first: &["targets/fault-error", "lifecycle/errors"],
        edits: &[before(
            EXECUTE,
            DONE,
            "        Err(error) if crate::mutant::is(\"wrong-sign-of-an-error\") => errno_of(&error).into(),",
        )],
    },
    Mutant {
        name: "every-error-is-eio",
        what: "whatever errno the target says, EIO is committed",
        first: &["targets/fault-error", "lifecycle/errors"],
        edits: &[before(
            EXECUTE,
            DONE,
            "        Err(_) if crate::mutant::is(\"every-error-is-eio\") => (-libc::EIO).into(),",
        )],
    },
    Mutant {
        name: "read-that-moved-nothing",
        what: "one read of eleven is committed with 0 bytes",
        first: &["data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            DONE,
            "        Ok(()) if descriptor.op == Op::Read && crate::mutant::every(\"read-that-moved-nothing\", 11) => 0.into(),",
        )],
    },
    Mutant {
        name: "panic-ends-the-process",
        what: "a target that panics takes the server with it",
        first: &["lifecycle/errors", "targets/fault", "modes/async"],
        edits: &[before(
            SERVE,
            "            request.note_panic();",
            "            if crate::mutant::is(\"panic-ends-the-process\") { std::process::abort() }",
        )],
    },
    // Tags.
    Mutant {
        name: "lost-tag",
        what: "one answer of forty is never committed",
        first: &["data/scattered-ram"],
        edits: &[before(
            WORKER,
            COMMIT,
            "        if crate::mutant::every(\"lost-tag\", 40) { return Ok(()) }",
        )],
    },
    Mutant {
        name: "commit-twice",
        what: "one answer of nine is committed twice",
        first: &["data/scattered-ram"],
        edits: &[behind(
            WORKER,
            "        self.owned -= 1;",
            "        if crate::mutant::every(\"commit-twice\", 9) { self.push(slot, command)?; }",
        )],
    },
    Mutant {
        name: "last-tag-not-fetched",
        what: "the last tag of a thread is not fetched, and START_DEV waits for it",
        first: &["lifecycle/fresh-state"],
        edits: &[behind(
            WORKER,
            "        for slot in 0..self.slots() {",
            "            if slot + 1 == self.slots() && crate::mutant::is(\"last-tag-not-fetched\") { continue }",
        )],
    },
    Mutant {
        name: "get-data-forgotten",
        what: "a write that waits for its buffer is never asked for its data",
        first: &["modes/get-data"],
        edits: &[before(
            WORKER,
            "                    let command = machine.tag.get_data();",
            "                    if crate::mutant::is(\"get-data-forgotten\") { continue }",
        )],
    },
    Mutant {
        name: "eintr-not-retried",
        what: "a signal during io_uring_enter ends the queue",
        first: &["lifecycle/signals"],
        edits: &[before(
            RING,
            "                    Some(libc::EINTR) => {}",
            "                    Some(libc::EINTR) if crate::mutant::is(\"eintr-not-retried\") => return Err(error),",
        )],
    },
    // Descriptors.
    Mutant {
        name: "stride-by-queue-depth",
        what: "descriptors of queue n are mapped n times the area's length away, which the kernel takes for queue 0",
        first: &["data/scattered-ram-4q-4096"],
        edits: &[behind(
            DESCRIPTORS,
            "        let offset = desc_area_offset(queue, io_desc_size, page);",
            "        let by_depth = crate::mutant::is(\"stride-by-queue-depth\");
             let offset = if by_depth { u64::from(queue) * len_bytes as u64 } else { offset };",
        )],
    },
    Mutant {
        name: "descriptor-of-the-neighbour",
        what: "a tag is served by the descriptor of the tag beside it",
        first: &["data/scattered-ram"],
        edits: &[behind(
            DESCRIPTORS,
            "        let tag = usize::from(tag);",
            "        let beside = crate::mutant::is(\"descriptor-of-the-neighbour\") && tag ^ 1 < self.slots;
             let tag = if beside { tag ^ 1 } else { tag };",
        )],
    },
    // User copy.
    Mutant {
        name: "user-copy-of-queue-0",
        what: "bytes are copied from and to the requests of queue 0",
        first: &["modes/user-copy-ram"],
        edits: &[instead(
            BYTES,
            "            queue: self.lanes[lane].queue,",
            "            queue: if crate::mutant::is(\"user-copy-of-queue-0\") { 0 } else { self.lanes[lane].queue },",
        )],
    },
    Mutant {
        name: "user-copy-of-tag-0",
        what: "bytes are copied from and to the request of tag 0",
        first: &["modes/user-copy-ram"],
        edits: &[instead(
            BYTES,
            "            tag: self.lanes[lane].tags.tag(index),",
            "            tag: if crate::mutant::is(\"user-copy-of-tag-0\") { 0 } else { self.lanes[lane].tags.tag(index) },",
        )],
    },
    Mutant {
        name: "user-copy-cut-short",
        what: "half of a request's bytes are copied",
        first: &["modes/user-copy-ram"],
        edits: &[before(
            BYTES,
            "        let mut rest = if integrity {",
            "        let half = !integrity && len_bytes > 512 && crate::mutant::is(\"user-copy-cut-short\");
             let len_bytes = if half { len_bytes / 2 } else { len_bytes };",
        )],
    },
    Mutant {
        name: "user-copy-of-reads-forgotten",
        what: "what was read is not copied into the request",
        first: &["modes/user-copy-ram"],
        edits: &[behind(
            WORKER,
            "        let moves = shared.is_some() || self.lane(slot).moves_bytes();",
            "        let moves = moves && !crate::mutant::is(\"user-copy-of-reads-forgotten\");",
        )],
    },
    // Registered pages.
    Mutant {
        name: "registered-buffer-0",
        what: "every transfer names the first registered buffer",
        first: &["modes/zero-copy-file"],
        edits: &[instead(
            COMMANDS,
            "                            Place::Registered { index, offset: u64::from(start_bytes) }",
            "                            let index = if crate::mutant::is(\"registered-buffer-0\") { 0 } else { index };
                             Place::Registered { index, offset: u64::from(start_bytes) }",
        )],
    },
    Mutant {
        name: "registered-buffer-kept",
        what: "a request's pages stay registered when it is answered",
        first: &["modes/zero-copy-file"],
        edits: &[behind(
            COMMANDS,
            "    pub(crate) fn unregister(&mut self, slot: u32) -> io::Result<()> {",
            "        if crate::mutant::is(\"registered-buffer-kept\") { return Ok(()) }",
        )],
    },
    Mutant {
        name: "auto-buffer-of-the-neighbour",
        what: "automatic registration is told the index of the slot beside",
        first: &["modes/auto-zero-copy-file"],
        edits: &[instead(
            COMMANDS,
            "                index: slot as u16,",
            "                index: slot as u16 ^ u16::from(crate::mutant::is(\"auto-buffer-of-the-neighbour\")),",
        )],
    },
    Mutant {
        name: "extent-one-block-off",
        what: "a file's extent begins 4096 bytes behind where it is",
        first: &["data/scattered-file"],
        edits: &[before(
            FILE,
            "        extents.push(Extent { file: 0, offset_bytes, len_bytes });",
            "        let off = if crate::mutant::is(\"extent-one-block-off\") { 4096 } else { 0 };
             let offset_bytes = (offset_bytes + off).min(self.size_bytes() - u64::from(len_bytes));",
        )],
    },
    // Batches.
    Mutant {
        name: "batch-element-lost",
        what: "one element of thirty does not get into its batch",
        first: &["modes/batch-copy-ram", "abi/batch-server"],
        edits: &[behind(
            BATCH,
            "    pub(super) fn add(&mut self, element: Element) -> Result<(), Element> {",
            "        if crate::mutant::every(\"batch-element-lost\", 30) { return Ok(()) }",
        )],
    },
    // Metadata.
    Mutant {
        name: "metadata-of-writes-lost",
        what: "metadata that comes with a write is not taken from the request",
        first: &["targets/integrity"],
        edits: &[behind(
            METADATA,
            "        let len_bytes = self.metadata_len_bytes(slot, descriptor);",
            "        if crate::mutant::is(\"metadata-of-writes-lost\") { return Ok(true) }",
        )],
    },
    Mutant {
        name: "metadata-of-reads-lost",
        what: "metadata that was read is not put into the request",
        first: &["targets/integrity"],
        edits: &[behind(
            METADATA,
            "        let wanted = descriptor.has_metadata && descriptor.wants_data();",
            "        let wanted = wanted && !crate::mutant::is(\"metadata-of-reads-lost\");",
        )],
    },
    // Zones.
    Mutant {
        name: "append-somewhere-else",
        what: "a zone append names the sector behind the one it was written to",
        first: &["targets/zoned"],
        edits: &[instead(
            ZONE_REQUESTS,
            "            append_sector: at / SECTOR_BYTES,",
            "            append_sector: at / SECTOR_BYTES + u64::from(crate::mutant::is(\"append-somewhere-else\")),",
        )],
    },
    Mutant {
        name: "write-pointer-stuck",
        what: "a write does not move its zone's write pointer",
        first: &["targets/zoned"],
        edits: &[behind(
            ZONES,
            "    pub(super) fn advance(&mut self, offset: u64, len: u64) {",
            "        if crate::mutant::is(\"write-pointer-stuck\") { return }",
        )],
    },
    Mutant {
        name: "reset-keeps-the-write-pointer",
        what: "a zone that was reset goes on where it was",
        first: &["targets/zoned"],
        edits: &[instead(
            ZONES,
            "        self.states[number].written = 0;",
            "        if !crate::mutant::is(\"reset-keeps-the-write-pointer\") { self.states[number].written = 0; }",
        )],
    },
    Mutant {
        name: "open-zones-without-limit",
        what: "more zones are open than the device says it can have",
        first: &["targets/zoned"],
        edits: &[instead(
            ZONES,
            "        if max_open_zones != 0 && open >= max_open_zones {",
            "        if max_open_zones != 0 && open >= max_open_zones && !crate::mutant::is(\"open-zones-without-limit\") {",
        )],
    },
    // Targets made of others.
    Mutant {
        name: "cow-reads-the-base",
        what: "what was written is read from the base",
        first: &["targets/scattered-cow"],
        edits: &[instead(
            COW,
            "            if written {\n                self.overlay.read(",
            "            if written && !crate::mutant::is(\"cow-reads-the-base\") {\n                self.overlay.read(",
        )],
    },
    Mutant {
        name: "cow-copies-nothing-up",
        what: "the rest of a cluster is lost at its first write",
        first: &["targets/scattered-cow"],
        edits: &[behind(
            COW,
            "    fn copy_up_around(&self, at: u64, len: u64) -> io::Result<()> {",
            "        if crate::mutant::is(\"cow-copies-nothing-up\") { return Ok(()) }",
        )],
    },
    Mutant {
        name: "cow-map-forgotten",
        what: "a cluster is marked in memory, and not in the overlay",
        first: &["targets/cow-survives-kill"],
        edits: &[behind(
            COW,
            "        self.map_mut().set(range.clone());",
            "        if crate::mutant::is(\"cow-map-forgotten\") { return Ok(()) }",
        )],
    },
    Mutant {
        name: "stripes-on-the-wrong-member",
        what: "the first two members of a stripe change places after a start",
        first: &["targets/stripe", "targets/scattered-stripe"],
        edits: &[instead(
            STRIPE,
            "            Some(((in_row / self.chunk_bytes) as usize, row",
            "            let member = (in_row / self.chunk_bytes) as usize;
             let swapped = member < 2 && crate::mutant::is(\"stripes-on-the-wrong-member\");
             Some((if swapped { member ^ 1 } else { member }, row",
        )],
    },
    // What is said about the device.
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
        what: "a queue's buffers are touched, and never unmapped",
        first: &["lifecycle/twenty-cycles"],
        edits: &[behind(
            BUFFERS,
            "    fn drop(&mut self) {",
            "        if crate::mutant::is(\"leaked-memory\") {
                 // SAFETY: mapped, writable and nobody's any more.
                 unsafe { self.base.as_ptr().write_bytes(1, self.stride_bytes * usize::from(self.depth)) };
                 return;
             }",
        )],
    },
    Mutant {
        name: "late-start",
        what: "START_DEV is sent a second after all tags were fetched",
        first: &["lifecycle/start-time"],
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
