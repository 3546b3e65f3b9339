//! Requests in memory that client and server share. The bytes prove nothing by themselves, for a request that takes
//! the usual way arrives as well: what proves is the server's count of requests that it found in the memory, which
//! has to be the client's count of those it sent from there.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::server::{Server, SharedMemory};
use ublk::target::RamTarget;
use ublk::uapi::Features;

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::oracle::Reference;
use crate::process::ServerProcess;
use crate::rig;
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;
use crate::signature::fill;

const EVERY_MODE: Scenario = Scenario {
    id: "modes/shmem-zero-copy",
    title: "requests from shared memory are found there in every data mode, by targets with extents and without; all \
            others go on as before",
    covers: &["S4", "UBLK_F_SHMEM_ZC"],
    budget: BudgetClass::Long,
    known_bug: |kernel| kernel.page_registration_bug().or(kernel.shared_memory_bug()),
    run: every_mode,
    ..Scenario::SERVER
};

const READ_ONLY: Scenario = Scenario {
    id: "modes/shmem-read-only",
    title: "memory that is registered for reading serves writes and leaves reads to the usual way",
    covers: &["UBLK_SHMEM_BUF_READ_ONLY"],
    known_bug: KernelRelease::shared_memory_bug,
    run: read_only,
    ..Scenario::SERVER
};

const CUT_SHORT: Scenario = Scenario {
    id: "modes/shmem-cut-short-by-a-client",
    title: "a client that cuts the shared file short fails its own request, and not the server",
    covers: &["S4"],
    known_bug: KernelRelease::shared_memory_bug,
    run: cut_short,
    ..Scenario::SERVER
};

const TAKEN_OVER: Scenario = Scenario {
    id: "modes/shmem-taken-over",
    title: "a server that takes a device over serves the memory its predecessor registered, and without it fails what \
            it cannot reach",
    covers: &["S7"],
    known_bug: KernelRelease::shared_memory_bug,
    run: taken_over,
    ..Scenario::SERVER
};

pub(super) const SCENARIOS: &[Scenario] = &[EVERY_MODE, READ_ONLY, CUT_SHORT, TAKEN_OVER];

const MEMORY_BYTES: u64 = 4 << 20;
const DISK_BYTES: u64 = 8 << 20;

/// A file that both map, of tmpfs or whatever the root of the guest is made of: memory in any case.
struct Common {
    path: PathBuf,
    file: File,
    memory: SharedMemory,
}

impl Common {
    fn new(name: &str) -> Result<Self, Stop> {
        let path = std::env::temp_dir().join(format!("shared-{name}-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.during("make the shared file")?;
        file.set_len(MEMORY_BYTES).during("size the shared file")?;
        let memory = SharedMemory::from_file(&file, MEMORY_BYTES).map_err(Stop::error)?;
        Ok(Self { path, file, memory })
    }

    fn text(&self) -> String {
        self.path.display().to_string()
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn signed(offset_bytes: u64, len_bytes: u64, generation: u64, seed: u64) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(len_bytes as usize);
    fill(&mut buffer, offset_bytes / 512, generation, seed);
    buffer
}

/// Offset in the memory, offset on the disk, length: from one sector in the middle of a page to what is still one
/// request whatever pages it is made of.
const PIECES: [(u64, u64, u64); 6] = [
    (0, 0, 4096),
    (512, 4096, 512),
    (3 * 4096 + 1024, 1 << 20, 3 * 4096),
    (1 << 20, 2 << 20, 128 << 10),
    (MEMORY_BYTES - 4096, DISK_BYTES - 4096, 4096),
    (2 << 20, 3 << 20, 256 << 10),
];

/// Writes from the memory and from elsewhere, reads into both, and compares all of it. Gives the number of requests
/// from the memory.
fn exercise(
    context: &mut Context,
    common: &Common,
    device: &BlockDevice,
    reference: &Reference,
    generation: u64,
) -> Result<u64, Stop> {
    let mut requests = 0;
    for (at, offset, len) in PIECES {
        let bytes = signed(offset, len, generation, context.seed);
        common.memory.write(at, &bytes)?;
        common.memory.send_to(at, len, device.file(), offset)?;
        reference.write(offset, &bytes)?;
        requests += 1;
        // Read from elsewhere: what it should be has not passed through the memory a second time.
        let mut back = AlignedBuffer::zeroed(len as usize);
        device.read_at(offset, &mut back)?;
        context.check(
            FailureKind::DataMismatch,
            format_args!("{len} bytes written from {at} of the memory are on the disk at {offset}"),
            back[..] == bytes[..],
        )?;
        let other = signed(offset, len, generation + 1, context.seed);
        device.write_at(offset, &other)?;
        reference.write(offset, &other)?;
        common.memory.write(at, &vec![0xEE; len as usize])?;
        common.memory.fill_from(at, len, device.file(), offset)?;
        requests += 1;
        common.memory.read(at, &mut back)?;
        context.check(
            FailureKind::DataMismatch,
            format_args!("{len} bytes of the disk at {offset} are read into {at} of the memory"),
            back[..] == other[..],
        )?;
    }
    Ok(requests)
}

const BYTES_AND_EXTENTS: [&[&str]; 2] = [&["ram", "--size", "8M"], &["file", "--size", "8M"]];

/// The data planes, and what the driver has to offer for each.
const PLANES: [(&[&str], Features); 8] = [
    (&[], Features::empty()),
    (&["--mode", "user-copy"], Features::USER_COPY),
    (&["--mode", "zero-copy"], Features::SUPPORT_ZERO_COPY),
    (&["--mode", "auto-zero-copy"], Features::AUTO_BUF_REG),
    (&["--mode", "auto-zero-copy-fallback"], Features::AUTO_BUF_REG),
    (&["--batch"], Features::BATCH_IO),
    (&["--batch", "--mode", "auto-zero-copy"], Features::BATCH_IO),
    (&["--threads", "3"], Features::PER_IO_DAEMON),
];

fn every_mode(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::SHMEM_ZC)?;
    let mut requests = 0;
    let mut planes = 0;
    for (plane, needed) in PLANES {
        if let Err(skip) = rig::offered(needed) {
            context.step(format_args!("without {plane:?}: {skip}"));
            continue;
        }
        for target in BYTES_AND_EXTENTS {
            requests += one_plane(context, target, plane)?;
            planes += 1;
        }
    }
    Ok(format!("{requests} requests from shared memory, in {planes} kinds of server"))
}

fn one_plane(context: &mut Context, target: &[&str], plane: &[&str]) -> Result<u64, Stop> {
    let common = Common::new("plane")?;
    let backing = std::env::temp_dir().join(format!("shared-disk-{}", std::process::id()));
    let (memory, path) = (common.text(), backing.display().to_string());
    let mut arguments = target.to_vec();
    if target[0] == "file" {
        arguments.extend(["--path", &path]);
    }
    arguments.extend(["--shared-memory", &memory]);
    arguments.extend(plane);
    let server = ServerProcess::start(context, &arguments)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let reference = Reference::zeros("shared", DISK_BYTES)?;
    let before = server.counters()?;
    let sent = exercise(context, &common, &device, &reference, 1)?;
    let after = server.counters()?;
    context.check_eq(
        FailureKind::State,
        "requests the server found in the memory",
        &(after.shared - before.shared),
        &sent,
    )?;
    context.check(
        FailureKind::State,
        format_args!("others came another way ({} reads in all)", after.reads - before.reads),
        after.reads - before.reads > sent / 2,
    )?;
    context.check_eq(FailureKind::State, "requests with an error", &after.errors, &0)?;
    reference.check_device(context, &device, "after all of it")?;
    drop(device);
    server.stop(context)?;
    let _ = std::fs::remove_file(&backing);
    Ok(sent)
}

fn read_only(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::SHMEM_ZC)?;
    let common = Common::new("read-only")?;
    let registered = SharedMemory::read_only_from_file(&common.file, MEMORY_BYTES);
    let target = RamTarget::new(DISK_BYTES).map_err(Stop::error)?;
    let builder = Server::builder(target).shared_memory(registered.map_err(Stop::error)?);
    let server = served(context, builder)?;
    let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
    let reference = Reference::zeros("read-only", DISK_BYTES)?;
    let count = |server: &Server| server.counters().iter().map(|queue| queue.shared).sum::<u64>();
    let before = count(&server);
    let sent = exercise(context, &common, &device, &reference, 1)?;
    context.check_eq(
        FailureKind::State,
        "requests found in the memory: the writes",
        &(count(&server) - before),
        &(sent / 2),
    )?;
    drop(device);
    stop_served(context, server)?;
    Ok(format!("{} writes from the memory, {} reads not", sent / 2, sent / 2))
}

fn cut_short(context: &mut Context) -> Result<String, Stop> {
    const DELAY: Duration = Duration::from_millis(400);
    rig::offered(Features::SHMEM_ZC)?;
    let common = Common::new("cut")?;
    let memory = common.text();
    let server = ServerProcess::start(
        context,
        &[
            "ram",
            "--size",
            "8M",
            "--shared-memory",
            &memory,
            "--fault",
            "op=read,sectors=4096-4103,delay=400ms",
        ],
    )?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let before = server.counters()?;
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| common.memory.fill_from(0, 4096, device.file(), 4096 * 512));
        // The request has its pages; the server is about to look for them by its mapping.
        std::thread::sleep(DELAY / 2);
        let cut = common.file.set_len(0);
        let read = reader.join().map_err(|_| Stop::error("the reader panicked"))?;
        cut.during("cut the file short").map(|()| read)
    })?;
    context.check(
        FailureKind::Operation,
        format_args!("the request is answered with an error ({read:?})"),
        read.as_ref().is_err_and(|error| error.raw_os_error() == Some(nix::libc::EIO)),
    )?;
    let after = server.counters()?;
    context.check_eq(
        FailureKind::State,
        "requests found in the memory",
        &(after.shared - before.shared),
        &1,
    )?;
    let reference = Reference::zeros("cut", DISK_BYTES)?;
    let bytes = signed(1 << 20, 64 << 10, 1, context.seed);
    device.write_at(1 << 20, &bytes)?;
    reference.write(1 << 20, &bytes)?;
    reference.check_device(context, &device, "with the memory gone")?;
    drop(device);
    server.stop(context)?;
    Ok("EIO for one request; the server goes on".into())
}

fn taken_over(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::SHMEM_ZC)?;
    let common = Common::new("taken-over")?;
    let backing = Reference::zeros("taken-over-disk", DISK_BYTES)?;
    let (memory, path) = (common.text(), backing.path().display().to_string());
    let file = ["file", "--path", &path];
    let shared = ["--shared-memory", &memory];
    let first = [&file[..], &["--recovery", "plain"], &shared].concat();
    let server = ServerProcess::start(context, &first)?;
    let id = server.live.id;
    let number = id.to_string();
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let reference = Reference::zeros("taken-over", DISK_BYTES)?;
    exercise(context, &common, &device, &reference, 1)?;
    let end = context.command_timeout() * 3;

    server.signal(Signal::SIGKILL)?;
    server.give_up(end)?;
    let second = [&[number.as_str()][..], &file, &shared].concat();
    let server = ServerProcess::recover(context, &second)?;
    let sent = exercise(context, &common, &device, &reference, 3)?;
    let found = server.counters()?.shared;
    context.check_eq(FailureKind::State, "requests the second server found", &found, &sent)?;
    reference.check_device(context, &device, "with the second server")?;

    server.signal(Signal::SIGKILL)?;
    server.give_up(end)?;
    let third = [&[number.as_str()][..], &file].concat();
    let server = ServerProcess::recover(context, &third)?;
    let lost = common.memory.send_to(0, 4096, device.file(), 0);
    context.check(
        FailureKind::Operation,
        format_args!("a write from memory that the third server has not got fails ({lost:?})"),
        lost.as_ref().is_err_and(|error| error.raw_os_error() == Some(nix::libc::EIO)),
    )?;
    let bytes = signed(0, 4096, 9, context.seed);
    device.write_at(0, &bytes)?;
    reference.write(0, &bytes)?;
    reference.check_device(context, &device, "with the third server")?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{sent} requests in memory the first server had registered"))
}
