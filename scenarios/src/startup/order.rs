//! START_DEV against FETCH_REQ: which order is legal, and what waits for what.
//!
//! The seed project believed in turn that START fails without FETCHes, that FETCH fails before START, and
//! that one FETCH is enough. The driver says: both orders are legal, and START waits for the last tag.

use std::sync::Arc;

use reports::event::FailureKind;

use crate::block::{self, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::rig::{ENODEV, Fetcher, RawServer, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "startup/node-appears-with-add",
        title: "/dev/ublkcN exists after ADD_DEV, /dev/ublkbN only after START_DEV, neither after DEL",
        covers: &["myth f", "S10"],
        run: node_order,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/fetch-before-start",
        title: "FETCH is accepted before START_DEV, and START_DEV then completes at once",
        covers: &["myth b", "S10", "a299d04"],
        run: fetch_before_start,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/start-before-fetch",
        title: "START_DEV waits for the FETCHes and completes only when the last one is there",
        covers: &["myth a", "S10", "2424101"],
        run: start_before_fetch,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/start-while-fetching",
        title: "START_DEV from one thread and FETCHes of two queues from two others meet",
        covers: &["myth a", "myth j", "S10"],
        run: start_while_fetching,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/start-with-one-tag-missing",
        title: "START_DEV does not complete with one tag missing, and does with the last",
        covers: &["myth a", "S10", "0517aa6"],
        run: one_tag_missing,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/stop-releases-a-waiting-start",
        title: "STOP_DEV releases a START_DEV that waits, where this kernel does; the id is free again",
        covers: &["myth a", "start.stopping", "start.intr", "cqe.abort.stop"],
        run: stop_releases_start,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/node-opened-late",
        title: "a server whose node appears late waits for it, within a bound",
        covers: &["myth f", "88b44c4"],
        run: node_opened_late,
        ..Scenario::SERVER
    },
];

fn node_order(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let (char_node, block_node) = block::nodes(rig.id);
    context.check(FailureKind::State, "ublkc exists after ADD", char_node.exists())?;
    context.check(FailureKind::State, "ublkb does not", !block_node.exists())?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    context.check(FailureKind::State, "ublkb does not after FETCH", !block_node.exists())?;
    rig.start(context)?;
    let there = block::wait_until(context.command_timeout(), || block_node.exists());
    context.check(FailureKind::State, "ublkb exists after START", there)?;
    rig.stop()?;
    let gone = block::wait_until(context.command_timeout(), || !block_node.exists());
    context.check(FailureKind::State, "ublkb is gone after STOP", gone)?;
    context.check(FailureKind::State, "ublkc is still there", char_node.exists())?;
    server.end(context)?;
    rig.delete(context)?;
    context.check(FailureKind::Leak, "ublkc is gone after DEL", !char_node.exists())?;
    Ok("ADD makes ublkc, START makes ublkb".into())
}

fn fetch_before_start(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 2, 8)?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    server.serve(context, &rig, 1)?;
    let early = server.early_completions(context.quiet());
    context.check_eq(FailureKind::Completion, "completions before START", &early, &0)?;
    rig.start(context)?;
    rig.check_round_trip(context)?;
    rig.tear_down(context, server)?;
    Ok("16 FETCHes, no completion before START, I/O works".into())
}

fn start_before_fetch(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 2, 8)?;
    let pending = rig.start_begin()?;
    rig.check_waiting(context, &pending, "START_DEV without a FETCH")?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    rig.check_waiting(context, &pending, "START_DEV with one queue of two")?;
    server.serve(context, &rig, 1)?;
    rig.finish_start(context, &pending)?;
    rig.check_round_trip(context)?;
    rig.tear_down(context, server)?;
    Ok("START waited for both queues".into())
}

fn start_while_fetching(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 2, 32)?;
    // The three run at once: START's thread is an io-wq worker of the kernel.
    let pending = rig.start_begin()?;
    let mut server = RawServer::open(context, &rig)?;
    server.begin(&rig, 0)?;
    server.begin(&rig, 1)?;
    rig.finish_start(context, &pending)?;
    rig.check_round_trip(context)?;
    rig.tear_down(context, server)?;
    Ok("2 queues of 32 tags from two threads, START from a third".into())
}

fn one_tag_missing(context: &mut Context) -> Result<String, Stop> {
    const DEPTH: u16 = 16;
    let mut rig = Rig::ready(context, 1, DEPTH)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    for tag in 0..DEPTH - 1 {
        fetcher.fetch(tag)?;
    }
    let pending = rig.start_begin()?;
    rig.check_waiting(context, &pending, "START_DEV with 15 of 16 tags")?;
    context.check_eq(
        FailureKind::Completion,
        "completions of the FETCHes",
        &fetcher.wait(1, context.quiet())?.len(),
        &0,
    )?;
    fetcher.fetch(DEPTH - 1)?;
    // 6.12 reads the partition table inside START_DEV, so somebody has to serve meanwhile.
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV with 16 of 16 tags", started, 0)?;
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok("15 of 16 tags: waits; 16 of 16: starts".into())
}

fn stop_releases_start(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch(0)?;
    // A client of its own: dropping it ends a START that nothing else releases.
    let mut starter = rig.second_control()?;
    let pending = starter.start_dev_begin(rig.id, std::process::id().cast_signed())?;
    context.check(
        FailureKind::Completion,
        "START_DEV waits with one tag of four",
        starter.wait(&pending, context.quiet()).is_err(),
    )?;
    rig.stop()?;
    let aborted = fetcher.wait(1, context.command_timeout())?;
    let results: Vec<i32> = aborted.iter().map(|completion| completion.res).collect();
    context.check_eq(FailureKind::Completion, "results of the FETCH", &results, &vec![-ENODEV])?;
    let released = starter.wait(&pending, context.quiet() * 4);
    let told = match (context.kernel.at_least(7, 3), released) {
        (true, Err(error)) => {
            context.check_result("the released START_DEV", -error.errno().unwrap_or(0), -16)?;
            "START_DEV was answered EBUSY"
        }
        (false, Err(error)) if error.errno().is_none() => {
            context.check(FailureKind::Completion, "START_DEV still waits", true)?;
            "START_DEV goes on waiting, as this series does; closing its ring ended it"
        }
        (_, other) => {
            let message = format!("START_DEV after STOP_DEV: {other:?}");
            return Err(Stop::fail(FailureKind::Completion, message));
        }
    };
    drop(starter);
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(told.into())
}

fn node_opened_late(context: &mut Context) -> Result<String, Stop> {
    const ID: u32 = 41;
    const LATE_MS: u64 = 300;
    let (node, _) = block::nodes(ID);
    let hidden = std::path::PathBuf::from(format!("/dev/hidden-ublkc{ID}"));
    // Plays a slow udev: takes the node away as soon as it is there, and gives it back late.
    let (from, to) = (node.clone(), hidden.clone());
    let taken = std::thread::spawn(move || {
        let begin = std::time::Instant::now();
        while begin.elapsed() < std::time::Duration::from_secs(20) {
            if std::fs::rename(&from, &to).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(LATE_MS));
                return std::fs::rename(&to, &from).is_ok();
            }
        }
        false
    });
    let id = ID.to_string();
    let server = crate::process::ServerProcess::start(
        context,
        &["ram", "--size", "4M", "--queues", "1", "--id", &id],
    )?;
    let given_back = taken.join().map_err(|_| Stop::error("the slow udev panicked"))?;
    context.check(FailureKind::State, "the node was late", given_back)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    device.flush().during("flush the device")?;
    drop(device);
    server.stop(context)?;
    Ok(format!("the node came {LATE_MS} ms late"))
}
