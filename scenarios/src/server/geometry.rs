//! Is the device what was asked for? Size, queues, depth, block and mode are facts of the kernel, not the server's word.

use std::time::Instant;

use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::uapi::{DevState, Features};

use super::ability::Ability;
use super::input::ServerInput;
use super::served::{ID, Served, Wish};
use super::subject::Subject;
use super::words::Word;
use crate::block::{BlockDevice, sysfs_block};
use crate::context::{Context, During, Stop};
use crate::recovery::kit::{Backing, SIZE_BYTES};
use crate::scenario::Scenario;
use crate::signature::SECTOR_BYTES;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "server/comes-up-as-asked",
        title: "a device is live in time, with the size, queues, depth, block and mode that were asked for, and goes without a trace",
        covers: &["server.start", "S3"],
        run: comes_up,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/promises-as-said",
        title: "what the adapter says of flush, fua, discard and write zeroes is what the block layer was told",
        covers: &["server.params", "R:5"],
        run: promises,
        ..Scenario::SERVER
    },
];

/// Flags by which the driver tells data modes apart.
const MODES: Features =
    Features::USER_COPY.union(Features::SUPPORT_ZERO_COPY).union(Features::AUTO_BUF_REG);

fn comes_up(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    let wish = Wish { depth: 16, ..Wish::usual(&input).queues(2) };
    let backing = Backing::new("server")?;
    let begin = Instant::now();
    let served = Served::start(context, &input, &wish, &backing)?;
    let took = begin.elapsed();
    let device = BlockDevice::open(&served.block_device(), context.command_timeout())?;
    check(context, &served, &device)?;
    drop(device);
    let pid = served.info()?.ublksrv_pid;
    let processes = served.before.since();
    let who = super::processes::named(&processes);
    let known = processes.iter().any(|process| process.pid == pid);
    let what =
        format!("process {pid}, which the kernel says serves, is one of the server's: {who}");
    context.check(FailureKind::State, what, known)?;
    let stopped = served.stop(context)?;
    Ok(format!(
        "live after {} ms as {who}, stopped in {} ms",
        took.as_millis(),
        stopped.as_millis()
    ))
}

/// Compares what the kernel knows of the device with the wish, as far as the server could be told it.
pub(super) fn check(
    context: &mut Context,
    served: &Served,
    device: &BlockDevice,
) -> Result<(), Stop> {
    let (wish, adapter) = (&served.wish, &served.input.adapter);
    let info = served.info()?;
    if adapter.takes(Word::Id) {
        context.check_eq(FailureKind::State, "number of the device", &served.id, &ID)?;
    }
    context.check_eq(FailureKind::State, "state", &info.state(), &DevState::Live)?;
    let size = device.size_bytes()?;
    context.check_eq(FailureKind::State, "size in bytes", &size, &SIZE_BYTES)?;
    let mut control = Control::open().during("open the control device")?;
    control.address(served.id)?;
    let sectors = control.get_params(served.id)?.basic.dev_sectors;
    let asked = SIZE_BYTES / SECTOR_BYTES as u64;
    context.check_eq(FailureKind::State, "sectors in GET_PARAMS", &sectors, &asked)?;
    let cpus = reports::environment::cpus();
    if adapter.takes(Word::Queues) {
        let asked = usize::from(wish.queues).min(cpus);
        let what = format!("hardware queues (asked {}, {cpus} CPUs)", wish.queues);
        context.check_eq(FailureKind::State, what, &usize::from(info.nr_hw_queues), &asked)?;
        let name = format!("/sys/block/ublkb{}/mq", served.id);
        let queues = std::fs::read_dir(&name).during(format_args!("list {name}"))?.count();
        context.check_eq(FailureKind::State, "hardware queues in sysfs", &queues, &asked)?;
    }
    if adapter.takes(Word::Depth) {
        context.check_eq(FailureKind::State, "depth", &info.queue_depth, &wish.depth)?;
    }
    let block = device.sysfs("queue/logical_block_size")?;
    if adapter.takes(Word::Block) {
        let asked = wish.block_bytes.to_string();
        context.check_eq(FailureKind::State, "logical block size", &block, &asked)?;
    }
    let read_only = device.sysfs("ro")?;
    context.check_eq(FailureKind::State, "read-only", &read_only, &"0".to_owned())?;
    check_flags(context, wish, info.flags)
}

fn check_flags(context: &mut Context, wish: &Wish, flags: Features) -> Result<(), Stop> {
    let wanted = wish.with.iter().fold(wish.mode.features(), |all, one| all | one.features());
    let what = format!("the device has {wanted} (it has {flags})");
    context.check(FailureKind::State, what, flags.contains(wanted))?;
    if wish.mode == Ability::Copy {
        let what = format!("nothing but the driver copies (flags {flags})");
        context.check(FailureKind::State, what, !flags.intersects(MODES))?;
    }
    Ok(())
}

fn promises(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input);
    let subject = Subject::start(context, &input, &wish)?;
    let name = format!("ublkb{}", subject.served.id);
    let mut told = Vec::new();
    for (ability, file) in [
        (Ability::Flush, "queue/write_cache"),
        (Ability::Fua, "queue/fua"),
        (Ability::Discard, "queue/discard_max_bytes"),
        (Ability::WriteZeroes, "queue/write_zeroes_max_bytes"),
    ] {
        let value = sysfs_block(&name, file)?;
        let is_there = !matches!(value.as_str(), "0" | "write through");
        let said = input.adapter.can.contains_key(&ability);
        let what = format!("adapter: {ability} {said}; sysfs: {file} is {value}");
        context.check(FailureKind::State, &what, is_there == said)?;
        told.push(format!("{ability}: {value}"));
    }
    subject.finish(context)?;
    Ok(told.join(", "))
}
