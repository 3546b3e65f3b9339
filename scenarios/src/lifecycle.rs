//! Nothing is left behind, however a server ends.
//!
//! What people suffer from with ublk servers is not throughput but tasks in D state and devices that
//! cannot be deleted. Each scenario ends a server in one way and looks at what remains.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::server::{Server, StartupOrder};
use ublk::target::RamTarget;
use ublk::uapi::DevState;

use crate::block::{self, AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::probe;
use crate::process::{ServerProcess, UBLK, check_no_nodes, remove_device};
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

/// The group, in the order in which it is run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "lifecycle/fresh-state",
        title: "no ublk device exists when the run begins",
        covers: &["S14"],
        run: fresh_state,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "lifecycle/info-of-a-live-device",
        title: "state, pid, queues and counters of a live device can be read by another process",
        covers: &["S1", "S3", "info.len"],
        run: info_of_live,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/stop-idle-by-sigterm",
        title: "SIGTERM stops an idle server cleanly",
        covers: &["S7"],
        run: |context| stop_idle(context, Signal::SIGTERM),
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/stop-idle-by-sigint",
        title: "SIGINT stops an idle server cleanly",
        covers: &["S7"],
        run: |context| stop_idle(context, Signal::SIGINT),
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/stop-under-load",
        title: "SIGTERM under load stops the server; clients get an error, nobody hangs",
        covers: &["S7", "S8"],
        run: stop_under_load,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/kill-under-load",
        title: "SIGKILL under load gives clients an error in bounded time; the device can be deleted",
        covers: &["S8", "rq.server.died", "rq.canceling"],
        run: kill_under_load,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/delete-by-another-process",
        title: "ublk del stops and removes a device that another process serves",
        covers: &["S7", "cqe.abort.stop"],
        run: delete_by_another,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/twenty-cycles-leak-nothing",
        title: "20 add/start/stop/delete cycles in one process leak no descriptor, thread or node",
        covers: &["S7", "S8", "R:6"],
        budget: BudgetClass::Long,
        run: twenty_cycles,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/signals-do-not-lose-a-request",
        title: "a server that is stopped and continued again and again under load loses nothing",
        covers: &["S11", "cba6776"],
        run: signal_storm,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/idle-server-does-not-wake",
        title: "an idle server makes no system call, and its data is there after the gap",
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
        id: "lifecycle/failed-start-leaves-nothing",
        title: "a server that cannot start says why and leaves no device",
        covers: &["S10"],
        run: failed_start,
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
        id: "lifecycle/start-time-is-flat-in-depth",
        title: "a device with 4096 tags starts as one with 4 does, and its last tag works",
        covers: &["S16", "S19"],
        run: depth_limit,
        ..Scenario::SERVER
    },
];

fn fresh_state(context: &mut Context) -> Result<String, Stop> {
    let nodes = block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "ublk nodes in /dev", &nodes, &Vec::new())?;
    let class = std::fs::read_dir("/sys/class/ublk-char").during("list the class")?.count();
    context.check_eq(FailureKind::Leak, "devices in sysfs", &class, &0)?;
    let control = std::path::Path::new("/dev/ublk-control").exists();
    context.check(FailureKind::State, "/dev/ublk-control exists", control)?;
    Ok("no device, driver present".into())
}

fn small(context: &mut Context) -> Result<ServerProcess, Stop> {
    ServerProcess::start(context, &["ram", "--size", "8M", "--queues", "2", "--depth", "16"])
}

fn info_of_live(context: &mut Context) -> Result<String, Stop> {
    let server = small(context)?;
    let id = server.live.id;
    let mut control = Control::open().during("open the control device")?;
    let info = control.get_dev_info(id)?;
    context.check_eq(FailureKind::State, "state", &info.state(), &DevState::Live)?;
    context.check_eq(FailureKind::State, "pid", &info.ublksrv_pid, &server.pid().as_raw())?;
    context.check_eq(FailureKind::State, "queue depth", &info.queue_depth, &16)?;
    let params = control.get_params(id)?;
    context.check_eq(FailureKind::State, "sectors", &params.basic.dev_sectors, &(8 << 11))?;
    let listed = probe::run(context, UBLK, &["list", "--json"])?;
    let mentions = [format!("ublkb{id}"), "counters".into(), "bytes_written".into()];
    for word in mentions {
        let found = listed.contains(&word);
        context.check(FailureKind::State, format_args!("ublk list --json has {word}"), found)?;
    }
    let features = probe::run(context, UBLK, &["features", "--json"])?;
    let named = features.contains("USER_COPY") || features.contains("user_copy");
    context.check(FailureKind::State, "ublk features --json names flags", named)?;
    server.stop(context)?;
    Ok(format!("{} queues of {}", info.nr_hw_queues, info.queue_depth))
}

fn stop_idle(context: &mut Context, signal: Signal) -> Result<String, Stop> {
    let mut server = small(context)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    device.write_at(0, &AlignedBuffer::zeroed(4096))?;
    drop(device);
    let begin = Instant::now();
    server.signal(signal)?;
    let status = server.wait(context.command_timeout())?;
    let took = begin.elapsed();
    let said = server.complaints().join(" | ");
    context.check(
        FailureKind::State,
        format_args!("exit code 0 (it ended with {status}: {said})"),
        status.success(),
    )?;
    check_no_nodes(context, server.live.id)?;
    Ok(format!("stopped in {} ms", took.as_millis()))
}

/// Clients that write and read until they get an error.
struct Load {
    ended: mpsc::Receiver<String>,
    clients: usize,
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(path: &std::path::Path, clients: usize, timeout: Duration) -> Result<Self, Stop> {
        let (sender, ended) = mpsc::channel();
        let (requests, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        for client in 0..clients {
            let device = BlockDevice::open(path, timeout)?;
            let (sender, requests, stop) =
                (sender.clone(), Arc::clone(&requests), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut buffer = AlignedBuffer::zeroed(16 << 10);
                let end = loop {
                    let number = requests.fetch_add(1, Ordering::Relaxed);
                    let offset = (number % 64) * (16 << 10);
                    let result = if (number + client as u64).is_multiple_of(2) {
                        device.write_at(offset, &buffer)
                    } else {
                        device.read_at(offset, &mut buffer)
                    };
                    match result {
                        Err(error) => break error.to_string(),
                        Ok(()) if stop.load(Ordering::Relaxed) => break "stopped".into(),
                        Ok(()) => {}
                    }
                };
                // The device is closed before this is said: whoever waits may delete it then.
                drop(device);
                let _ = sender.send(end);
            });
        }
        let load = Self { ended, clients, requests, stop };
        let running = block::wait_until(timeout, || load.requests.load(Ordering::Relaxed) > 64);
        if running { Ok(load) } else { Err(Stop::error("the load did not get going")) }
    }

    /// Waits until every client got an error or was told to stop; what each got.
    fn wait(self, context: &mut Context, timeout: Duration) -> Result<BTreeSet<String>, Stop> {
        let deadline = Instant::now() + timeout;
        let mut ends = BTreeSet::new();
        for client in 0..self.clients {
            let left = deadline.saturating_duration_since(Instant::now());
            let end = self.ended.recv_timeout(left);
            context.check(
                FailureKind::Completion,
                format_args!("client {client} of {} ended within {timeout:?}", self.clients),
                end.is_ok(),
            )?;
            ends.extend(end);
        }
        Ok(ends)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn stop_under_load(context: &mut Context) -> Result<String, Stop> {
    let mut server = small(context)?;
    let load = Load::start(&server.live.block_device, 8, context.command_timeout())?;
    let requests = Arc::clone(&load.requests);
    server.signal(Signal::SIGTERM)?;
    let ends = load.wait(context, context.command_timeout() * 2)?;
    let status = server.wait(context.command_timeout() * 2)?;
    let said = server.complaints().join(" | ");
    context.check(
        FailureKind::State,
        format_args!("exit code 0 (it ended with {status}: {said})"),
        status.success(),
    )?;
    check_no_nodes(context, server.live.id)?;
    let count = requests.load(Ordering::Relaxed);
    Ok(format!("{count} requests, then {}", Vec::from_iter(ends).join(" / ")))
}

fn kill_under_load(context: &mut Context) -> Result<String, Stop> {
    let mut server = small(context)?;
    let id = server.live.id;
    let load = Load::start(&server.live.block_device, 8, context.command_timeout())?;
    let begin = Instant::now();
    server.signal(Signal::SIGKILL)?;
    let ends = load.wait(context, context.command_timeout() * 2)?;
    let took = begin.elapsed();
    context.check(
        FailureKind::Completion,
        format_args!("every client got an error ({ends:?})"),
        !ends.is_empty() && !ends.contains("stopped"),
    )?;
    server.wait(context.command_timeout())?;
    let mut control = Control::open().during("open the control device")?;
    let dead = block::wait_until(context.command_timeout(), || {
        control.get_dev_info(id).is_ok_and(|info| info.state() == DevState::Dead)
    });
    context.check(FailureKind::State, "the device is DEAD", dead)?;
    control.del_dev(id)?;
    check_no_nodes(context, id)?;
    Ok(format!("errors after {} ms: {}", took.as_millis(), Vec::from_iter(ends).join(" / ")))
}

fn delete_by_another(context: &mut Context) -> Result<String, Stop> {
    let mut server = small(context)?;
    let id = server.live.id.to_string();
    probe::run(context, UBLK, &["del", &id])?;
    let status = server.wait(context.command_timeout() * 2)?;
    context.check(
        FailureKind::State,
        format_args!("the server ended by itself ({status})"),
        status.code().is_some(),
    )?;
    check_no_nodes(context, server.live.id)?;
    Ok(format!("the server ended with {status}"))
}

fn open_descriptors() -> Result<usize, Stop> {
    Ok(std::fs::read_dir("/proc/self/fd").during("list descriptors")?.count())
}

fn threads() -> Result<usize, Stop> {
    Ok(std::fs::read_dir("/proc/self/task").during("list threads")?.count())
}

fn ublk_mappings() -> Result<usize, Stop> {
    let maps = std::fs::read_to_string("/proc/self/maps").during("read the mappings")?;
    Ok(maps.lines().filter(|line| line.contains("ublkc") || line.contains("io_uring")).count())
}

fn ramdisk() -> Result<RamTarget, Stop> {
    RamTarget::new(4 << 20).during("make a ramdisk")
}

fn twenty_cycles(context: &mut Context) -> Result<String, Stop> {
    const CYCLES: u32 = 20;
    let mut before = None;
    for cycle in 0..CYCLES {
        let server = served(context, Server::builder(ramdisk()?).queues(2).depth(16))?;
        let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
        let mut buffer = AlignedBuffer::zeroed(4096);
        device.write_at(u64::from(cycle) * 4096, &buffer)?;
        device.read_at(0, &mut buffer)?;
        drop(device);
        stop_served(context, server)?;
        let now = (open_descriptors()?, ublk_mappings()?, block::all_nodes()?.len());
        // The first cycle may open what a process keeps (a log socket, a thread's stack cache).
        let expected = *before.get_or_insert(now);
        context.check_eq(
            FailureKind::Leak,
            format_args!("descriptors, ring mappings and nodes after cycle {}", cycle + 1),
            &now,
            &expected,
        )?;
    }
    let left = threads()?;
    context.check(
        FailureKind::Leak,
        format_args!("queue threads are gone ({left} threads left)"),
        left <= 2,
    )?;
    let (descriptors, mappings, nodes) = before.unwrap_or_default();
    context.check_eq(FailureKind::Leak, "ublk nodes", &nodes, &0)?;
    Ok(format!(
        "{CYCLES} cycles, {descriptors} descriptors and {mappings} ring mappings throughout"
    ))
}

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
    std::thread::sleep(GAP);
    let after = server.counters()?;
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
    Ok(format!("no call in {GAP:?}"))
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

fn failed_start(context: &mut Context) -> Result<String, Stop> {
    let started = ServerProcess::start(context, &["file", "--path", "/nonexistent/backing"]);
    let said = match started {
        Ok(_) => return Err(Stop::fail(FailureKind::State, "a server without a file got live")),
        Err(stop) => stop.to_string(),
    };
    context.check(
        FailureKind::Operation,
        format_args!("it says which file is missing: {said}"),
        said.contains("/nonexistent/backing"),
    )?;
    let nodes = block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "ublk nodes", &nodes, &Vec::new())?;
    let taken = small(context)?;
    let id = taken.live.id.to_string();
    let second = ServerProcess::start(context, &["null", "--size", "1M", "--id", &id]);
    let said = match second {
        Ok(_) => return Err(Stop::fail(FailureKind::State, "two servers have one id")),
        Err(stop) => stop.to_string(),
    };
    context.check(
        FailureKind::Operation,
        format_args!("a taken id is named with its errno: {said}"),
        said.contains("EEXIST"),
    )?;
    taken.stop(context)?;
    Ok("both refused with a reason".into())
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

fn depth_limit(context: &mut Context) -> Result<String, Stop> {
    let mut took = Vec::new();
    for depth in ["4", "4096"] {
        let begin = Instant::now();
        let arguments =
            ["ram", "--size", "8M", "--queues", "1", "--depth", depth, "--max-io-size", "4K"];
        let server = ServerProcess::start(context, &arguments)?;
        took.push(begin.elapsed());
        let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
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
