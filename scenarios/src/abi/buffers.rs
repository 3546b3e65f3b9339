//! The ways in which a server gets at a request's bytes without a copy of the driver's choosing: on demand, and by
//! registration. Data goes all the way round in each.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::raw::{Addr, CharFile, IoPayload, RawRing, RawSqe, RingShape};
use ublk::uapi::{Features, IO_RES_NEED_GET_DATA, IoCmdOp, Op};

use super::control::{live, tear_down};
use crate::block::{AlignedBuffer, BlockDevice, nodes};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{EBUSY, EINVAL, EIO, Fetcher, Rig, arena, backing_file, offered};
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/need-get-data",
        title: "a write waits for its buffer, NEED_GET_DATA fills it, and nothing else is taken meanwhile",
        covers: &[
            "cqe.getdata",
            "io.getdata.pending",
            "io.getdata.unexpected",
            "commit.addr.missing.read",
        ],
        run: need_get_data,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/register-io-buf",
        title: "a request's pages are registered, read, written and taken out again; wrong slots are refused",
        covers: &[
            "regio.owner.nozc",
            "regio.owner.index",
            "regio.owner.slot",
            "unregio.nozc",
            "unregio.index",
            "unregio.empty",
            "unregio.notkbuf",
            "fetch.addr.forbidden",
            "commit.addr.forbidden",
        ],
        budget: BudgetClass::Normal,
        known_bug: KernelRelease::page_registration_bug,
        run: register_io_buf,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/register-from-another-task",
        title: "a task that owns no tag registers a request's pages in a ring of its own",
        covers: &[
            "regio.other.noreq",
            "regio.other.index",
            "regio.other.slot",
            "UBLK_F_BUF_REG_OFF_DAEMON",
        ],
        known_bug: KernelRelease::page_registration_bug,
        run: off_daemon,
        ..Scenario::DRIVER
    },
];

/// Where the one request of a client goes, beyond what a partition scan looks at.
pub(super) const AT: u64 = 1 << 20;
pub(super) const LEN: usize = 8192;
/// What a rig's device holds.
pub(super) const DISK_BYTES: u64 = 8 << 20;

/// One `O_DIRECT` request from another thread, which waits while this one serves.
pub(super) type Client = JoinHandle<Result<std::io::Result<AlignedBuffer>, Stop>>;

pub(super) fn client(context: &Context, rig: &Rig, content: Option<AlignedBuffer>) -> Client {
    let (path, timeout) = (nodes(rig.id).1, context.command_timeout());
    std::thread::spawn(move || {
        let device = BlockDevice::open(&path, timeout)?;
        Ok(match content {
            Some(content) => device.write_at(AT, &content).map(|()| content),
            None => {
                let mut buffer = AlignedBuffer::zeroed(LEN);
                device.read_at(AT, &mut buffer).map(|()| buffer)
            }
        })
    })
}

pub(super) fn content(context: &Context, generation: u64) -> AlignedBuffer {
    let mut content = AlignedBuffer::zeroed(LEN);
    fill(&mut content, AT / 512, generation, context.seed);
    content
}

/// The client's end, while requests that come after its own (another look at the disk) are served.
pub(super) fn finish(
    context: &mut Context,
    fetcher: &mut Fetcher,
    client: Client,
) -> Result<std::io::Result<AlignedBuffer>, Stop> {
    let begin = Instant::now();
    while !client.is_finished() && begin.elapsed() < context.command_timeout() {
        fetcher.serve_for(std::time::Duration::from_millis(5))?;
    }
    context.check(FailureKind::Completion, "the client gets its answer", client.is_finished())?;
    client.join().map_err(|_| Stop::error("the client panicked"))?
}

pub(super) fn check_same(context: &mut Context, back: &[u8], sent: &[u8]) -> Result<(), Stop> {
    let told = first_difference(AT / 512, back, sent);
    let what = format!("{LEN} bytes come back: {told:?}");
    context.check(FailureKind::DataMismatch, what, told.is_none())
}

fn need_get_data(context: &mut Context) -> Result<String, Stop> {
    offered(Features::NEED_GET_DATA)?;
    let (rig, file, mut fetcher) = live(context, Features::NEED_GET_DATA)?;
    let sent = content(context, 1);
    let expected = content(context, 1);
    let writer = client(context, &rig, Some(sent));
    let asked = fetcher.wait(1, context.command_timeout())?;
    let results: Vec<_> = asked.iter().map(|completion| completion.res).collect();
    context.check_eq(
        FailureKind::Completion,
        "the write's first answer",
        &results,
        &vec![IO_RES_NEED_GET_DATA],
    )?;
    let tag = u16::try_from(asked[0].user_data).during("read a tag")?;
    let request = fetcher.request(tag);
    let told = (request.op(), request.start_sector, request.nr_sectors);
    let right = (Some(Op::Write), AT / 512, u32::try_from(LEN / 512).unwrap_or(0));
    context.check_eq(FailureKind::State, "the request", &told, &right)?;
    fetcher.command(IoCmdOp::CommitAndFetchReq.encoded(), 0, tag, -EIO, true)?;
    let early = fetcher.only_completion(context, "a commit before the data")?.res;
    context.check_result("COMMIT before NEED_GET_DATA", early, -EINVAL)?;
    fetcher.command(IoCmdOp::NeedGetData.encoded(), 0, tag, 0, true)?;
    let filled = fetcher.only_completion(context, "NEED_GET_DATA")?.res;
    context.check_result("NEED_GET_DATA", filled, 0)?;
    fetcher.command(IoCmdOp::NeedGetData.encoded(), 0, tag, 0, true)?;
    let twice = fetcher.only_completion(context, "a second NEED_GET_DATA")?.res;
    context.check_result("NEED_GET_DATA that nobody asked for", twice, -EINVAL)?;
    fetcher.answer(tag)?;
    let written = finish(context, &mut fetcher, writer)?;
    context.check(
        FailureKind::Operation,
        format_args!("the write: {written:?}"),
        written.is_ok(),
    )?;
    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    fetcher.command(IoCmdOp::CommitAndFetchReq.encoded(), 0, tag, 0, false)?;
    let missing = fetcher.only_completion(context, "a read without a buffer")?.res;
    context.check_result("COMMIT of a read without a buffer", missing, -EINVAL)?;
    fetcher.answer(tag)?;
    let back = finish(context, &mut fetcher, reader)??;
    check_same(context, &back, &expected)?;
    tear_down(context, rig, file, fetcher)?;
    Ok("+1, then the data; 3 commands out of turn refused".into())
}

pub(super) fn slot_command(file: &CharFile, op: IoCmdOp, tag: u16, slot: Addr<'_>) -> RawSqe {
    RawSqe::io(file, op.encoded(), &IoPayload { tag, addr: slot, ..IoPayload::default() })
}

/// Moves a request's bytes between its registered pages and the file.
pub(super) fn move_slot(
    context: &mut Context,
    fetcher: &mut Fetcher,
    backing: &Arc<File>,
    write: bool,
    slot: u16,
) -> Result<(), Stop> {
    let len = u32::try_from(LEN).unwrap_or(0);
    let sqe = if write {
        RawSqe::write_fixed(backing, AT, len)
    } else {
        RawSqe::read_fixed(backing, AT, len)
    };
    let moved = fetcher.result_of(context, "fixed I/O", sqe.buf_index(slot))?;
    context.check_result("bytes moved", moved, i32::try_from(LEN).unwrap_or(0))
}

fn register_io_buf(context: &mut Context) -> Result<String, Stop> {
    offered(Features::SUPPORT_ZERO_COPY)?;
    let (register, unregister) = (IoCmdOp::RegisterIoBuf, IoCmdOp::UnregisterIoBuf);
    let (rig, file, mut fetcher) = live(context, Features::empty())?;
    let writer = client(context, &rig, Some(content(context, 1)));
    let tag = fetcher.next_request(context, AT / 512)?;
    for op in [register, unregister] {
        let sqe = slot_command(&file, op, tag, Addr::Small(0));
        let refused = fetcher.result_of(context, "a slot in copy mode", sqe)?;
        context.check_result(format_args!("{} in copy mode", op.name()), refused, -EINVAL)?;
    }
    fetcher.answer(tag)?;
    finish(context, &mut fetcher, writer)??;
    tear_down(context, rig, file, fetcher)?;

    let mut rig = Rig::ready_with(context, 1, 2, Features::SUPPORT_ZERO_COPY)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    let memory = arena(4096)?;
    let payload = IoPayload { addr: Addr::Arena(&memory, 0), ..IoPayload::default() };
    let sqe = RawSqe::io(&file, IoCmdOp::FetchReq.encoded(), &payload);
    let forbidden = fetcher.result_of(context, "FETCH with a buffer", sqe)?;
    context.check_result("FETCH with a buffer in zero copy", forbidden, -EINVAL)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;

    let backing = backing_file(DISK_BYTES)?;
    let (rig, file, mut fetcher) = live(context, Features::SUPPORT_ZERO_COPY)?;
    fetcher.ring().register_arena(3, &memory).during("register memory")?;
    let writer = client(context, &rig, Some(content(context, 2)));
    let tag = fetcher.next_request(context, AT / 512)?;
    for (what, op, slot, expected) in [
        ("a slot beyond the table", register, Addr::Small(900), -EINVAL),
        ("a slot with memory in it", register, Addr::Small(3), -EBUSY),
        ("an empty slot", unregister, Addr::Small(1), -EINVAL),
        ("a slot beyond the table", unregister, Addr::Small(900), -EINVAL),
        ("a slot with memory in it", unregister, Addr::Small(3), -EBUSY),
        ("slot 0", register, Addr::Small(0), 0),
        ("slot 0 again", register, Addr::Small(0), -EBUSY),
        // Only the low half of the number counts.
        ("slot 1, with noise above it", register, Addr::KernelHalf(1), 0),
        ("slot 1", unregister, Addr::Small(1), 0),
    ] {
        let sqe = slot_command(&file, op, tag, slot);
        let result = fetcher.result_of(context, what, sqe)?;
        context.check_result(format_args!("{} of {what}", op.name()), result, expected)?;
    }
    move_slot(context, &mut fetcher, &backing, true, 0)?;
    let out = fetcher.result_of(
        context,
        "slot 0 out",
        slot_command(&file, unregister, tag, Addr::Small(0)),
    )?;
    context.check_result("UNREGISTER_IO_BUF of slot 0", out, 0)?;
    let len = i32::try_from(LEN).unwrap_or(0);
    let payload =
        IoPayload { tag, result: len, addr: Addr::Arena(&memory, 0), ..IoPayload::default() };
    let sqe = RawSqe::io(&file, IoCmdOp::CommitAndFetchReq.encoded(), &payload);
    let forbidden = fetcher.result_of(context, "COMMIT with a buffer", sqe)?;
    context.check_result("COMMIT with a buffer in zero copy", forbidden, -EINVAL)?;
    fetcher.commit(tag, len)?;
    finish(context, &mut fetcher, writer)??;
    let mut stored = vec![0; LEN];
    backing.read_exact_at(&mut stored, AT).during("read the file")?;
    let sent = content(context, 2);
    check_same(context, &stored, &sent)?;

    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    let put =
        fetcher.result_of(context, "slot 0", slot_command(&file, register, tag, Addr::Small(0)))?;
    context.check_result("REGISTER_IO_BUF of a read", put, 0)?;
    move_slot(context, &mut fetcher, &backing, false, 0)?;
    let out = fetcher.result_of(
        context,
        "slot 0 out",
        slot_command(&file, unregister, tag, Addr::Small(0)),
    )?;
    context.check_result("UNREGISTER_IO_BUF of a read", out, 0)?;
    fetcher.commit(tag, len)?;
    let back = finish(context, &mut fetcher, reader)??;
    check_same(context, &back, &sent)?;
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{LEN} bytes out and in without a copy; 9 wrong slots"))
}

fn off_daemon(context: &mut Context) -> Result<String, Stop> {
    offered(Features::SUPPORT_ZERO_COPY | Features::BUF_REG_OFF_DAEMON)?;
    let (rig, file, mut fetcher) = live(context, Features::SUPPORT_ZERO_COPY)?;
    let writer = client(context, &rig, Some(content(context, 3)));
    let tag = fetcher.next_request(context, AT / 512)?;
    let backing = backing_file(DISK_BYTES)?;
    let idle = (0..4).find(|other| *other != tag).unwrap_or(0);
    let mut results = Vec::new();
    let timeout = context.command_timeout();
    std::thread::scope(|scope| {
        let (file, backing, results) = (&file, &backing, &mut results);
        let stranger = scope.spawn(move || {
            let mut ring = RawRing::new(RingShape::default()).during("make a ring")?;
            ring.register_sparse_buffers(2).during("make a buffer table")?;
            let register =
                |tag, slot| slot_command(file, IoCmdOp::RegisterIoBuf, tag, Addr::Small(slot));
            let out = slot_command(file, IoCmdOp::UnregisterIoBuf, tag, Addr::Small(0));
            let len = u32::try_from(LEN).unwrap_or(0);
            for (what, sqe) in [
                ("a tag without a request", register(idle, 0)),
                ("a slot beyond the table", register(tag, 2)),
                ("slot 0", register(tag, 0)),
                ("slot 0 again", register(tag, 0)),
                ("a write from slot 0", RawSqe::write_fixed(backing, AT, len).buf_index(0)),
                ("slot 0 out", out),
            ] {
                ring.push(&sqe).during("push a command")?;
                let answer = ring.wait(1, timeout).during("wait for a command")?;
                results.push((what, answer.first().map(|completion| completion.res)));
            }
            Ok::<_, Stop>(())
        });
        stranger.join().map_err(|_| Stop::error("the other task panicked"))?
    })?;
    let len = i32::try_from(LEN).unwrap_or(0);
    for ((what, result), expected) in results.into_iter().zip([-EINVAL, -EINVAL, 0, -EBUSY, len, 0])
    {
        let what = format!("from another task: {what}");
        context.check_eq(FailureKind::Errno, what, &result, &Some(expected))?;
    }
    fetcher.commit(tag, len)?;
    finish(context, &mut fetcher, writer)??;
    let mut stored = vec![0; LEN];
    backing.read_exact_at(&mut stored, AT).during("read the file")?;
    let sent = content(context, 3);
    check_same(context, &stored, &sent)?;
    tear_down(context, rig, file, fetcher)?;
    Ok("registered, written and taken out by a task that owns no tag".into())
}
