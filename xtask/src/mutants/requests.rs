//! Mutants of what every request goes through: its bytes, its result, its tag, its descriptor. A table, and so as long as it
//! is.
//!
//! Code is planted beside lines that must be there once; where several mutants share a line each puts its own beside it
//! and leaves it as it is.

use super::mutant::{Mutant, before, behind, instead};

const EXECUTE: &str = "ublk/src/queue/execute.rs";
const WORKER: &str = "ublk/src/queue/worker.rs";
const SERVE: &str = "ublk/src/queue/serve.rs";
const EXTENTS: &str = "ublk/src/queue/task/extents.rs";
const DESCRIPTORS: &str = "ublk/src/sys/desc.rs";
const BUFFERS: &str = "ublk/src/sys/buffers.rs";
const RING: &str = "ublk/src/sys/worker_ring.rs";
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

/// Bugs that any mode and target can show.
pub(super) const REQUESTS: &[Mutant] = &[
    // What is written and read.
    Mutant {
        name: "lost-write",
        what: "one write of seven is acknowledged and forgotten",
        first: &["data/request-sizes", "data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            WRITE,
            "Op::Write if crate::mutant::every(\"lost-write\", 7) => Ok(()),",
        )],
    },
    Mutant {
        name: "torn-write",
        what: "a write of more than a sector ends in its middle, and reports all of it",
        first: &["data/request-sizes", "data/scattered-ram"],
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
        name: "read-modify-write-of-pages",
        what: "a write within a page reads the page, changes it and writes it back, and holds no lock meanwhile",
        first: &["property/linear-ram-copy"],
        edits: &[before(
            EXECUTE,
            WRITE,
            "Op::Write if offset % 4096 + len <= 4096 && crate::mutant::is(\"read-modify-write-of-pages\") => {
                 let (page, at) = (offset / 4096 * 4096, (offset % 4096) as usize);
                 let mut whole = [0; 4096];
                 target.read_hinted(page, &mut whole, descriptor.hints).and_then(|()| {
                     whole[at..at + buffer.len()].copy_from_slice(buffer);
                     std::thread::yield_now();
                     target.write_hinted(page, &whole, descriptor.fua, descriptor.hints)
                 })
             }",
        )],
    },
    Mutant {
        name: "stale-read",
        what: "one read of five is answered with what the buffer held before",
        first: &["data/request-sizes", "data/scattered-ram"],
        edits: &[before(
            EXECUTE,
            READ,
            "Op::Read if crate::mutant::every(\"stale-read\", 5) => Ok(()),",
        )],
    },
    Mutant {
        name: "read-of-the-sector-before",
        what: "reads are answered from one sector before",
        first: &["data/request-sizes", "data/scattered-ram"],
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
        first: &["data/request-sizes", "data/scattered-ram"],
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
        first: &["data/request-sizes", "data/scattered-ram"],
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
        first: &["data/request-sizes", "data/scattered-ram"],
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
        first: &["data/request-sizes", "data/scattered-ram"],
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
        first: &["data/request-sizes", "data/scattered-ram"],
        edits: &[before(
            WORKER,
            COMMIT,
            "        if crate::mutant::every(\"lost-tag\", 40) { return Ok(()) }",
        )],
    },
    Mutant {
        name: "commit-twice",
        what: "one answer of nine is committed twice",
        first: &["data/request-sizes", "data/scattered-ram"],
        edits: &[behind(
            WORKER,
            "        self.owned -= 1;",
            "        if crate::mutant::every(\"commit-twice\", 9) { self.push(slot, command)?; }",
        )],
    },
    Mutant {
        name: "last-tag-not-fetched",
        what: "the last tag of a thread is not fetched, and START_DEV waits for it",
        first: &["data/request-sizes"],
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
        first: &["data/request-sizes", "data/scattered-ram"],
        edits: &[behind(
            DESCRIPTORS,
            "        let tag = usize::from(tag);",
            "        let beside = crate::mutant::is(\"descriptor-of-the-neighbour\") && tag ^ 1 < self.slots;
             let tag = if beside { tag ^ 1 } else { tag };",
        )],
    },
];
