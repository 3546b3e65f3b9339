//! Metadata on all the ways a request can take, and metadata that an application sends itself.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use rand::Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::device::Recovery;
use ublk::params::IntegrityOptions;
use ublk::queue::AsyncRequest;
use ublk::raw::{Addr, Arena, MetadataAttr, MetadataChecks, RawRing, RawSqe, RingShape};
use ublk::server::{DataMode, Server, ServerBuilder, StartError, TargetMismatch};
use ublk::target::{AsyncTarget, Capabilities, IntegrityTarget, Op, RamTarget, Target};

use super::integrity::{CRC16, Disk, Memory, SIZE, supported};
use super::{checksum, signed};
use crate::block::{AlignedBuffer, BlockDevice, page_bytes};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::process::ServerProcess;
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;
use crate::signature::first_difference;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/integrity-modes",
        title: "checksums arrive and come back by user copy in each mode that has it, from several threads, through both doors",
        covers: &["iod.INTEGRITY", "S13"],
        budget: BudgetClass::Long,
        run: modes,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/integrity-auto-modes",
        title: "checksums arrive and come back where the kernel registers pages by itself",
        covers: &["iod.INTEGRITY", "S13"],
        known_bug: KernelRelease::page_registration_bug,
        run: auto_modes,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/integrity-of-an-application",
        title: "metadata that an application sends with its own requests is stored and given back as it is",
        covers: &["iod.INTEGRITY"],
        run: of_an_application,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/integrity-takeover",
        title: "a device with metadata is taken over with the metadata it has, and by no other target",
        covers: &["iod.INTEGRITY", "S7"],
        run: takeover,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/integrity-command",
        title: "`ublk add ram --integrity` serves a checked disk, and spoiled data and metadata are EILSEQ",
        covers: &["iod.INTEGRITY"],
        run: command,
        ..Scenario::SERVER
    },
];

type Choose = fn(ServerBuilder) -> ServerBuilder;

const MODES: [(&str, Choose); 5] = [
    ("user copy", |server| server.queues(2)),
    ("two threads to a queue", |server| server.threads(2)),
    ("requests of a page", |server| {
        server.max_io_bytes(u32::try_from(page_bytes()).unwrap_or(4096))
    }),
    ("zero copy", |server| server.data_mode(DataMode::ZeroCopy)),
    ("batches", |server| server.batch(true)),
];
/// With pages that the kernel registers, although a target with metadata has no use for them.
const AUTO_MODES: [(&str, Choose); 3] = [
    ("auto zero copy", |server| server.data_mode(DataMode::AutoZeroCopy)),
    ("auto zero copy with fallback", |server| server.data_mode(DataMode::AutoZeroCopyFallback)),
    ("batches and auto zero copy", |server| server.batch(true).data_mode(DataMode::AutoZeroCopy)),
];
const CLIENTS: u64 = 3;
const ROUNDS: u64 = 25;

/// A memory behind the other door.
struct Async(Arc<Memory>);

impl AsyncTarget for Async {
    fn size_bytes(&self) -> u64 {
        SIZE
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn integrity(&self) -> Option<IntegrityOptions> {
        Some(self.0.options())
    }

    async fn handle(&self, request: &AsyncRequest) -> std::io::Result<()> {
        let at = request.offset_bytes();
        // So that others come in between, with metadata of theirs.
        request.sleep(Duration::from_micros(50)).await?;
        let mut metadata = request.with_metadata(|metadata| metadata.to_vec())?;
        match request.op() {
            Op::Write => {
                request.with_bytes(|data| self.0.write_with_metadata(at, data, &metadata, false))?
            }
            Op::Read => {
                request.with_bytes(|data| self.0.read_with_metadata(at, data, &mut metadata))??;
                request.with_metadata(|place| place.copy_from_slice(&metadata))
            }
            Op::Discard => self.0.discard(at, request.len_bytes()),
            Op::WriteZeroes => self.0.write_zeroes(at, request.len_bytes(), true),
            _ => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }
}

fn serve_each(context: &mut Context, modes: &[(&str, Choose)]) -> Result<(), Stop> {
    for &(name, choose) in modes {
        context.step(name);
        let disk = Disk::serve(context, CRC16, choose)?;
        write_and_read(context, name, &disk.device)?;
        let written = disk.device.size_bytes()?;
        check_stored(context, name, &disk.memory, written)?;
        disk.stop(context)?;
    }
    Ok(())
}

fn auto_modes(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    serve_each(context, &AUTO_MODES)?;
    Ok(format!("{} ways to register pages, {CLIENTS} clients at a time", AUTO_MODES.len()))
}

fn modes(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    serve_each(context, &MODES)?;
    let name = "the async door";
    context.step(name);
    let memory = Arc::new(Disk::memory(CRC16)?);
    let builder = Server::builder_async(Async(Arc::clone(&memory))).no_socket();
    let server = served(context, builder)?;
    let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
    write_and_read(context, name, &device)?;
    check_stored(context, name, &memory, SIZE)?;
    drop(device);
    stop_served(context, server)?;
    Ok(format!("{} ways to move them, {CLIENTS} clients at a time", MODES.len() + 1))
}

/// Several clients, each with a part of the disk, while the kernel checks whatever is read.
fn write_and_read(context: &mut Context, name: &str, device: &BlockDevice) -> Result<(), Stop> {
    let seed = context.seed;
    let one = |client: u64, mut rng: rand_chacha::ChaCha8Rng| -> Result<u64, String> {
        let part = SIZE / CLIENTS / 4096 * 4096;
        let mut bytes = 0;
        for generation in 1..=ROUNDS {
            let len = rng.random_range(1..=600_u64) * 512;
            let offset = client * part + rng.random_range(0..=(part - len) / 512) * 512;
            let content = signed(offset, len as usize, generation, seed);
            device.write_at(offset, &content).map_err(|error| format!("a write: {error}"))?;
            let mut back = AlignedBuffer::zeroed(content.len());
            device.read_at(offset, &mut back).map_err(|error| format!("a read: {error}"))?;
            if let Some(told) = first_difference(offset / 512, &back, &content) {
                return Err(told.to_string());
            }
            bytes += len;
        }
        Ok(bytes)
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let rng = context.rng(&format!("{name}-{client}"));
                scope.spawn(move || one(client, rng))
            })
            .collect();
        clients.into_iter().map(|client| client.join()).collect()
    });
    for result in results {
        let wrong = match result {
            Ok(Ok(_)) => None,
            Ok(Err(wrong)) => Some(wrong),
            Err(_) => Some("the client panicked".into()),
        };
        let what = format_args!("{name}: what a client wrote it reads back: {wrong:?}");
        context.check(FailureKind::DataMismatch, what, wrong.is_none())?;
    }
    Ok(())
}

/// Every interval that was written has its own checksum; the others have none.
fn check_stored(context: &mut Context, name: &str, memory: &Memory, size: u64) -> Result<(), Stop> {
    let (mut data, mut metadata) = (vec![0; size as usize], vec![0; size as usize / 512 * 8]);
    memory.read_with_metadata(0, &mut data, &mut metadata)?;
    let mut written = 0;
    for (number, (data, stored)) in (0..).zip(data.chunks(512).zip(metadata.chunks(8))) {
        if data.iter().any(|byte| *byte != 0) {
            let expected = checksum::metadata(&CRC16, number, data);
            let what = format_args!("{name}: metadata of sector {number}");
            context.check_eq(FailureKind::DataMismatch, what, &stored, &expected.as_slice())?;
            written += 1;
        } else {
            let what = format_args!("{name}: metadata of sector {number}, never written");
            context.check_eq(FailureKind::DataMismatch, what, &stored, &&[0xff; 8][..])?;
        }
    }
    context.check(
        FailureKind::State,
        format_args!("{name}: {written} sectors written"),
        written > 0,
    )
}

/// A client of io_uring that sends metadata along.
struct Client {
    ring: RawRing,
    file: Arc<std::fs::File>,
    data: Arena,
    metadata: Arena,
}

const CLIENT_BYTES: u32 = 8192;

impl Client {
    fn new(device: &BlockDevice) -> Result<Self, Stop> {
        let mut ring = RawRing::new(RingShape::default()).during("set up a ring")?;
        ring.register_sparse_buffers(1).during("register a buffer table")?;
        let arena = || Arena::new(CLIENT_BYTES as usize).during("map an arena");
        let (data, metadata) = (arena()?, arena()?);
        ring.register_arena(0, &data).during("register an arena")?;
        let file = Arc::new(device.file().try_clone()?);
        Ok(Self { ring, file, data, metadata })
    }

    /// Moves all of the data at `offset`, with so much metadata.
    fn transfer(
        &mut self,
        context: &Context,
        write: bool,
        offset: u64,
        metadata_bytes: u16,
    ) -> Result<i32, Stop> {
        let at = Addr::Arena(&self.metadata, 0);
        let attr = MetadataAttr::new(at, metadata_bytes, offset / 512, MetadataChecks::empty(), 0)?;
        let sqe = match write {
            true => RawSqe::write_fixed(&self.file, offset, CLIENT_BYTES),
            false => RawSqe::read_fixed(&self.file, offset, CLIENT_BYTES),
        };
        let sqe = sqe.fixed_addr(Addr::Arena(&self.data, 0)).metadata(&attr);
        self.ring.push(&sqe)?;
        let completions = self.ring.wait(1, context.command_timeout())?;
        match completions.as_slice() {
            [completion] => Ok(completion.res),
            other => Err(Stop::error(format_args!("{} completions of one request", other.len()))),
        }
    }

    fn metadata(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.metadata.read(0, &mut bytes);
        bytes
    }
}

fn of_an_application(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    let at = 1 << 20;
    let whole = CLIENT_BYTES.cast_signed();
    let content = signed(at, CLIENT_BYTES as usize, 1, context.seed);

    let opaque = IntegrityOptions {
        metadata_bytes: 24,
        interval_bytes: Some(512),
        ..IntegrityOptions::default()
    };
    let disk = Disk::serve(context, opaque, |server| server)?;
    let mut client = Client::new(&disk.device)?;
    let mut sent: Vec<u8> = (0..16 * 24).map(|at| (at % 251) as u8).collect();
    client.data.write(0, &content);
    client.metadata.write(0, &sent);
    let result = client.transfer(context, true, at, 384)?;
    context.check_result("a write with metadata", result, whole)?;
    let stored = disk.stored(at, CLIENT_BYTES as usize)?;
    context.check_eq(FailureKind::DataMismatch, "what is stored of it", &stored, &sent)?;
    disk.check_data(context, at, &content)?;
    sent[17] = !sent[17];
    disk.memory.write_with_metadata(at, &content, &sent, false)?;
    client.metadata.write(0, &[0; 384]);
    let result = client.transfer(context, false, at, 384)?;
    context.check_result("a read with metadata", result, whole)?;
    context.check_eq(FailureKind::DataMismatch, "what it brought", &client.metadata(384), &sent)?;
    let result = client.transfer(context, true, at, 383)?;
    context.check_result("a write with a byte too few", result, -(Errno::EINVAL as i32))?;
    drop(client);
    disk.stop(context)?;

    let disk = Disk::serve(context, CRC16, |server| server)?;
    let mut client = Client::new(&disk.device)?;
    let tuple = |(number, data): (u64, &[u8])| {
        let mut tuple = checksum::metadata(&CRC16, at / 512 + number, data);
        tuple[2..4].copy_from_slice(&[0x12, 0x34]);
        tuple
    };
    let mut sent: Vec<u8> = (0..).zip(content.chunks(512)).flat_map(tuple).collect();
    client.data.write(0, &content);
    client.metadata.write(0, &sent);
    let result = client.transfer(context, true, at, 128)?;
    context.check_result("a write with checksums and application tags", result, whole)?;
    let stored = disk.stored(at, CLIENT_BYTES as usize)?;
    context.check_eq(FailureKind::DataMismatch, "what is stored of it", &stored, &sent)?;
    disk.check_data(context, at, &content)?;
    sent[8] = !sent[8];
    client.metadata.write(0, &sent);
    let result = client.transfer(context, true, at, 128)?;
    context.check_result("a write with a wrong checksum, which nobody checks", result, whole)?;
    let read = disk.device.read_at(at, &mut AlignedBuffer::zeroed(4096));
    let errno = read.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
    context.check_result("a read of it by the kernel", -errno, -(Errno::EILSEQ as i32))?;
    client.metadata.write(0, &[0; 128]);
    let result = client.transfer(context, false, at, 128)?;
    context.check_result("a read that brings the checksum, and checks nothing", result, whole)?;
    context.check_eq(
        FailureKind::DataMismatch,
        "which is as wrong",
        &client.metadata(128),
        &sent,
    )?;
    drop(client);
    disk.stop(context)?;
    Ok("opaque metadata, application tags and a wrong checksum, by io_uring".into())
}

fn takeover(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    let memory = Arc::new(Disk::memory(CRC16)?);
    let builder = Server::builder(Arc::clone(&memory)).no_socket().recovery(Recovery::Reissue);
    let server = served(context, builder)?;
    let id = server.info().dev_id;
    let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
    let content = signed(0, 64 << 10, 1, context.seed);
    device.write_at(0, &content)?;
    let timeout = context.command_timeout() * 2;
    let left = server.detach(timeout).map_err(|error| Stop::fail(FailureKind::Operation, error))?;
    context.check(FailureKind::State, "the device was quiesced", left.quiesced)?;

    let plain = RamTarget::new(SIZE).during("make a ramdisk")?;
    let refused = Server::builder(plain).no_socket().recover(id).start();
    let mismatch = match &refused {
        Err(StartError::Mismatch(mismatch)) => Some(mismatch.clone()),
        _ => None,
    };
    let wanted = Some(TargetMismatch::Metadata);
    context.check_eq(FailureKind::Operation, "a target without metadata", &mismatch, &wanted)?;
    let taken = Server::builder(Arc::clone(&memory)).no_socket().recover(id).start();
    let server = taken.map_err(|error| Stop::fail(FailureKind::Operation, error))?;
    let mut back = AlignedBuffer::zeroed(64 << 10);
    device.read_at(0, &mut back)?;
    let same = back[..] == content[..];
    context.check(FailureKind::DataMismatch, "what the first server stored is right", same)?;
    let content = signed(4096, 4096, 2, context.seed);
    device.write_at(4096, &content)?;
    check_stored(context, "after the takeover", &memory, SIZE)?;
    drop(device);
    stop_served(context, server)?;
    Ok("quiesced, refused, taken over".into())
}

fn command(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    let rules = [
        "op=read,sectors=2048-2055,times=1,flip",
        "op=read,sectors=4096-4103,times=1,flip-metadata",
    ];
    let mut arguments =
        vec!["ram", "--size", "8M", "--integrity", "crc64", "--metadata-size", "32"];
    arguments.extend(["--reference-tag", "--tag-size", "2", "--queues", "2"]);
    arguments.extend(rules.iter().flat_map(|rule| ["--fault", rule]));
    let server = ServerProcess::start(context, &arguments)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let format = device.sysfs("integrity/format")?;
    let wanted = "EXT-DIF-TYPE1-CRC64".to_owned();
    context.check_eq(FailureKind::State, "integrity/format", &format, &wanted)?;
    for at in [0, 2048 * 512, 4096 * 512] {
        let content = signed(at, 4096, 1, context.seed);
        device.write_at(at, &content)?;
        let mut back = AlignedBuffer::zeroed(4096);
        if at != 0 {
            let errno = device.read_at(at, &mut back).err().and_then(|error| error.raw_os_error());
            let what = format_args!("the first read at {at}, which is spoiled");
            context.check_eq(FailureKind::Errno, what, &errno, &Some(Errno::EILSEQ as i32))?;
        }
        device.read_at(at, &mut back)?;
        let told = first_difference(at / 512, &back, &content);
        context.check(
            FailureKind::DataMismatch,
            format_args!("a read at {at} that is not: {told:?}"),
            told.is_none(),
        )?;
    }
    drop(device);
    server.stop(context)?;
    Ok("data and metadata spoiled once each, and found".into())
}
