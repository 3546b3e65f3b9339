//! Batch commands: one server on them, and every way in which they are refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::ctrl::{Command, Pending};
use ublk::raw::{Addr, BatchElement, CharFile, IoPayload, RawSqe, SqeAddr};
use ublk::uapi::{BatchFlags, BatchIo, Features, IoCmdOp};

use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{
    BatchHand, E2BIG, EBUSY, EFAULT, EINVAL, ENOBUFS, ENODEV, EOPNOTSUPP, Rig, arena,
};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/batch-server",
        title: "a server on PREP, FETCH and COMMIT_IO_CMDS keeps what is written and ends with the device",
        covers: &[
            "UBLK_F_BATCH_IO",
            "b.fetch.nobufs",
            "b.fetch.tinybuf",
            "b.fetch.fault",
            "b.commit.addr",
            "cqe.abort.batch",
        ],
        budget: BudgetClass::Normal,
        run: server,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/batch-auto-registration",
        title: "a batch server finds each request's pages in the slot that its element named, another one each time",
        covers: &["ublk_elem_header.buf_index"],
        budget: BudgetClass::Normal,
        known_bug: KernelRelease::page_registration_bug,
        run: auto_registration,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/batch-prepare-and-commit-refusals",
        title: "a malformed PREP_IO_CMDS or COMMIT_IO_CMDS is refused and leaves no tag prepared",
        covers: &[
            "b.check.qid",
            "b.check.nrelem",
            "b.check.zonelba",
            "b.check.fallback",
            "b.check.bufaddr",
            "b.flags.unknown",
            "b.elembytes",
            "b.prep.fault",
            "b.prep.tag",
            "b.prep.addr",
            "b.prep.active",
            "b.prep.ready",
            "b.commit.tag",
            "b.commit.notowned",
            "b.commit.fault",
        ],
        run: refusals,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/batch-fetch-refusals",
        title: "a malformed FETCH_IO_CMDS, and every per-tag command, is refused on a batch device",
        covers: &[
            "b.fetch.qid",
            "b.fetch.nomshot",
            "b.fetch.elembytes",
            "b.fetch.flags",
            "b.other.qid",
            "b.other.tag",
            "b.other.op",
            "b.regio",
            "b.unregio",
            "b.prep.stopping",
            "b.fetch.forceabort",
        ],
        run: fetch_refusals,
        ..Scenario::DRIVER
    },
];

const DEPTH: u16 = 8;

pub(super) fn batch_device(
    context: &mut Context,
    more: Features,
) -> Result<(Rig, Arc<CharFile>, BatchHand), Stop> {
    let rig = Rig::ready_with(context, 1, DEPTH, Features::BATCH_IO | more)?;
    let flags = rig.info.flags;
    let cleared = !flags.contains(Features::PER_IO_DAEMON);
    context.check(FailureKind::State, format_args!("{flags}: no PER_IO_DAEMON"), cleared)?;
    let file = Arc::new(rig.open(context)?);
    let hand = BatchHand::new(context, &rig, &file)?;
    Ok((rig, file, hand))
}

fn close(
    context: &mut Context,
    mut rig: Rig,
    file: Arc<CharFile>,
    hand: BatchHand,
) -> Result<(), Stop> {
    drop(hand);
    drop(file);
    rig.delete(context)
}

/// Serves until `command` is answered.
pub(super) fn drive(
    context: &mut Context,
    rig: &mut Rig,
    hand: &mut BatchHand,
    pending: &Pending,
) -> Result<(), Stop> {
    let begin = Instant::now();
    while begin.elapsed() < context.command_timeout() {
        hand.serve_for(Duration::from_millis(5))?;
        if rig.control().poll(pending)?.is_some() {
            return Ok(());
        }
    }
    let what = format!("{} got no answer", pending.op().name());
    Err(Stop::fail(FailureKind::Completion, what))
}

fn server(context: &mut Context) -> Result<String, Stop> {
    let (mut rig, file, mut hand) = batch_device(context, Features::empty())?;
    let prepared = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS of every tag", prepared, 0)?;
    // Nobody provides buffers in this group: the delivery fails, and the tag waits for a better command.
    let hopeless = hand.fetch_command(9).user_data(77);
    hand.ring().push(&hopeless)?;
    hand.ring().submit()?;
    // It keeps the char device open, and DEL_DEV would wait for it.
    drop(hopeless);
    let early = hand.ring().wait(1, context.quiet())?;
    let pending = rig.start_begin()?;
    let failed =
        if early.is_empty() { hand.ring().wait(1, context.command_timeout())? } else { early };
    let seen: Vec<_> = failed.iter().map(|c| (c.user_data, c.res)).collect();
    context.check_eq(
        FailureKind::Completion,
        "FETCH without buffers",
        &seen,
        &vec![(77, -ENOBUFS)],
    )?;
    drop_into_bad_buffers(context, &mut hand)?;
    hand.commit_nowhere_first();
    hand.fetch()?;
    drive(context, &mut rig, &mut hand, &pending)?;
    let nowhere = hand.nowhere;
    context.check_eq(
        FailureKind::Errno,
        "COMMIT_IO_CMDS of a request with a null address in copy mode",
        &nowhere,
        &Some(-EINVAL),
    )?;
    let answered = serve_and_stop(context, rig, file, hand)?;
    Ok(format!("{answered} requests in batches"))
}

fn auto_registration(context: &mut Context) -> Result<String, Stop> {
    let auto = Features::AUTO_BUF_REG | Features::SUPPORT_ZERO_COPY;
    let (mut rig, file, mut hand) = batch_device(context, auto)?;
    let prepared = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS with a slot for each tag", prepared, 0)?;
    let pending = rig.start_begin()?;
    hand.fetch()?;
    drive(context, &mut rig, &mut hand, &pending)?;
    let answered = serve_and_stop(context, rig, file, hand)?;
    Ok(format!("{answered} requests without a copy"))
}

/// FETCHes whose buffers cannot take a tag, while one waits to be delivered: both fail, and it waits on.
fn drop_into_bad_buffers(context: &mut Context, hand: &mut BatchHand) -> Result<(), Stop> {
    const TINY: u16 = 7;
    const LOST: u16 = 8;
    let memory = arena(4096)?;
    hand.ring().provide_buffer(TINY, 0, Addr::Arena(&memory, 0), 1)?;
    hand.ring().provide_buffer(LOST, 0, Addr::Unmapped(&memory), 256)?;
    for (what, group) in [("of one byte", TINY), ("in unmapped memory", LOST)] {
        let result = hand.result_of(what, hand.fetch_command(group))?;
        context.check_result(
            format_args!("FETCH_IO_CMDS with a buffer {what}"),
            result,
            -ENOBUFS,
        )?;
    }
    Ok(())
}

fn serve_and_stop(
    context: &mut Context,
    mut rig: Rig,
    file: Arc<CharFile>,
    mut hand: BatchHand,
) -> Result<u64, Stop> {
    context.check(FailureKind::Completion, "START_DEV with prepared tags", true)?;
    // Requests are delivered by the thread that fetches, so it is the other one that waits for them.
    let round_trip = std::thread::scope(|scope| {
        let client = scope.spawn(|| rig.check_round_trip(context));
        while !client.is_finished() {
            // Said here, because the client that is joined on the way out now waits for ever.
            hand.serve_for(Duration::from_millis(5))
                .inspect_err(|stop| eprintln!("server: {stop}"))?;
        }
        client.join().map_err(|_| Stop::error("the round trip panicked"))?
    });
    round_trip?;
    let again = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS of a live device", again, -EBUSY)?;
    let answered = hand.answered;
    context.check(FailureKind::Completion, "requests were served", answered > 0)?;
    let id = rig.id;
    let stop = rig.control().submit(Command::StopDev { dev_id: id })?;
    drive(context, &mut rig, &mut hand, &stop)?;
    let begin = Instant::now();
    while hand.is_fetching() && begin.elapsed() < context.command_timeout() {
        hand.serve_for(Duration::from_millis(5))?;
    }
    context.check(
        FailureKind::Completion,
        "FETCH_IO_CMDS ends with ENODEV",
        !hand.is_fetching(),
    )?;
    close(context, rig, file, hand)?;
    Ok(answered)
}

fn refusals(context: &mut Context) -> Result<String, Stop> {
    let (rig, file, mut hand) = batch_device(context, Features::empty())?;
    let memory = arena(4096)?;
    let right = hand.payload(2);
    let no_addr = BatchIo { flags: BatchFlags::empty(), elem_bytes: 8, nr_elem: 2, ..right };
    let unknown = BatchFlags::from_bits(1 << 8);
    let payloads = [
        ("another queue", BatchIo { q_id: 1, ..right }, -EINVAL),
        ("more elements than tags", BatchIo { nr_elem: DEPTH + 1, ..right }, -E2BIG),
        (
            "a zone LBA on a device without zones",
            BatchIo { flags: BatchFlags::HAS_ZONE_LBA, elem_bytes: 16, ..right },
            -EINVAL,
        ),
        (
            "a fallback without automatic registration",
            BatchIo { flags: BatchFlags::AUTO_BUF_REG_FALLBACK, elem_bytes: 8, ..right },
            -EINVAL,
        ),
        ("unknown flags", BatchIo { flags: unknown, elem_bytes: 8, ..right }, -EINVAL),
        ("a wrong length", BatchIo { elem_bytes: 16, ..no_addr }, -EINVAL),
        ("length 0", BatchIo { elem_bytes: 0, ..no_addr }, -EINVAL),
    ];
    hand.elements().fill(0, &[hand.element(0, 0), hand.element(1, 0)]);
    for op in [IoCmdOp::PrepIoCmds, IoCmdOp::CommitIoCmds] {
        for (what, payload, expected) in payloads {
            let result = hand.result_of(what, hand.command(op, &payload))?;
            context.check_result(format_args!("{} with {what}", op.name()), result, expected)?;
        }
        let nothing = hand.command(op, &hand.payload(0));
        let result = hand.result_of("no elements", nothing)?;
        context.check_result(format_args!("{} of no elements", op.name()), result, 0)?;
        let lost = RawSqe::batch_fetch(&file, op.encoded(), &right)
            .sqe_addr(SqeAddr::Addr(Addr::Unmapped(&memory)));
        let result = hand.result_of("unmapped elements", lost)?;
        context.check_result(
            format_args!("{} of unmapped elements", op.name()),
            result,
            -EFAULT,
        )?;
    }
    let prep = IoCmdOp::PrepIoCmds;
    let without = hand.result_of("no addresses", hand.command(prep, &no_addr))?;
    context.check_result("PREP_IO_CMDS without addresses in copy mode", without, -EINVAL)?;
    for (what, op, tags, nowhere, expected) in [
        ("a tag too far", prep, [0, DEPTH], false, -EINVAL),
        ("a null address", prep, [0, 1], true, -EINVAL),
        ("a tag twice", prep, [1, 1], false, -EINVAL),
        ("a tag too far", IoCmdOp::CommitIoCmds, [DEPTH, 0], false, -EINVAL),
        ("tags that are not owned", IoCmdOp::CommitIoCmds, [0, 1], false, -EBUSY),
    ] {
        let elements = tags.map(|tag| {
            let addr = if nowhere { Addr::Null } else { hand.element(tag, 0).buf_addr };
            BatchElement { buf_addr: addr, ..hand.element(tag, 0) }
        });
        hand.elements().fill(0, &elements);
        let sqe = hand.command(op, &right);
        let result = hand.result_of(what, sqe)?;
        context.check_result(format_args!("{} with {what}", op.name()), result, expected)?;
    }
    // Everything was taken back, or some of these would be prepared already.
    let prepared = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS of every tag afterwards", prepared, 0)?;
    close(context, rig, file, hand)?;
    address_nobody_wants(context)?;
    Ok(format!("{} refusals", payloads.len() * 2 + 9))
}

/// Where the driver copies nothing, an element has no address.
fn address_nobody_wants(context: &mut Context) -> Result<(), Stop> {
    let features = Features::BATCH_IO | Features::USER_COPY;
    let rig = Rig::ready_with(context, 1, DEPTH, features)?;
    let file = Arc::new(rig.open(context)?);
    let mut hand = BatchHand::new(context, &rig, &file)?;
    let result = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS with addresses in user copy", result, -EINVAL)?;
    close(context, rig, file, hand)
}

fn fetch_refusals(context: &mut Context) -> Result<String, Stop> {
    let (mut rig, file, mut hand) = batch_device(context, Features::empty())?;
    let op = IoCmdOp::FetchIoCmds.encoded();
    let right = BatchIo { elem_bytes: 2, ..BatchIo::default() };
    for (what, payload) in [
        ("another queue", BatchIo { q_id: 1, ..right }),
        ("elements of 8 bytes", BatchIo { elem_bytes: 8, ..right }),
        ("flags", BatchIo { flags: BatchFlags::HAS_BUF_ADDR, ..right }),
    ] {
        let sqe = RawSqe::batch_fetch(&file, op, &payload)
            .uring_cmd_flags(2)
            .flags(ublk::raw::SqeFlags::BUFFER_SELECT)
            .buf_index(1);
        let result = hand.result_of(what, sqe)?;
        context.check_result(format_args!("FETCH_IO_CMDS with {what}"), result, -EINVAL)?;
    }
    let single = RawSqe::batch_fetch(&file, op, &right);
    let result = hand.result_of("FETCH_IO_CMDS once", single)?;
    context.check_result("FETCH_IO_CMDS that is not multishot", result, -EINVAL)?;
    for (what, op, queue, tag, expected) in [
        ("FETCH_REQ", IoCmdOp::FetchReq.encoded(), 0, 0, -EOPNOTSUPP),
        ("COMMIT_AND_FETCH_REQ", IoCmdOp::CommitAndFetchReq.encoded(), 0, 0, -EOPNOTSUPP),
        ("NEED_GET_DATA", IoCmdOp::NeedGetData.encoded(), 0, 0, -EOPNOTSUPP),
        ("an un-encoded FETCH_REQ", 0x20, 0, 0, -EOPNOTSUPP),
        ("FETCH_REQ of another queue", IoCmdOp::FetchReq.encoded(), 1, 0, -EINVAL),
        ("FETCH_REQ of a tag too far", IoCmdOp::FetchReq.encoded(), 0, DEPTH, -EINVAL),
        ("REGISTER_IO_BUF", IoCmdOp::RegisterIoBuf.encoded(), 0, 0, -EINVAL),
        ("UNREGISTER_IO_BUF", IoCmdOp::UnregisterIoBuf.encoded(), 0, 0, -EINVAL),
    ] {
        let payload = IoPayload { queue, tag, ..IoPayload::default() };
        let result = hand.result_of(what, RawSqe::io(&file, op, &payload))?;
        context.check_result(format_args!("{what} on a batch device"), result, expected)?;
    }
    let prepared = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS afterwards", prepared, 0)?;
    rig.stop()?;
    let late = hand.prepare_all()?;
    // Before 7.3 a stopping device is not told from another.
    let known = if context.kernel.at_least(7, 3) { vec![-ENODEV] } else { vec![-EBUSY, -EINVAL] };
    context.check(
        FailureKind::Errno,
        format_args!("PREP_IO_CMDS after STOP_DEV: {late}"),
        known.contains(&late),
    )?;
    let late = hand.result_of("FETCH_IO_CMDS after STOP_DEV", hand.fetch_command(1))?;
    context.check_result("FETCH_IO_CMDS after STOP_DEV", late, -ENODEV)?;
    close(context, rig, file, hand)?;
    Ok("12 refusals".into())
}
