//! A zoned disk through the kernel's own zone management: the driver asks for a report when it starts, the
//! block layer orders the writes, and what the server allows is what a file system gets.

use std::io::{self, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::Features;

use super::{name_of, signed};
use crate::block::{AlignedBuffer, BlockDevice, sysfs_block};
use crate::context::{Context, During, Stop};
use crate::probe;
use crate::process::ServerProcess;
use crate::rig::offered;
use crate::scenario::Scenario;
use crate::signature::first_difference;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/zoned-write-pointers",
        title: "zones are written at their pointers, and opened, closed, finished and reset",
        covers: &["iod.ZONE_OPEN", "iod.ZONE_RESET", "iod.REPORT_ZONES", "params.ZONED"],
        run: write_pointers,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/zoned-fio-verify",
        title: "fio's zbd mode writes zones in random order and finds everything again",
        covers: &["S13", "iod.ZONE_RESET"],
        budget: BudgetClass::Long,
        run: fio_verify,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/zoned-btrfs-appends",
        title: "btrfs, which writes by zone append, finds its files where the appends put them",
        covers: &["S13", "iod.ZONE_APPEND", "commit.zone_append_lba"],
        budget: BudgetClass::Long,
        run: btrfs,
        ..Scenario::SERVER
    },
];

const BLKZONE: &str = "/sbin/blkzone";
const FIO: &str = "/usr/bin/fio";
const MKFS_BTRFS: &str = "/sbin/mkfs.btrfs";
const ZONE: u64 = 1 << 20;

/// One line of `blkzone report`: write pointer from the zone's start in sectors, and condition.
fn zone(context: &mut Context, device: &str, number: u64) -> Result<(u64, String), Stop> {
    let offset = (number * ZONE / 512).to_string();
    let text = probe::run(context, BLKZONE, &["report", "-c", "1", "-o", &offset, device])?;
    let pointer = text
        .split_once("wptr 0x")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .and_then(|word| u64::from_str_radix(word, 16).ok());
    let condition = text
        .split_once("zcond:")
        .and_then(|(_, rest)| Some(rest.split_once('(')?.1.split_once(')')?.0.to_owned()));
    match (pointer, condition) {
        (Some(pointer), Some(condition)) => Ok((pointer, condition)),
        _ => Err(Stop::error(format_args!("blkzone report says {text:?}"))),
    }
}

fn errno_of(result: io::Result<()>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

fn write_pointers(context: &mut Context) -> Result<String, Stop> {
    offered(Features::ZONED)?;
    probe::program(BLKZONE)?;
    let server = ServerProcess::start(
        context,
        &[
            "zoned",
            "--size",
            "16M",
            "--zone-size",
            "1M",
            "--conventional",
            "2",
            "--max-open",
            "3",
            "--max-active",
            "4",
            "--queues",
            "2",
        ],
    )?;
    for (file, expected) in [
        ("queue/zoned", "host-managed"),
        ("queue/chunk_sectors", "2048"),
        ("queue/nr_zones", "16"),
        ("queue/max_open_zones", "3"),
        ("queue/max_active_zones", "4"),
    ] {
        let observed = sysfs_block(&name_of(&server), file)?;
        context.check_eq(FailureKind::State, file, &observed, &expected.to_owned())?;
    }
    let append = sysfs_block(&name_of(&server), "queue/zone_append_max_bytes")?;
    context.check(FailureKind::State, "zone append is offered", append != "0")?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let node = server.live.block_device.display().to_string();

    let content = signed(2 * ZONE, 64 << 10, 1, context.seed);
    // A conventional zone anywhere; a sequential one from its start, and then only on.
    device.write_at(ZONE + 8192, &content)?;
    device.write_at(2 * ZONE, &content[..32 << 10])?;
    device.write_at(2 * ZONE + (32 << 10), &content[32 << 10..])?;
    for (what, at) in [("behind", 2 * ZONE + (128 << 10)), ("before", 2 * ZONE)] {
        let errno = errno_of(device.write_at(at, &content[..4096]));
        context.check_result(
            format_args!("a write {what} the pointer"),
            -errno,
            -(Errno::EIO as i32),
        )?;
    }
    let mut back = AlignedBuffer::zeroed(64 << 10);
    device.read_at(2 * ZONE, &mut back)?;
    let told = first_difference(2 * ZONE / 512, &back, &content);
    context.check(
        FailureKind::DataMismatch,
        format_args!("it reads back: {told:?}"),
        told.is_none(),
    )?;

    let see = |context: &mut Context, number, pointer: u64, condition: &str| {
        let observed = zone(context, &node, number)?;
        context.check_eq(
            FailureKind::State,
            format_args!("write pointer and condition of zone {number}"),
            &observed,
            &(pointer, condition.to_owned()),
        )
    };
    see(context, 2, 128, "oi")?;
    see(context, 3, 0, "em")?;
    for (command, number, pointer, condition) in [
        ("open", 3, 0, "oe"),
        ("close", 2, 128, "cl"),
        ("finish", 2, 2048, "fu"),
        ("reset", 2, 0, "em"),
        ("close", 3, 0, "em"),
    ] {
        let offset = (number * ZONE / 512).to_string();
        probe::run(context, BLKZONE, &[command, "-c", "1", "-o", &offset, &node])?;
        see(context, number, pointer, condition)?;
    }
    device.read_at(2 * ZONE, &mut back)?;
    let zeroes = back.iter().all(|byte| *byte == 0);
    context.check(FailureKind::DataMismatch, "a zone that was reset reads as zeroes", zeroes)?;
    // More active zones than allowed.
    for number in 4..8 {
        device.write_at(number * ZONE, &content[..4096])?;
    }
    // Three may be open: the fourth that a write opens closes the first.
    see(context, 4, 8, "cl")?;
    see(context, 7, 8, "oi")?;
    let errno = errno_of(device.write_at(8 * ZONE, &content[..4096]));
    context.check(
        FailureKind::Errno,
        format_args!("a fifth active zone is refused with EOVERFLOW (errno {errno})"),
        errno == Errno::EOVERFLOW as i32,
    )?;
    probe::run(context, BLKZONE, &["reset", &node])?;
    see(context, 4, 0, "em")?;
    drop(device);
    server.stop(context)?;
    Ok("16 zones: written, opened, closed, finished, reset, refused".into())
}

fn fio_verify(context: &mut Context) -> Result<String, Stop> {
    offered(Features::ZONED)?;
    probe::program(FIO)?;
    let server = ServerProcess::start(
        context,
        &[
            "zoned",
            "--size",
            "32M",
            "--zone-size",
            "1M",
            "--conventional",
            "2",
            "--max-open",
            "8",
            "--max-active",
            "8",
            "--queues",
            "2",
            "--depth",
            "32",
        ],
    )?;
    let filename = format!("--filename={}", server.live.block_device.display());
    let before = server.counters()?;
    let text = probe::run(
        context,
        FIO,
        &[
            "--name=zbd",
            &filename,
            "--zonemode=zbd",
            "--direct=1",
            "--rw=randwrite",
            "--bs=16k",
            "--ioengine=io_uring",
            "--iodepth=16",
            "--offset=2M",
            "--size=30M",
            "--io_size=24M",
            "--max_open_zones=6",
            "--verify=md5",
            "--do_verify=1",
            "--verify_fatal=1",
            "--randrepeat=1",
            "--output-format=json",
        ],
    )?;
    let start = text.find('{').unwrap_or(0);
    let document: serde_json::Value = serde_json::from_str(&text[start..])
        .map_err(|error| Stop::error(format_args!("fio's output is not JSON: {error}")))?;
    let job = &document["jobs"][0];
    let bytes = |direction: &str| job[direction]["io_bytes"].as_u64().unwrap_or(0);
    context.check_eq(FailureKind::Operation, "fio's error", &job["error"].as_i64(), &Some(0))?;
    context.check(FailureKind::State, "fio wrote", bytes("write") >= 16 << 20)?;
    context.check(FailureKind::State, "and verified it by reading", bytes("read") > 0)?;
    let counters = server.counters()?;
    context.check_eq(
        FailureKind::State,
        "bytes fio wrote and the server wrote",
        &(counters.bytes_written - before.bytes_written),
        &bytes("write"),
    )?;
    server.stop(context)?;
    Ok(format!("{} bytes written and {} verified", bytes("write"), bytes("read")))
}

const MOUNT_POINT: &str = "/mnt";
const FILES: u64 = 40;
const FILE_BYTES: usize = 400 << 10;

fn btrfs(context: &mut Context) -> Result<String, Stop> {
    offered(Features::ZONED)?;
    probe::program(MKFS_BTRFS)?;
    // Between 6.16 and 7.0 btrfs asks for its checksum by name when it is mounted, and nobody here answers that by loading
    // a module. Other kernels have no such module, or no need of it.
    let _ = probe::load_module("crc32c_cryptoapi", "");
    probe::load_module("btrfs", "")?;
    let server = ServerProcess::start(
        context,
        &["zoned", "--size", "256M", "--zone-size", "4M", "--queues", "2", "--depth", "32"],
    )?;
    let node = server.live.block_device.display().to_string();
    probe::run(context, MKFS_BTRFS, &["-q", "-O", "zoned", "-d", "single", "-m", "single", &node])?;
    let file = |number: u64| format!("{MOUNT_POINT}/file-{number}");
    let seed = context.seed;
    let content = |number: u64| signed(0, FILE_BYTES, number + 1, seed);
    // Synced one by one: without that btrfs itself mixes pages of a file up, on null_blk as well
    // (docs/kernel-facts.md).
    mounted(&node, || {
        (0..FILES).try_for_each(|number| {
            let mut opened = std::fs::File::create(file(number))?;
            opened.write_all(&content(number))?;
            opened.sync_all()
        })
    })?;
    let mut wrong = None;
    mounted(&node, || {
        for number in 0..FILES {
            let told = first_difference(0, &std::fs::read(file(number))?, &content(number));
            wrong = wrong.take().or_else(|| told.map(|told| format!("file {number}: {told}")));
        }
        Ok(())
    })?;
    context.check(
        FailureKind::DataMismatch,
        format_args!("every file is what was written: {wrong:?}"),
        wrong.is_none(),
    )?;
    // Data that came as WRITE would be counted as one; what is missing there came by append.
    let written = server.counters()?.bytes_written;
    let total = FILES * FILE_BYTES as u64;
    context.check(
        FailureKind::State,
        format_args!("the files' {total} bytes were no WRITEs ({written} bytes were)"),
        written < total,
    )?;
    server.stop(context)?;
    Ok(format!("{FILES} files of {FILE_BYTES} bytes by append, {written} bytes by write"))
}

/// Runs `work` with the filesystem mounted, and unmounts it whatever `work` said.
fn mounted(device: &str, work: impl FnOnce() -> io::Result<()>) -> Result<(), Stop> {
    std::fs::create_dir_all(MOUNT_POINT)?;
    mount(Some(device), MOUNT_POINT, Some("btrfs"), MsFlags::empty(), None::<&Path>)
        .during(format_args!("mount {device}"))?;
    let worked = work();
    umount2(MOUNT_POINT, MntFlags::empty()).during(format_args!("unmount {device}"))?;
    worked.during("use the filesystem")
}
