//! Each option that is asked for is visible in sysfs, and every operation arrives as what it is.
//!
//! The seed project accepted `ReadOnly`, `EnableFUA` and discard options for months and sent none of
//! them to the kernel (its bug R:5).

use std::os::unix::fs::FileExt;

use reports::event::FailureKind;

use crate::block::{AlignedBuffer, BlockDevice, sysfs_block};
use crate::context::{Context, Stop};
use crate::probe;
use crate::process::ServerProcess;
use crate::scenario::Scenario;
use crate::signature::fill;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "data/options-visible-in-sysfs",
        title: "size, block size, cache, discard and request limits are in sysfs as asked",
        covers: &["S3", "S6", "R:2", "R:3", "R:5"],
        run: options_visible,
        ..Scenario::SERVER
    },
    Scenario {
        id: "data/read-only-device-refuses-writes",
        title: "a read-only device reads, and refuses to be written",
        covers: &["S6", "R:5", "attrs.READ_ONLY"],
        run: read_only,
        ..Scenario::SERVER
    },
    Scenario {
        id: "data/discard-and-write-zeroes",
        title: "DISCARD and WRITE_ZEROES reach the target and clear exactly their range",
        covers: &["R:9", "iod.DISCARD", "iod.WRITE_ZEROES"],
        run: discard_and_zero,
        ..Scenario::SERVER
    },
    Scenario {
        id: "data/request-sizes-around-the-buffer-limit",
        title: "requests around the tag buffer's size are split, never cut or overrun",
        covers: &["S5", "R:4"],
        run: sizes_around_limit,
        ..Scenario::SERVER
    },
];

fn name_of(server: &ServerProcess) -> String {
    format!("ublkb{}", server.live.id)
}

fn options_visible(context: &mut Context) -> Result<String, Stop> {
    let mut shown = Vec::new();
    let path = format!("/tmp/options-{}", std::process::id());
    // A ramdisk has no volatile cache and says so; a file has one, with FUA.
    for (target, block_bytes, queues, max_io_kib, write_cache, fua) in [
        (&["ram"][..], 512_u32, 1_u16, 128_u32, "write through", "0"),
        (&["file", "--path", &path], 4096, 2, 512, "write back", "1"),
    ] {
        let (block, queues_text) = (block_bytes.to_string(), queues.to_string());
        let max_io = format!("{max_io_kib}K");
        let arguments = ["--size", "8M", "--block-size", &block, "--queues", &queues_text];
        let arguments = [target, &arguments[..], &["--max-io-size", &max_io]].concat();
        let server = ServerProcess::start(context, &arguments)?;
        let expected = [
            ("size", "16384".to_owned()),
            ("ro", "0".to_owned()),
            ("queue/logical_block_size", block.clone()),
            ("queue/max_hw_sectors_kb", max_io_kib.to_string()),
            ("queue/write_cache", write_cache.to_owned()),
            ("queue/fua", fua.to_owned()),
            ("queue/rotational", "0".to_owned()),
        ];
        for (file, value) in expected {
            let observed = sysfs_block(&name_of(&server), file)?;
            context.check_eq(FailureKind::State, file, &observed, &value)?;
        }
        let discard: u64 =
            sysfs_block(&name_of(&server), "queue/discard_max_bytes")?.parse().unwrap_or(0);
        context.check(FailureKind::State, "discard_max_bytes is not 0", discard > 0)?;
        shown.push(format!("{} {block_bytes} B x {queues}, {write_cache}", target[0]));
        server.stop(context)?;
    }
    Ok(shown.join(", "))
}

fn read_only(context: &mut Context) -> Result<String, Stop> {
    let server = ServerProcess::start(context, &["ram", "--size", "4M", "--read-only"])?;
    let ro = sysfs_block(&name_of(&server), "ro")?;
    context.check_eq(FailureKind::State, "ro", &ro, &"1".to_owned())?;
    let file = std::fs::File::open(&server.live.block_device)?;
    let mut sector = [0xff; 512];
    file.read_exact_at(&mut sector, 4096)?;
    context.check(FailureKind::DataMismatch, "it reads zeros", sector == [0; 512])?;
    let error = std::fs::OpenOptions::new()
        .write(true)
        .open(&server.live.block_device)
        .and_then(|file| file.write_all_at(&sector, 0).and_then(|()| file.sync_data()))
        .err()
        .and_then(|error| error.raw_os_error());
    context.check(
        FailureKind::State,
        format_args!("writing is refused (errno {error:?})"),
        matches!(error, Some(nix::libc::EROFS | nix::libc::EPERM | nix::libc::EACCES)),
    )?;
    let writes = server.counters()?.writes;
    context.check_eq(FailureKind::State, "writes that reached the server", &writes, &0)?;
    drop(file);
    server.stop(context)?;
    Ok(format!("refused with errno {}", error.unwrap_or(0)))
}

fn discard_and_zero(context: &mut Context) -> Result<String, Stop> {
    const TOOL: &str = "/sbin/blkdiscard";
    probe::program(TOOL)?;
    let server = ServerProcess::start(context, &["ram", "--size", "8M", "--block-size", "4096"])?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let path = server.live.block_device.display().to_string();
    let mut content = AlignedBuffer::zeroed(1 << 20);
    fill(&mut content, 0, 1, context.seed);
    device.write_at(0, &content)?;
    let mut expected = content.to_vec();
    for (extra, offset, len) in [(None, 64 << 10, 128 << 10), (Some("-z"), 512 << 10, 64 << 10)] {
        let (offset_text, len_text) = (offset.to_string(), len.to_string());
        let mut arguments: Vec<&str> = extra.into_iter().collect();
        arguments.extend(["-f", "-o", &offset_text, "-l", &len_text, &path]);
        probe::run(context, TOOL, &arguments)?;
        expected[offset..offset + len].fill(0);
    }
    let mut observed = AlignedBuffer::zeroed(1 << 20);
    device.read_at(0, &mut observed)?;
    let told = crate::signature::first_difference(0, &observed, &expected);
    context.check(
        FailureKind::DataMismatch,
        format_args!("exactly the two ranges are cleared: {told:?}"),
        told.is_none(),
    )?;
    let counters = server.counters()?;
    context.check(FailureKind::State, "DISCARD reached the server", counters.discards > 0)?;
    context.check(FailureKind::State, "WRITE_ZEROES reached it", counters.write_zeroes > 0)?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{} discards, {} write-zeroes", counters.discards, counters.write_zeroes))
}

fn sizes_around_limit(context: &mut Context) -> Result<String, Stop> {
    let server = ServerProcess::start(context, &["ram", "--size", "8M", "--max-io-size", "64K"])?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let before = server.counters()?;
    let sizes = [4 << 10, 60 << 10, 64 << 10, 68 << 10, 128 << 10, 512 << 10, 1 << 20];
    let mut generation = 0;
    for size in sizes {
        for offset in [0_u64, 4096, (1 << 20) - 512] {
            generation += 1;
            let mut content = AlignedBuffer::zeroed(size);
            fill(&mut content, offset / 512, generation, context.seed);
            device.write_at(offset, &content)?;
            let mut back = AlignedBuffer::zeroed(size);
            device.read_at(offset, &mut back)?;
            let told = crate::signature::first_difference(offset / 512, &back, &content);
            context.check(
                FailureKind::DataMismatch,
                format_args!("{size} bytes at {offset}: {told:?}"),
                told.is_none(),
            )?;
        }
    }
    let after = server.counters()?;
    let (bytes, requests) =
        (after.bytes_written - before.bytes_written, after.writes - before.writes);
    let total: usize = sizes.iter().sum::<usize>() * 3;
    context.check_eq(FailureKind::State, "bytes written", &bytes, &(total as u64))?;
    context.check(
        FailureKind::State,
        format_args!("no request was larger than 64 KiB ({bytes} bytes in {requests} requests)"),
        requests >= bytes / (64 << 10),
    )?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{bytes} bytes in {requests} requests"))
}
