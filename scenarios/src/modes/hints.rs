//! What a request's sender says about it, as a target hears it: a page cache that reads ahead, and a file system that
//! reads its own metadata. What is swapped is not here: nobody swaps in the guest.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use reports::event::FailureKind;
use ublk::queue::AsyncRequest;
use ublk::server::{Server, ServerBuilder};
use ublk::target::{AsyncTarget, Capabilities, Hints, Op, RamTarget, Target};
use ublk::uapi::IoFlags;

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::data::filesystem_known;
use crate::probe;
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "modes/hints-reach-the-target",
    title: "a target hears by both doors that it is asked for what is read ahead, for a file system's metadata, or for \
            neither",
    covers: &["iod.FAILFAST", "iod.META"],
    run: hints,
    ..Scenario::SERVER
}];

const DISK_BYTES: u64 = 8 << 20;
const MKFS: &str = "/sbin/mkfs.ext4";
const MOUNT_POINT: &str = "/mnt";

/// Counts reads by what was said about them.
#[derive(Default)]
struct Heard {
    plain: AtomicU64,
    metadata: AtomicU64,
    fail_fast: AtomicU64,
    /// What no sender here says.
    strange: AtomicU64,
}

impl Heard {
    fn note(&self, hints: Hints) {
        let failfast =
            IoFlags::FAILFAST_DEV | IoFlags::FAILFAST_TRANSPORT | IoFlags::FAILFAST_DRIVER;
        // Whoever reads ahead means every kind of error.
        let strange = hints.is_swap() || hints.fail_fast() && !hints.flags().contains(failfast);
        for (is, counter) in [
            (hints == Hints::default(), &self.plain),
            (hints.is_metadata(), &self.metadata),
            (hints.fail_fast(), &self.fail_fast),
            (strange, &self.strange),
        ] {
            counter.fetch_add(u64::from(is), Ordering::Relaxed);
        }
    }

    /// Plain, metadata, fail fast, strange.
    fn counts(&self) -> [u64; 4] {
        [&self.plain, &self.metadata, &self.fail_fast, &self.strange]
            .map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// A ramdisk that listens, through either door.
struct Listens {
    ram: RamTarget,
    heard: Arc<Heard>,
}

impl Target for Listens {
    fn size_bytes(&self) -> u64 {
        DISK_BYTES
    }

    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        self.ram.write(offset_bytes, data, fua)
    }

    fn read_hinted(&self, offset_bytes: u64, buffer: &mut [u8], hints: Hints) -> io::Result<()> {
        self.heard.note(hints);
        self.ram.read(offset_bytes, buffer)
    }
}

impl AsyncTarget for Listens {
    fn size_bytes(&self) -> u64 {
        DISK_BYTES
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        let at = request.offset_bytes();
        match request.op() {
            Op::Read => {
                self.heard.note(request.hints());
                request.with_bytes(|bytes| self.ram.read(at, bytes))?
            }
            Op::Write => request.with_bytes(|bytes| self.ram.write(at, bytes, false))?,
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn hints(context: &mut Context) -> Result<String, Stop> {
    probe::program(MKFS)?;
    if !filesystem_known("ext4")? {
        probe::load_module("ext4", "")?;
    }
    let sync = by_door(context, "sync", Server::builder)?;
    let asynchronous = by_door(context, "async", Server::builder_async)?;
    Ok(format!("plain, metadata, ahead, strange: {sync:?} and {asynchronous:?}"))
}

fn by_door(
    context: &mut Context,
    door: &str,
    builder: impl FnOnce(Listens) -> ServerBuilder,
) -> Result<[u64; 4], Stop> {
    let heard = Arc::new(Heard::default());
    let ram = RamTarget::new(DISK_BYTES).during("make a ramdisk")?;
    let target = Listens { ram, heard: Arc::clone(&heard) };
    let server = served(context, builder(target).no_socket())?;
    let path = server.block_device_path();
    let device = path.display().to_string();
    let more = |what: &str, begin: [u64; 4]| {
        let end = heard.counts();
        let counts: [u64; 4] = std::array::from_fn(|kind| end[kind] - begin[kind]);
        (counts, format!("{door}: {what}: plain, metadata, ahead, strange {counts:?}"))
    };

    probe::run(context, MKFS, &["-q", "-F", &device])?;
    let begin = heard.counts();
    std::fs::create_dir_all(MOUNT_POINT).during("make a mount point")?;
    mount(Some(path.as_path()), MOUNT_POINT, Some("ext4"), MsFlags::MS_RDONLY, None::<&Path>)
        .during("mount it")?;
    let listed = std::fs::read_dir(MOUNT_POINT).map(Iterator::count);
    umount2(MOUNT_POINT, MntFlags::empty()).during("unmount it")?;
    listed.during("list the root")?;
    let (counts, told) = more("a mount", begin);
    context.check(FailureKind::State, told, counts[1] > 0 && counts[3] == 0)?;

    let begin = heard.counts();
    let mut cached = std::fs::File::open(&path).during("open the disk")?;
    let mut bytes = vec![0; 1 << 20];
    cached.read_exact(&mut bytes).during("read through the page cache")?;
    drop(cached);
    let (counts, told) = more("a sequential read through the page cache", begin);
    let right = counts[2] > 0 && counts[1] == 0 && counts[3] == 0;
    context.check(FailureKind::State, told, right)?;

    let disk = BlockDevice::open(&path, context.command_timeout())?;
    let begin = heard.counts();
    disk.read_at(0, &mut AlignedBuffer::zeroed(4096))?;
    let (counts, told) = more("a direct read", begin);
    context.check(FailureKind::State, told, counts == [1, 0, 0, 0])?;
    drop(disk);
    stop_served(context, server)?;
    Ok(heard.counts())
}
