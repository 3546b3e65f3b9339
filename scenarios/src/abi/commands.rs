//! I/O commands that ask for what cannot be, and what the client of the disk sees of a server's wrong answers.

use std::sync::Arc;
use std::time::Duration;

use reports::event::FailureKind;
use ublk::ctrl::Command;
use ublk::raw::{Addr, IoPayload, RawRing, RawSqe, RingShape};
use ublk::uapi::{Attrs, Features, IO_RES_ABORT, IoCmdOp};

use super::buffers::{AT, check_same, client, content, finish};
use super::control::{live, live_with, tear_down};
use crate::block::{BlockDevice, nodes};
use crate::context::{Context, During, Stop};
use crate::rig::{EINVAL, EIO, EOPNOTSUPP, Fetcher, Rig, arena, offered};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/io-commands-that-are-refused",
        title: "a command of another type, an unknown one and a commit without a buffer leave the tag as it was",
        covers: &["io.type.bad", "io.op.unknown", "commit.addr.missing", "regio.other.nozc"],
        run: refused,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/fetch-of-a-stopping-device",
        title: "FETCH after STOP_DEV is answered as an abort while the server holds the device open",
        covers: &["fetch.stopping"],
        run: stopping,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/register-of-a-flush",
        title: "a request without data has no pages that could be registered",
        covers: &["regio.owner.nodata"],
        run: flush_without_pages,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/reads-that-moved-nothing",
        title: "a READ that is committed with 0 bytes, or from memory that faults, is EIO to its reader",
        covers: &["rq.read.zero", "rq.read.copyfault"],
        run: moved_nothing,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/write-into-memory-that-faults",
        title: "a WRITE whose buffer faults is tried again and again, and STOP_DEV waits, until its server has gone",
        covers: &["rq.write.mapfail"],
        run: write_into_nothing,
        ..Scenario::DRIVER
    },
];

/// `_IOWR('v', 0x20, 16)`: FETCH_REQ with another driver's letter.
const FOREIGN_FETCH: u32 = (3 << 30) | (16 << 16) | (0x76 << 8) | 0x20;
/// `_IOWR('u', 0x2f, 16)`: no command of this driver.
const UNKNOWN: u32 = (3 << 30) | (16 << 16) | (0x75 << 8) | 0x2f;

fn refused(context: &mut Context) -> Result<String, Stop> {
    let mut fresh = Rig::ready(context, 1, 2)?;
    let file = Arc::new(fresh.open(context)?);
    let mut fetcher = Fetcher::new(&fresh, &file, 0)?;
    fetcher.command(FOREIGN_FETCH, 0, 0, 0, true)?;
    let foreign = fetcher.only_completion(context, "a FETCH of type v")?.res;
    context.check_result("FETCH with another driver's type", foreign, -EOPNOTSUPP)?;
    drop(fetcher);
    drop(file);
    fresh.delete(context)?;

    let (rig, file, mut fetcher) = live(context, Features::empty())?;
    let sent = content(context, 1);
    let writer = client(context, &rig, Some(content(context, 1)));
    let tag = fetcher.next_request(context, AT / 512)?;
    fetcher.command(UNKNOWN, 0, tag, 0, true)?;
    let unknown = fetcher.only_completion(context, "an unknown command")?.res;
    context.check_result("an unknown command of an owned tag", unknown, -EINVAL)?;
    let bytes = fetcher.request_bytes(tag);
    fetcher.command(IoCmdOp::CommitAndFetchReq.encoded(), 0, tag, bytes, false)?;
    let missing = fetcher.only_completion(context, "a commit without a buffer")?.res;
    context.check_result("COMMIT without a buffer in copy mode", missing, -EINVAL)?;
    let stranger = registered_by_a_stranger(context, &file, tag)?;
    context.check_result("REGISTER_IO_BUF by a stranger in copy mode", stranger, -EINVAL)?;
    fetcher.answer(tag)?;
    finish(context, &mut fetcher, writer)??;
    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    fetcher.answer(tag)?;
    let back = finish(context, &mut fetcher, reader)??;
    check_same(context, &back, &sent)?;
    tear_down(context, rig, file, fetcher)?;
    Ok("4 refused, and the tag's data is what it was".into())
}

/// REGISTER_IO_BUF of a tag from a task that does not own it.
fn registered_by_a_stranger(
    context: &Context,
    file: &ublk::raw::CharFile,
    tag: u16,
) -> Result<i32, Stop> {
    let timeout = context.command_timeout();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let mut ring = RawRing::new(RingShape::default()).during("make a ring")?;
            ring.register_sparse_buffers(2).during("make a buffer table")?;
            let payload = IoPayload { tag, addr: Addr::Small(0), ..IoPayload::default() };
            ring.push(&RawSqe::io(file, IoCmdOp::RegisterIoBuf.encoded(), &payload))?;
            let answer = ring.wait(1, timeout).during("wait for a command")?;
            answer.first().map(|c| c.res).ok_or_else(|| Stop::error("no completion"))
        });
        thread.join().map_err(|_| Stop::error("the other task panicked"))?
    })
}

fn stopping(context: &mut Context) -> Result<String, Stop> {
    if !context.kernel.at_least(7, 3) {
        let reason = "the driver knows no stopping state before 7.3";
        return Err(Stop::skip("kernel release", reason));
    }
    let mut rig = Rig::ready(context, 1, 2)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch(0)?;
    rig.stop()?;
    let aborted = fetcher.wait(1, context.command_timeout())?;
    let results: Vec<_> = aborted.iter().map(|completion| completion.res).collect();
    let aborts = vec![IO_RES_ABORT];
    context.check_eq(FailureKind::Completion, "the tag that was fetched", &results, &aborts)?;
    for tag in 0..2 {
        fetcher.fetch(tag)?;
        let late = fetcher.only_completion(context, "a FETCH after STOP_DEV")?.res;
        context.check_result(format_args!("FETCH of tag {tag} after it"), late, IO_RES_ABORT)?;
    }
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok("ENODEV".into())
}

fn flush_without_pages(context: &mut Context) -> Result<String, Stop> {
    offered(Features::SUPPORT_ZERO_COPY)?;
    let (rig, file, mut fetcher) = live_with(context, Features::SUPPORT_ZERO_COPY, 4, |params| {
        params.basic.attrs |= Attrs::VOLATILE_CACHE;
    })?;
    let flush = flusher(context, &rig);
    let tag = fetcher.next_request(context, u64::MAX)?;
    let payload = IoPayload { tag, addr: Addr::Small(0), ..IoPayload::default() };
    let sqe = RawSqe::io(&file, IoCmdOp::RegisterIoBuf.encoded(), &payload);
    let result = fetcher.result_of(context, "a FLUSH's pages", sqe)?;
    context.check_result("REGISTER_IO_BUF of a FLUSH", result, -EINVAL)?;
    fetcher.commit(tag, 0)?;
    flushed(context, &mut fetcher, flush)?;
    tear_down(context, rig, file, fetcher)?;
    Ok("EINVAL".into())
}

/// One FLUSH from another thread.
pub(super) fn flusher(context: &Context, rig: &Rig) -> std::thread::JoinHandle<Result<(), String>> {
    let (path, timeout) = (nodes(rig.id).1, context.command_timeout());
    std::thread::spawn(move || {
        let device = BlockDevice::open(&path, timeout).map_err(|stop| stop.to_string())?;
        device.flush().map_err(|error| error.to_string())
    })
}

/// The FLUSH's end, which has to be a good one.
pub(super) fn flushed(
    context: &mut Context,
    fetcher: &mut Fetcher,
    flush: std::thread::JoinHandle<Result<(), String>>,
) -> Result<(), Stop> {
    let answered = crate::block::wait_until(context.command_timeout(), || {
        let _ = fetcher.serve_for(Duration::from_millis(5));
        flush.is_finished()
    });
    context.check(FailureKind::Completion, "the FLUSH is answered", answered)?;
    let told = flush.join().map_err(|_| Stop::error("the client panicked"))?;
    context.check(FailureKind::Operation, format_args!("FLUSH: {told:?}"), told.is_ok())
}

fn moved_nothing(context: &mut Context) -> Result<String, Stop> {
    let (rig, file, mut fetcher) = live(context, Features::empty())?;
    let eio = |read: &std::io::Result<()>| {
        read.as_ref().is_err_and(|error| error.raw_os_error() == Some(EIO))
    };
    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    fetcher.commit(tag, 0)?;
    let read = finish(context, &mut fetcher, reader)?.map(drop);
    let what = format!("a READ committed with 0: {read:?}");
    context.check(FailureKind::Errno, what, eio(&read))?;

    // 6.12 takes the fault for a request to be tried again.
    if !context.kernel.at_least(7, 2) {
        tear_down(context, rig, file, fetcher)?;
        return Ok("EIO".into());
    }
    let memory = arena(4096)?;
    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    let result = fetcher.request_bytes(tag);
    let addr = Addr::Unmapped(&memory);
    let payload = IoPayload { queue: 0, tag, result, addr };
    let sqe = RawSqe::io(&file, IoCmdOp::CommitAndFetchReq.encoded(), &payload);
    fetcher.send(&sqe.user_data(tag.into()))?;
    let read = finish(context, &mut fetcher, reader)?.map(drop);
    let what = format!("a READ whose bytes fault: {read:?}");
    context.check(FailureKind::Errno, what, eio(&read))?;
    tear_down(context, rig, file, fetcher)?;
    Ok("EIO, twice".into())
}

fn write_into_nothing(context: &mut Context) -> Result<String, Stop> {
    let memory = arena(4096)?;
    let (mut rig, file, mut fetcher) = live_with(context, Features::empty(), 1, |params| {
        params.basic.attrs |= Attrs::VOLATILE_CACHE;
    })?;
    // Nothing is copied for a FLUSH, so its commit can leave the only tag with a buffer that faults.
    let flush = flusher(context, &rig);
    let tag = fetcher.next_request(context, u64::MAX)?;
    let payload = IoPayload { queue: 0, tag, result: 0, addr: Addr::Unmapped(&memory) };
    let sqe = RawSqe::io(&file, IoCmdOp::CommitAndFetchReq.encoded(), &payload);
    fetcher.send(&sqe.user_data(tag.into()))?;
    flushed(context, &mut fetcher, flush)?;
    let writer = client(context, &rig, Some(content(context, 1)));
    let delivered = fetcher.serve_for(context.quiet())?;
    context.check_eq(FailureKind::Completion, "deliveries of the WRITE", &delivered, &0)?;
    context.check(FailureKind::Completion, "the writer waits", !writer.is_finished())?;
    let id = rig.id;
    let stop = rig.control().submit(Command::StopDev { dev_id: id })?;
    rig.check_waiting(context, &stop, "STOP_DEV, as the WRITE is never answered,")?;
    // Only the server's end fails what is tried again and again.
    drop(fetcher);
    drop(file);
    rig.control().wait(&stop, context.command_timeout())?;
    let ended = crate::block::wait_until(context.command_timeout(), || writer.is_finished());
    context.check(FailureKind::Completion, "the writer gets an answer", ended)?;
    let written = writer.join().map_err(|_| Stop::error("the client panicked"))??;
    let what = format!("the WRITE fails with its server: {:?}", written.as_ref().map(drop));
    context.check(FailureKind::Operation, what, written.is_err())?;
    rig.delete(context)?;
    Ok("never delivered, and STOP_DEV waits until the server has gone".into())
}
