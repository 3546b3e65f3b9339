//! FLUSH and FUA reach the target, and a write that was flushed survives a loss of power.
//!
//! The disk of these scenarios has a volatile cache of its own, so a server that swallows a FLUSH is
//! told from one that passes it on. A ramdisk cannot show that.

use std::sync::Arc;

use reports::event::FailureKind;
use ublk::server::Server;

use crate::block::{AlignedBuffer, BlockDevice, sysfs_block};
use crate::context::{Context, Stop};
use crate::mutant::VolatileDisk;
use crate::process::ServerProcess;
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "data/flush-makes-writes-durable",
        title: "a write is volatile until FLUSH, and durable after it",
        covers: &["S6", "R:5", "iod.FLUSH"],
        run: flush_makes_durable,
        ..Scenario::SERVER
    },
    Scenario {
        id: "data/fua-write-is-durable-alone",
        title: "a FUA write is durable at its completion, without a FLUSH",
        covers: &["S6", "R:5", "iod.FUA"],
        run: fua_is_durable,
        ..Scenario::SERVER
    },
    Scenario {
        id: "data/file-target-flushes-its-file",
        title: "FLUSH on a file target reaches the medium under the file",
        covers: &["S6", "R:5"],
        run: file_target_flushes,
        ..Scenario::SERVER
    },
];

const SIZE_BYTES: usize = 4 << 20;
const WRITE_BYTES: usize = 64 << 10;

fn signed(offset_bytes: usize, seed: u64) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(WRITE_BYTES);
    fill(&mut buffer, offset_bytes as u64 / 512, 1, seed);
    buffer
}

fn flush_makes_durable(context: &mut Context) -> Result<String, Stop> {
    let disk = Arc::new(VolatileDisk::new(SIZE_BYTES));
    let server = served(context, Server::builder(Arc::clone(&disk)).queues(2).depth(16))?;
    let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
    context.check_eq(
        FailureKind::State,
        "queue/write_cache",
        &device.sysfs("queue/write_cache")?,
        &"write back".to_owned(),
    )?;
    let offsets = [0, 1 << 20, SIZE_BYTES - WRITE_BYTES];
    for offset in offsets {
        device.write_at(offset as u64, &signed(offset, context.seed))?;
    }
    let before = disk.durable();
    context.check(
        FailureKind::DataMismatch,
        "nothing is durable before the flush",
        offsets.iter().all(|o| before[*o..o + WRITE_BYTES].iter().all(|byte| *byte == 0)),
    )?;
    let (flushes_before, _) = disk.flushes_and_fua_writes();
    device.flush()?;
    let (flushes_after, _) = disk.flushes_and_fua_writes();
    context.check_eq(
        FailureKind::State,
        "FLUSH requests that reached the target for one fdatasync",
        &(flushes_after - flushes_before),
        &1,
    )?;
    check_durable(context, &disk, &offsets)?;
    drop(device);
    stop_served(context, server)?;
    Ok(format!("{} writes of {WRITE_BYTES} bytes, durable after one FLUSH", offsets.len()))
}

fn check_durable(
    context: &mut Context,
    disk: &VolatileDisk,
    offsets: &[usize],
) -> Result<(), Stop> {
    let durable = disk.durable();
    for offset in offsets {
        let expected = signed(*offset, context.seed);
        let observed = &durable[*offset..offset + WRITE_BYTES];
        let told = first_difference(*offset as u64 / 512, observed, &expected);
        context.check(
            FailureKind::DataMismatch,
            format_args!("what was written at {offset} is durable: {told:?}"),
            told.is_none(),
        )?;
    }
    Ok(())
}

fn fua_is_durable(context: &mut Context) -> Result<String, Stop> {
    let disk = Arc::new(VolatileDisk::new(SIZE_BYTES));
    let server = served(context, Server::builder(Arc::clone(&disk)).queues(1).depth(8))?;
    let path = server.block_device_path();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    context.check_eq(
        FailureKind::State,
        "queue/fua",
        &sysfs_block(&name, "queue/fua")?,
        &"1".to_owned(),
    )?;
    // O_DIRECT | O_DSYNC makes the kernel send the write with FUA instead of a FLUSH behind it.
    let file = {
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(nix::libc::O_DIRECT | nix::libc::O_DSYNC)
            .open(server.block_device_path())?
    };
    let offset = 128 << 10;
    std::os::unix::fs::FileExt::write_all_at(&file, &signed(offset, context.seed), offset as u64)?;
    let (_, fua_writes) = disk.flushes_and_fua_writes();
    context.check(FailureKind::State, "a FUA write reached the target", fua_writes >= 1)?;
    check_durable(context, &disk, &[offset])?;
    drop(file);
    stop_served(context, server)?;
    Ok(format!("{fua_writes} FUA writes, durable without a FLUSH"))
}

fn file_target_flushes(context: &mut Context) -> Result<String, Stop> {
    let disk = Arc::new(VolatileDisk::new(SIZE_BYTES));
    let inner = served(context, Server::builder(Arc::clone(&disk)).queues(1).depth(16))?;
    let path = inner.block_device_path().display().to_string();
    let outer = ServerProcess::start(context, &["file", "--path", &path, "--queues", "1"])?;
    let device = BlockDevice::open(&outer.live.block_device, context.command_timeout())?;
    let offset = 256 << 10;
    device.write_at(offset as u64, &signed(offset, context.seed))?;
    let (flushes_before, _) = disk.flushes_and_fua_writes();
    device.flush()?;
    let (flushes_after, _) = disk.flushes_and_fua_writes();
    context.check(
        FailureKind::State,
        "the FLUSH went down to the medium under the file",
        flushes_after > flushes_before,
    )?;
    check_durable(context, &disk, &[offset])?;
    drop(device);
    outer.stop(context)?;
    stop_served(context, inner)?;
    Ok("a FLUSH on the outer device is a FLUSH on the inner one".into())
}
