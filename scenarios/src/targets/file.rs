//! The file target: what it gives back when it is told to, and O_DIRECT on a disk with large blocks.

use nix::fcntl::{FallocateFlags, fallocate};
use reports::event::FailureKind;

use super::scratch::Scratch;
use super::{name_of, signed, write_both};
use crate::block::{BlockDevice, page_bytes, sysfs_block};
use crate::context::{Context, During, Stop};
use crate::oracle::Reference;
use crate::probe;
use crate::process::ServerProcess;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/file-punches-holes",
        title: "DISCARD and an unmapping WRITE_ZEROES free exactly their range of the file; one that must \
                not unmap frees nothing",
        covers: &["iod.DISCARD", "iod.WRITE_ZEROES", "iod.NOUNMAP"],
        run: punches_holes,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/file-direct-on-4096-byte-blocks",
        title: "with O_DIRECT a file target takes the block size of what it stands on, and keeps its data",
        covers: &["S4", "S5", "iod.WRITE_ZEROES"],
        run: direct_on_large_blocks,
        ..Scenario::SERVER
    },
];

const BLKDISCARD: &str = "/sbin/blkdiscard";

fn punches_holes(context: &mut Context) -> Result<String, Stop> {
    const SIZE: u64 = 4 << 20;
    probe::program(BLKDISCARD)?;
    let backing = Scratch::new("holes");
    let path = backing.text();
    let server = ServerProcess::start(context, &["file", "--path", &path, "--size", "4M"])?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let reference = Reference::zeros("holes", SIZE)?;
    write_both(&device, &reference, 0, &signed(0, SIZE as usize, 1, context.seed))?;
    let node = server.live.block_device.display().to_string();
    let mut held = backing.allocated_bytes()?;
    context.check_eq(FailureKind::State, "bytes held when it is full", &held, &SIZE)?;

    let (offset, len) = (1_u64 << 20, 512_u64 << 10);
    let (offset_text, len_text) = (offset.to_string(), len.to_string());
    probe::run(context, BLKDISCARD, &["-f", "-o", &offset_text, "-l", &len_text, &node])?;
    held -= len;
    reference.write(offset, &vec![0; len as usize])?;
    context.check_eq(FailureKind::State, "after DISCARD", &backing.allocated_bytes()?, &held)?;

    // A hole in a block device is a WRITE_ZEROES that may unmap.
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    // The file is given back in pages of its file system, which has this machine's.
    let hole = (2 << 20) + page_bytes() as u64;
    fallocate(device.file(), flags, hole.cast_signed(), 128 << 10).during("punch a hole")?;
    held -= 128 << 10;
    reference.write(hole, &vec![0; 128 << 10])?;
    context.check_eq(
        FailureKind::State,
        "after an unmapping WRITE_ZEROES",
        &backing.allocated_bytes()?,
        &held,
    )?;

    // And BLKZEROOUT is one that must not.
    probe::run(context, BLKDISCARD, &["-f", "-z", "-o", "3145728", "-l", "65536", &node])?;
    reference.write(3 << 20, &vec![0; 64 << 10])?;
    context.check_eq(
        FailureKind::State,
        "after a WRITE_ZEROES that must not unmap",
        &backing.allocated_bytes()?,
        &held,
    )?;
    let counters = server.counters()?;
    context.check(FailureKind::State, "DISCARD reached the server", counters.discards > 0)?;
    context.check(FailureKind::State, "WRITE_ZEROES twice", counters.write_zeroes >= 2)?;
    let md5 = reference.check_device(context, &device, "after all of it")?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{held} of {SIZE} bytes held, MD5 {md5}"))
}

fn direct_on_large_blocks(context: &mut Context) -> Result<String, Stop> {
    const SIZE: u64 = 8 << 20;
    let below = ServerProcess::start(context, &["ram", "--size", "8M", "--block-size", "4096"])?;
    let path = below.live.block_device.display().to_string();
    let server = ServerProcess::start(context, &["file", "--path", &path, "--direct"])?;
    let block = sysfs_block(&name_of(&server), "queue/logical_block_size")?;
    context.check_eq(FailureKind::State, "logical block", &block, &"4096".to_owned())?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let reference = Reference::zeros("direct", SIZE)?;
    for (generation, (offset, len)) in (1..).zip([
        (0, 4096),
        (12_288, 128 << 10),
        (1 << 20, 1 << 20),
        (SIZE - 4096, 4096),
        (SIZE - (600 << 10), 512 << 10),
    ]) {
        let bytes = signed(offset, len, generation, context.seed);
        write_both(&device, &reference, offset, &bytes)?;
    }
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(device.file(), flags, 1 << 20, 64 << 10).during("punch a hole")?;
    reference.write(1 << 20, &vec![0; 64 << 10])?;
    device.flush()?;
    let md5 = reference.check_device(context, &device, "through the file target")?;
    // A write that stopped in the page cache would not be here.
    let inner = BlockDevice::open(&below.live.block_device, context.command_timeout())?;
    reference.check_device(context, &inner, "on the disk below")?;
    let counters = below.counters()?;
    context.check(
        FailureKind::State,
        format_args!("the hole went down ({} write-zeroes)", counters.write_zeroes),
        counters.write_zeroes > 0 || counters.discards > 0,
    )?;
    drop((inner, device));
    server.stop(context)?;
    below.stop(context)?;
    Ok(format!("4096-byte blocks through O_DIRECT, MD5 {md5}"))
}
