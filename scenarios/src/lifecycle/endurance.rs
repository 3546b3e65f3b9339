//! What a server has to bear: signals, pauses, failing targets, deep queues.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::server::Server;
use ublk::server::StartupOrder;

use super::{ramdisk, small};
use crate::block::AlignedBuffer;
use crate::block::BlockDevice;
use crate::block::page_bytes;
use crate::context::Context;
use crate::context::During;
use crate::context::Stop;
use crate::process::ServerProcess;
use crate::process::remove_device;
use crate::rig::served;
use crate::rig::stop_served;
use crate::scenario::Scenario;
use crate::signature::fill;
use crate::signature::first_difference;
use crate::usage;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "lifecycle/signals-do-not-lose-a-request",
        title: "a server that is stopped and continued again and again under load loses nothing",
        covers: &["S11", "cba6776"],
        run: signal_storm,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/idle-server-does-not-wake",
        title: "no thread of an idle server wakes up, and its data is there after the gap",
        covers: &["S12"],
        run: idle_gap,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/each-startup-order-of-the-library",
        title: "our server gets live in each legal order of FETCH and START_DEV",
        covers: &["S10", "myth a", "myth b"],
        run: startup_orders,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/errors-do-not-stop-a-queue",
        title: "an EIO or a panic of the target fails one request; the device lives on",
        covers: &["S9", "R:8", "rq.commit.neg"],
        run: errors_do_not_stop,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/starts-when-its-tags-are-fetched",
        title: "START_DEV is sent when the tags are fetched, and not some time later",
        covers: &["S10"],
        run: starts_at_once,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/start-time-is-flat-in-depth",
        title: "a device with 4096 tags starts as one with 4 does, and its last tag works",
        covers: &["S16", "S19"],
        run: depth_limit,
        ..Scenario::SERVER
    },
];

fn signal_storm(context: &mut Context) -> Result<String, Stop> {
    const SIGNALS: u32 = 60;
    let server = small(context)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let pid = server.pid();
    let storm = std::thread::spawn(move || {
        for _ in 0..SIGNALS {
            for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
                if nix::sys::signal::kill(pid, signal).is_err() {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        true
    });
    let mut writes = 0_u64;
    while !storm.is_finished() || writes < 64 {
        let offset = (writes % 512) * 4096;
        let mut written = AlignedBuffer::zeroed(4096);
        fill(&mut written, offset / 512, writes + 1, context.seed);
        device.write_at(offset, &written)?;
        let mut read = AlignedBuffer::zeroed(4096);
        device.read_at(offset, &mut read)?;
        let told = first_difference(offset / 512, &read, &written);
        context.check(
            FailureKind::DataMismatch,
            format_args!("what write {writes} wrote comes back: {told:?}"),
            told.is_none(),
        )?;
        writes += 1;
    }
    let sent = storm.join().unwrap_or(false);
    context.check(FailureKind::State, "the server outlived the signals", sent)?;
    let errors = server.counters()?.errors;
    context.check_eq(FailureKind::State, "requests with an error", &errors, &0)?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{writes} writes and reads between {SIGNALS} stops"))
}

fn idle_gap(context: &mut Context) -> Result<String, Stop> {
    const GAP: Duration = Duration::from_secs(3);
    let server = small(context)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let mut written = AlignedBuffer::zeroed(64 << 10);
    fill(&mut written, 0, 1, context.seed);
    device.write_at(0, &written)?;
    // The partition scan and whoever reacts to the new disk come to an end first.
    std::thread::sleep(context.quiet());
    let before = server.counters()?;
    let pid = server.pid().as_raw();
    // Asking for the counters wakes the thread that answers; it is back before the gap is looked at.
    std::thread::sleep(context.quiet());
    let slept = usage::switches(pid)?;
    std::thread::sleep(GAP);
    let woken = usage::switches(pid)?.since(slept).voluntary;
    let after = server.counters()?;
    // Whoever polls or has a timer wakes again and again; once is the kernel's doing.
    context.check(
        FailureKind::State,
        format_args!("a thread of the server woke up {woken} times in {GAP:?} without a request"),
        woken < 3,
    )?;
    context.check_eq(
        FailureKind::State,
        format_args!("io_uring_enter calls of the queues in {GAP:?} without a request"),
        &(after.enters - before.enters),
        &0,
    )?;
    let mut read = AlignedBuffer::zeroed(64 << 10);
    device.read_at(0, &mut read)?;
    let told = first_difference(0, &read, &written);
    context.check(
        FailureKind::DataMismatch,
        format_args!("the data is there after the gap: {told:?}"),
        told.is_none(),
    )?;
    drop(device);
    server.stop(context)?;
    Ok(format!("no call and {woken} wakes in {GAP:?}"))
}

fn startup_orders(context: &mut Context) -> Result<String, Stop> {
    let orders =
        [StartupOrder::FetchThenStart, StartupOrder::StartThenFetch, StartupOrder::Concurrent];
    for order in orders {
        let builder = Server::builder(ramdisk()?).queues(2).depth(16).startup_order(order);
        let server = served(context, builder)?;
        let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
        let mut buffer = AlignedBuffer::zeroed(8192);
        device.write_at(8192, &buffer)?;
        device.read_at(8192, &mut buffer)?;
        context.check(FailureKind::State, format_args!("{order:?} serves"), true)?;
        drop(device);
        stop_served(context, server)?;
    }
    Ok(format!("{} orders", orders.len()))
}

fn errors_do_not_stop(context: &mut Context) -> Result<String, Stop> {
    let server = served(context, Server::builder(crate::rig::Touchy::new(4 << 20)?).queues(1))?;
    let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
    let mut buffer = AlignedBuffer::zeroed(4096);
    for (offset, errno, what) in [
        (crate::rig::Touchy::EIO_AT, nix::libc::EIO, "an EIO"),
        (crate::rig::Touchy::PANIC_AT, nix::libc::EIO, "a panic"),
        (crate::rig::Touchy::ENOSPC_AT, nix::libc::ENOSPC, "an ENOSPC"),
    ] {
        let observed = device.read_at(offset, &mut buffer).err().and_then(|e| e.raw_os_error());
        context.check_eq(
            FailureKind::Errno,
            format_args!("errno of a read that is {what} of the target"),
            &observed,
            &Some(errno),
        )?;
        device.write_at(0, &buffer)?;
        device.read_at(0, &mut buffer)?;
        context.check(FailureKind::State, format_args!("the device works after {what}"), true)?;
    }
    drop(device);
    stop_served(context, server)?;
    Ok("three failed requests, each followed by a good one".into())
}

/// Best of a few, because the machine may be busy with others; a server that waits for something does so every time.
fn starts_at_once(context: &mut Context) -> Result<String, Stop> {
    const STARTS: u32 = 5;
    // A start takes 30 ms in an emulated guest. What waits for a timer or polls is beyond this.
    const LIMIT: Duration = Duration::from_millis(500);
    let mut best = Duration::MAX;
    for _ in 0..STARTS {
        let begin = Instant::now();
        let server = served(context, Server::builder(ramdisk()?).queues(1).depth(4))?;
        best = best.min(begin.elapsed());
        stop_served(context, server)?;
    }
    context.check(
        FailureKind::Completion,
        format_args!("the fastest of {STARTS} starts took {best:?}, the limit is {LIMIT:?}"),
        best < LIMIT,
    )?;
    Ok(format!("fastest of {STARTS}: {} ms", best.as_millis()))
}

fn depth_limit(context: &mut Context) -> Result<String, Stop> {
    let mut took = Vec::new();
    // The smallest there is, for 4096 buffers of it.
    let page = page_bytes().to_string();
    for depth in ["4", "4096"] {
        let begin = Instant::now();
        let arguments =
            ["ram", "--size", "8M", "--queues", "1", "--depth", depth, "--max-io-size", &page];
        let server = ServerProcess::start(context, &arguments)?;
        took.push(begin.elapsed());
        let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
        // A scheduler, which some kernels choose for a device of one queue, counts in requests of its own.
        let name = server.live.block_device.file_name().unwrap_or_default();
        let scheduler = Path::new("/sys/block").join(name).join("queue/scheduler");
        std::fs::write(scheduler, "none").during("do without a scheduler")?;
        let requests = device.sysfs("queue/nr_requests")?;
        context.check_eq(FailureKind::State, "queue/nr_requests", &requests, &depth.to_owned())?;
        let buffer = AlignedBuffer::zeroed(4096);
        // Tags are handed out in rotation, so this many requests pass over every tag of the queue.
        for number in 0..depth.parse::<u64>().unwrap_or(0) {
            device.write_at((number % 2048) * 4096, &buffer)?;
        }
        let counters = server.counters()?;
        context.check_eq(FailureKind::State, "requests with an error", &counters.errors, &0)?;
        drop(device);
        let id = server.live.id;
        server.stop(context)?;
        remove_device(id);
    }
    let (few, many) = (took[0], took[1]);
    context.check(
        FailureKind::Completion,
        format_args!("4096 tags start within 3 s more than 4 do ({few:?}, {many:?})"),
        many < few + Duration::from_secs(3),
    )?;
    Ok(format!("4 tags {} ms, 4096 tags {} ms", few.as_millis(), many.as_millis()))
}
