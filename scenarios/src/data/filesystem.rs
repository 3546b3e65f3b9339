//! A filesystem lives on the device: made, mounted, written, unmounted, checked, read again.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use reports::event::FailureKind;

use crate::context::{Context, During, Stop};
use crate::probe;
use crate::process::ServerProcess;
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "data/ext4-round-trip",
    title: "ext4 is made, mounted, written, checked clean and read back",
    covers: &["S13"],
    run: ext4_round_trip,
    ..Scenario::SERVER
}];

const MKFS: &str = "/sbin/mkfs.ext4";
const FSCK: &str = "/sbin/e2fsck";
const MOUNT_POINT: &str = "/mnt";
const FILES: u64 = 8;
const FILE_BYTES: usize = 300 << 10;

fn ext4_round_trip(context: &mut Context) -> Result<String, Stop> {
    probe::program(MKFS)?;
    probe::program(FSCK)?;
    if !filesystem_known("ext4")? {
        probe::load_module("ext4", "")?;
    }
    // A file target, because it has a cache: what the journal flushes can be counted.
    let backing = format!("/tmp/ext4-{}", std::process::id());
    let arguments = ["file", "--path", &backing, "--size", "32M", "--queues", "2"];
    let server = ServerProcess::start(context, &arguments)?;
    let path = server.live.block_device.display().to_string();
    probe::run(context, MKFS, &["-q", "-F", &path])?;
    mounted(&path, || {
        for number in 0..FILES {
            std::fs::write(file(number), content(number, context.seed))?;
        }
        Ok(())
    })?;
    probe::run(context, FSCK, &["-f", "-n", &path])?;
    let mut wrong = None;
    mounted(&path, || {
        for number in 0..FILES {
            let observed = std::fs::read(file(number))?;
            let expected = content(number, context.seed);
            let told = first_difference(0, &observed, &expected);
            wrong = wrong.take().or_else(|| told.map(|told| format!("file {number}: {told}")));
        }
        Ok(())
    })?;
    context.check(
        FailureKind::DataMismatch,
        format_args!("every file is what was written: {wrong:?}"),
        wrong.is_none(),
    )?;
    let counters = server.counters()?;
    context.check(FailureKind::State, "the journal flushed", counters.flushes > 0)?;
    context.check(
        FailureKind::State,
        "the files went through the server",
        counters.bytes_written >= FILES * FILE_BYTES as u64,
    )?;
    server.stop(context)?;
    Ok(format!("{FILES} files of {FILE_BYTES} bytes, e2fsck clean, {} flushes", counters.flushes))
}

/// Whether the kernel has that file system already.
pub(crate) fn filesystem_known(name: &str) -> Result<bool, Stop> {
    let known = std::fs::read_to_string("/proc/filesystems").during("read /proc/filesystems")?;
    Ok(known.split_whitespace().any(|word| word == name))
}

fn file(number: u64) -> String {
    format!("{MOUNT_POINT}/file-{number}")
}

fn content(number: u64, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    fill(&mut bytes, 0, number + 1, seed);
    bytes
}

/// Runs `work` with the filesystem mounted, and unmounts it whatever `work` said.
fn mounted(device: &str, work: impl FnOnce() -> std::io::Result<()>) -> Result<(), Stop> {
    std::fs::create_dir_all(MOUNT_POINT)?;
    mount(Some(device), MOUNT_POINT, Some("ext4"), MsFlags::empty(), None::<&Path>)
        .during(format_args!("mount {device}"))?;
    let worked = work();
    umount2(MOUNT_POINT, MntFlags::empty()).during(format_args!("unmount {device}"))?;
    worked.during("use the filesystem")
}
