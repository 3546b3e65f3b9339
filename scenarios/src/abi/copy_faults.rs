//! User copy with memory that faults: pread and pwrite on the char device answer a short count, or none, where every other file
//! says EFAULT. A server that looks for errors alone serves half a request and calls it whole; so what is answered is pinned.

use reports::event::FailureKind;
use ublk::raw::{Addr, AnyFile, Arena, CharFile, Ordinary, RawRing, RawSqe, RingShape};
use ublk::uapi::{Features, UserCopyPos};

use super::buffers::{AT, LEN, check_same, client, content, finish};
use super::control::{live, tear_down};
use crate::context::{Context, During, Stop};
use crate::rig::{EFAULT, arena, offered, only_result};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "abi/user-copy-faults",
    title: "user copy into or from memory that faults answers what was moved before, down to 0, and never EFAULT",
    covers: &["uc.fault.silent"],
    run: faults,
    ..Scenario::DRIVER
}];

/// Bytes before the end of the memory where a transfer begins that runs over it, and what is moved of it.
const BEFORE_END: [usize; 3] = [4096, 100, 1];

/// The kernel's copies go up to the fault byte by byte on x86. On arm64 they end at a step of at most 64 bytes before it,
/// but for the first byte: of 100 bytes 96 were seen to be moved.
const STEP: usize = if cfg!(target_arch = "aarch64") { 64 } else { 1 };

/// The server's way of moving a request's bytes to and from any address.
struct Mover<'a> {
    file: &'a CharFile,
    ring: RawRing,
    position: u64,
}

impl Mover<'_> {
    /// Bytes moved of `len_bytes`, or a negative errno.
    fn moves(
        &mut self,
        context: &mut Context,
        op: Ordinary,
        addr: Addr<'_>,
        len_bytes: usize,
    ) -> Result<i32, Stop> {
        let len = u16::try_from(len_bytes).during("name a length")?;
        let sqe = RawSqe::ordinary(op, AnyFile::Char(self.file), self.position, addr, len);
        only_result(context, &mut self.ring, &sqe)
    }

    /// Addresses that fault at once, or behind some bytes.
    fn check(&mut self, context: &mut Context, op: Ordinary, memory: &Arena) -> Result<(), Stop> {
        for before in BEFORE_END {
            let addr = Addr::Arena(memory, memory.len_bytes() - before);
            let moved = self.moves(context, op, addr, LEN)?;
            let what = format!("{op:?} of {LEN} bytes, {before} before memory that faults");
            let short = i32::try_from(before).during("name a count")?;
            let least = i32::try_from((before + 1).saturating_sub(STEP).max(1));
            let stepped = (least.during("name a count")?..short).contains(&moved);
            context.check_result(what, if stepped { short } else { moved }, short)?;
        }
        let none = self.moves(context, op, Addr::Unmapped(memory), LEN)?;
        context.check_result(format_args!("{op:?} with memory that faults"), none, 0)?;
        // What is no address of a process is refused before the driver is asked.
        let refused = self.moves(context, op, Addr::KernelHalf(4096), LEN)?;
        context.check_result(format_args!("{op:?} with the kernel's memory"), refused, -EFAULT)
    }
}

fn faults(context: &mut Context) -> Result<String, Stop> {
    offered(Features::USER_COPY)?;
    let memory = arena(LEN)?;
    let len = i32::try_from(LEN).during("name a length")?;
    let (rig, file, mut fetcher) = live(context, Features::USER_COPY)?;

    let sent = content(context, 7);
    let writer = client(context, &rig, Some(content(context, 7)));
    let tag = fetcher.next_request(context, AT / 512)?;
    let mut mover = mover(&file, tag)?;
    mover.check(context, Ordinary::Read, &memory)?;
    let unwritable = mover.moves(context, Ordinary::Read, Addr::ReadOnly(&memory), 4096)?;
    context.check_result("Read into memory that cannot be written", unwritable, 0)?;
    // Each of them began with the request's first byte.
    let mut first = [0; 1];
    memory.read(memory.len_bytes() - 1, &mut first);
    let what = "what came before the fault is the request's";
    context.check(FailureKind::DataMismatch, what, first[0] == sent[0])?;
    let whole = mover.moves(context, Ordinary::Read, Addr::Arena(&memory, 0), LEN)?;
    context.check_result("all of it, where nothing faults", whole, len)?;
    let mut got = vec![0; LEN];
    memory.read(0, &mut got);
    check_same(context, &got, &sent)?;
    fetcher.commit(tag, len)?;
    finish(context, &mut fetcher, writer)??;
    drop(mover);

    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    let mut mover = self::mover(&file, tag)?;
    mover.check(context, Ordinary::Write, &memory)?;
    let whole = mover.moves(context, Ordinary::Write, Addr::Arena(&memory, 0), LEN)?;
    context.check_result("all of it, where nothing faults", whole, len)?;
    fetcher.commit(tag, len)?;
    let back = finish(context, &mut fetcher, reader)??;
    check_same(context, &back, &sent)?;
    drop(mover);
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("short by the fault, {} times each way; 0 where all faults", BEFORE_END.len()))
}

fn mover(file: &CharFile, tag: u16) -> Result<Mover<'_>, Stop> {
    let position = UserCopyPos { queue: 0, tag, offset_bytes: 0, integrity: false }.encode();
    let position = position.ok_or_else(|| Stop::error("a tag has no position"))?;
    let ring = RawRing::new(RingShape::default()).during("make a ring")?;
    Ok(Mover { file, ring, position })
}
