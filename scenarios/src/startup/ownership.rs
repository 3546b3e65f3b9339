//! Who may FETCH and COMMIT a tag, and how often.
//!
//! Until 6.15 a queue belongs to the task that fetched its last tag; from 6.16 on (the PER_IO_DAEMON
//! feature bit) each tag belongs to the task that fetched it. The bit is asked, not the version.

use std::sync::Arc;

use reports::event::FailureKind;
use ublk::uapi::IoCmdOp;

use crate::block::BlockDevice;
use crate::context::{Context, Stop};
use crate::rig::{EBUSY, EINVAL, Fetcher, RawServer, Rig, per_io_daemon};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "startup/fetch-twice",
        title: "a second FETCH of an armed tag is refused, and the first one stays armed",
        covers: &["fetch.active", "S10"],
        run: fetch_twice,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/fetch-on-a-live-device",
        title: "FETCH on a live device is refused with EBUSY",
        covers: &["fetch.ready", "S10"],
        run: fetch_live,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/fetch-out-of-range",
        title: "FETCH of a queue or tag that does not exist is refused",
        covers: &["io.qid", "io.tag", "S16"],
        run: fetch_out_of_range,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/fetch-without-buffer",
        title: "FETCH without a buffer on a copy-mode device is refused",
        covers: &["fetch.addr.missing"],
        known_bug: |kernel| {
            kernel
                .is_series(6, 16)
                .then_some("docs/kernel-facts.md, FETCH without a buffer on 6.16")
        },
        run: fetch_without_buffer,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/commit-from-another-thread",
        title: "COMMIT from a thread that did not FETCH is refused; the owner's COMMIT works after it",
        covers: &["myth j", "io.notowner", "9789eb3", "S10"],
        run: commit_from_another_thread,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/commit-of-an-idle-tag",
        title: "COMMIT of a tag that the server does not own is refused with EBUSY",
        covers: &["io.notowned", "S17"],
        run: commit_idle,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/tags-of-one-queue-on-two-threads",
        title: "two threads fetch the tags of one queue between them and both serve",
        covers: &["myth j", "PER_IO_DAEMON"],
        run: two_threads,
        ..Scenario::DRIVER
    },
];

/// Until 6.16 a FETCH is checked as any other command, by owner and state of the tag; from 6.17 on by rules
/// of its own. 6.16 reports PER_IO_DAEMON already, so that bit does not tell.
fn tag_state_first(context: &Context) -> bool {
    !context.kernel.at_least(6, 17)
}

fn fetch_twice(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch(0)?;
    let expected = if tag_state_first(context) { -EBUSY } else { -EINVAL };
    fetcher.fetch_marked(0, 77, |sqe| sqe)?;
    let refused = fetcher.only_completion(context, "the second FETCH")?;
    context.check_eq(FailureKind::Completion, "whose completion", &refused.user_data, &77)?;
    context.check_result("the second FETCH", refused.res, expected)?;
    for tag in 1..4 {
        fetcher.fetch(tag)?;
    }
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV afterwards", started, 0)?;
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(crate::context::errno(expected))
}

fn fetch_live(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    rig.start(context)?;
    let mut late = Fetcher::new(&rig, server.file(), 0)?;
    late.fetch(0)?;
    let refused = late.only_completion(context, "FETCH on a live device")?;
    // Until 6.16 the owner is asked for first.
    let expected = if tag_state_first(context) { -EINVAL } else { -EBUSY };
    context.check_result("FETCH on a live device", refused.res, expected)?;
    drop(late);
    rig.check_round_trip(context)?;
    rig.tear_down(context, server)?;
    Ok(crate::context::errno(expected))
}

fn fetch_out_of_range(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    let wrong = [
        ("queue 1 of 1", 1, 0),
        ("queue 65535", u16::MAX, 0),
        ("tag 4 of 4", 0, 4),
        ("tag 65535", 0, u16::MAX),
    ];
    for (what, queue, tag) in wrong {
        fetcher.command(IoCmdOp::FetchReq.encoded(), queue, tag, 0, true)?;
        let refused = fetcher.only_completion(context, what)?;
        context.check_result(format_args!("FETCH with {what}"), refused.res, -EINVAL)?;
    }
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(format!("{} refused with EINVAL", wrong.len()))
}

fn fetch_without_buffer(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.command(IoCmdOp::FetchReq.encoded(), 0, 0, 0, false)?;
    let refused = fetcher.only_completion(context, "FETCH without a buffer")?;
    context.check_result("FETCH without a buffer", refused.res, -EINVAL)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok("EINVAL".into())
}

/// Brings a device up whose only tag this thread owns, with one READ delivered to it. The client that
/// waits for it ends when the READ is committed.
fn owned_read(
    context: &mut Context,
    rig: &mut Rig,
    fetcher: &mut Fetcher,
) -> Result<std::thread::JoinHandle<bool>, Stop> {
    fetcher.fetch_all()?;
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, fetcher)?;
    context.check_result("START_DEV", started, 0)?;
    rig.settle(context, fetcher)?;
    let path = crate::block::nodes(rig.id).1;
    let timeout = context.command_timeout();
    let client = std::thread::spawn(move || {
        let Ok(device) = BlockDevice::open(&path, timeout) else { return false };
        let mut buffer = crate::block::AlignedBuffer::zeroed(4096);
        device.read_at(8192, &mut buffer).is_ok()
    });
    Ok(client)
}

fn commit_from_another_thread(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 2)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    let client = owned_read(context, &mut rig, &mut fetcher)?;
    let tag = fetcher.next_request(context, 8192 / 512)?;
    let commit = IoCmdOp::CommitAndFetchReq.encoded();
    let (parts, file_ref, timeout) = (rig.parts(), &file, context.command_timeout());
    let other = std::thread::scope(|scope| {
        let thread = scope.spawn(move || -> Result<i32, Stop> {
            let mut stranger = Fetcher::of_parts(parts, file_ref, 0)?;
            stranger.command(commit, 0, tag, 4096, true)?;
            let completions = stranger.wait(1, timeout)?;
            completions
                .first()
                .map(|completion| completion.res)
                .ok_or_else(|| Stop::fail(FailureKind::Completion, "no completion"))
        });
        thread.join().unwrap_or_else(|_| Err(Stop::error("the other thread panicked")))
    })?;
    context.check_result("COMMIT from another thread", other, -EINVAL)?;
    context.check(FailureKind::State, "the READ is still not answered", !client.is_finished())?;
    fetcher.answer(tag)?;
    let answered = crate::block::wait_until(timeout, || {
        let _ = fetcher.serve_for(std::time::Duration::from_millis(5));
        client.is_finished()
    });
    context.check(FailureKind::Completion, "the owner's COMMIT answers the READ", answered)?;
    let read = client.join().unwrap_or(false);
    context.check(FailureKind::Operation, "the READ succeeded", read)?;
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok("EINVAL for the stranger, success for the owner".into())
}

fn commit_idle(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 2)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch_all()?;
    let commit = IoCmdOp::CommitAndFetchReq.encoded();
    fetcher.command(commit, 0, 0, 0, true)?;
    let early = fetcher.only_completion(context, "COMMIT before START")?;
    context.check_result("COMMIT of an idle tag before START", early.res, -EBUSY)?;
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV", started, 0)?;
    rig.settle(context, &mut fetcher)?;
    fetcher.command(commit, 0, 1, 0, true)?;
    let late = fetcher.only_completion(context, "COMMIT on a live device")?;
    context.check_result("COMMIT of an idle tag after START", late.res, -EBUSY)?;
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok("EBUSY before and after START".into())
}

fn two_threads(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 8)?;
    if !per_io_daemon(&rig.info) {
        rig.delete(context)?;
        let reason = "the kernel does not report it: a queue belongs to one task";
        return Err(Stop::skip("UBLK_F_PER_IO_DAEMON after ADD_DEV", reason));
    }
    let mut server = RawServer::open(context, &rig)?;
    server.serve_tags(context, &rig, 0, 0..4)?;
    server.serve_tags(context, &rig, 0, 4..8)?;
    rig.start(context)?;
    let served_before = server.served_by_thread();
    rig.check_round_trip(context)?;
    let path = crate::block::nodes(rig.id).1;
    let device = BlockDevice::open(&path, context.command_timeout())?;
    // One write of as many of the largest requests as there are tags: all are in flight at once. Which tag a request alone is
    // given is the block layer's choice, and it may choose the same ones for ever.
    let all_bytes = usize::from(rig.info.queue_depth) * rig.info.max_io_buf_bytes as usize;
    let buffer = crate::block::AlignedBuffer::zeroed(all_bytes);
    for number in 0..8 {
        device.write_at(number * all_bytes as u64, &buffer)?;
    }
    drop(device);
    let served: Vec<u64> = server
        .served_by_thread()
        .iter()
        .zip(&served_before)
        .map(|(after, before)| after - before)
        .collect();
    context.check(
        FailureKind::State,
        format_args!("both threads served ({served:?} requests)"),
        served.len() == 2 && served.iter().all(|count| *count > 0),
    )?;
    rig.tear_down(context, server)?;
    Ok(format!("{served:?} requests"))
}
