//! Mutants of the ways bytes can take, and of the targets that are more than a row of bytes.

use super::mutant::{Mutant, before, behind, instead};

const WORKER: &str = "ublk/src/queue/worker.rs";
const METADATA: &str = "ublk/src/queue/metadata.rs";
const ZONE_REQUESTS: &str = "ublk/src/queue/execute/zones.rs";
const BATCH: &str = "ublk/src/sys/batch.rs";
const BYTES: &str = "ublk/src/sys/worker_ring/bytes.rs";
const COMMANDS: &str = "ublk/src/sys/worker_ring/commands.rs";
const FILE: &str = "ublk/src/target/file.rs";
const COW: &str = "ublk/src/target/cow.rs";
const STRIPE: &str = "ublk/src/target/stripe.rs";
const ZONES: &str = "ublk/src/target/zoned/zones.rs";

/// Bugs of one mode, or of one target.
pub(super) const MODES: &[Mutant] = &[
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
];
