//! Metadata beside the data, with the kernel as the judge of both: it computes checksums for what it writes and
//! compares them with what it reads. The server runs in the scenario's own process, which can therefore look at what
//! was stored, and change it behind the kernel's back.

use std::sync::Arc;

use nix::errno::Errno;
use rand::Rng;
use reports::event::FailureKind;
use ublk::params::{Checksum, IntegrityOptions};
use ublk::server::{Server, ServerBuilder};
use ublk::target::{IntegrityTarget, MetadataTarget, RamTarget};
use ublk::uapi::Features;

use super::{checksum, signed};
use crate::block::{AlignedBuffer, BlockDevice, sysfs_block};
use crate::context::{Context, During, Stop};
use crate::rig::{offered, served, stop_served};
use crate::scenario::Scenario;
use crate::signature::first_difference;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/integrity-checksums",
        title: "the kernel's checksums arrive with the data, are the right ones, and come back with it",
        covers: &["iod.INTEGRITY", "params.INTEGRITY"],
        run: checksums,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/integrity-corruption",
        title: "a changed byte of data, guard or reference tag, and a misplaced block, are EILSEQ",
        covers: &["iod.INTEGRITY"],
        run: corruption,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/integrity-opaque",
        title: "metadata without a checksum is kept, filled with zeroes by the kernel, and not judged",
        covers: &["iod.INTEGRITY"],
        run: opaque,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/integrity-switched-off",
        title: "requests come without metadata where the kernel is told not to make or check it",
        covers: &["iod.INTEGRITY"],
        run: switched_off,
        ..Scenario::SERVER
    },
];

pub(super) const SIZE: u64 = 8 << 20;
/// Where things are written, in bytes and of a block of any size.
const AT: u64 = 1 << 20;

pub(super) type Memory = MetadataTarget<RamTarget, RamTarget>;

pub(super) const CRC16: IntegrityOptions = IntegrityOptions {
    metadata_bytes: 8,
    interval_bytes: Some(512),
    checksum: Checksum::Crc16T10Dif,
    tuple_offset_bytes: 0,
    tag_bytes: 0,
    storage_checks: true,
    reference_tag: true,
    max_segments: 0,
};

const CRC64: IntegrityOptions = IntegrityOptions {
    metadata_bytes: 64,
    checksum: Checksum::Crc64Nvme,
    tuple_offset_bytes: 48,
    tag_bytes: 2,
    ..CRC16
};

/// The formats: what is asked for, the logical block, and what sysfs calls it.
const FORMATS: [(IntegrityOptions, u32, &str); 5] = [
    (CRC16, 512, "T10-DIF-TYPE1-CRC"),
    (CRC64, 512, "EXT-DIF-TYPE1-CRC64"),
    (
        IntegrityOptions { metadata_bytes: 16, checksum: Checksum::Ip, tag_bytes: 1, ..CRC16 },
        512,
        "T10-DIF-TYPE1-IP",
    ),
    (IntegrityOptions { interval_bytes: Some(4096), ..CRC16 }, 4096, "T10-DIF-TYPE1-CRC"),
    // Several intervals to a block, and no way for the storage to check them.
    (
        IntegrityOptions {
            storage_checks: false,
            metadata_bytes: 16,
            tuple_offset_bytes: 0,
            ..CRC64
        },
        4096,
        "EXT-DIF-TYPE1-CRC64",
    ),
];

/// Skips where the driver moves no metadata: it says so where the kernel was built without BLK_DEV_INTEGRITY, too.
pub(super) fn supported() -> Result<(), Stop> {
    offered(Features::INTEGRITY)
}

/// A disk with metadata, and both from behind.
pub(super) struct Disk {
    // First, for a disk that is open holds its server's end up.
    pub(super) device: BlockDevice,
    server: Server,
    pub(super) memory: Arc<Memory>,
    pub(super) options: IntegrityOptions,
}

impl Disk {
    pub(super) fn serve(
        context: &mut Context,
        options: IntegrityOptions,
        choose: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Result<Self, Stop> {
        let memory = Arc::new(Self::memory(options)?);
        let server = served(context, choose(Server::builder(Arc::clone(&memory)).no_socket()))?;
        let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
        Ok(Self { server, memory, device, options })
    }

    /// A ramdisk, and another for its metadata.
    pub(super) fn memory(options: IntegrityOptions) -> Result<Memory, Stop> {
        let ram = |bytes| RamTarget::new(bytes).during("make a ramdisk");
        let metadata = ram(options.metadata_len_bytes(SIZE))?;
        MetadataTarget::new(ram(SIZE)?, metadata, options).during("put metadata beside it")
    }

    fn sysfs(&self, file: &str) -> Result<String, Stop> {
        sysfs_block(&format!("ublkb{}", self.server.info().dev_id), file)
    }

    /// Switches what the kernel does by itself.
    fn switch(&self, file: &str, on: bool) -> Result<(), Stop> {
        let path = format!("/sys/block/ublkb{}/integrity/{file}", self.server.info().dev_id);
        std::fs::write(&path, if on { "1" } else { "0" }).during(format_args!("write {path}"))
    }

    fn interval(&self) -> u64 {
        u64::from(self.options.interval_bytes.unwrap_or(512))
    }

    /// The metadata that is stored for a range.
    pub(super) fn stored(&self, offset: u64, len: usize) -> Result<Vec<u8>, Stop> {
        let mut data = vec![0; len];
        let mut metadata = vec![0; self.options.metadata_len_bytes(len as u64) as usize];
        let read = self.memory.read_with_metadata(offset, &mut data, &mut metadata);
        read.during("look at what is stored")?;
        Ok(metadata)
    }

    /// Inverts a byte of the data, or one of the metadata, of the interval at `offset`; twice is not at all.
    fn invert(&self, offset: u64, data_byte: Option<usize>, byte: usize) -> Result<(), Stop> {
        let len = self.interval() as usize;
        let mut data = vec![0; len];
        let mut metadata = vec![0; usize::from(self.options.metadata_bytes)];
        self.memory.read_with_metadata(offset, &mut data, &mut metadata)?;
        match data_byte {
            Some(at) => data[at] = !data[at],
            None => metadata[byte] = !metadata[byte],
        }
        Ok(self.memory.write_with_metadata(offset, &data, &metadata, false)?)
    }

    fn read_errno(&self, offset: u64, len: usize) -> i32 {
        let mut buffer = AlignedBuffer::zeroed(len);
        let read = self.device.read_at(offset, &mut buffer);
        read.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
    }

    /// Reads a range and compares it.
    pub(super) fn check_data(
        &self,
        context: &mut Context,
        offset: u64,
        expected: &[u8],
    ) -> Result<(), Stop> {
        let mut back = AlignedBuffer::zeroed(expected.len());
        self.device.read_at(offset, &mut back)?;
        let told = first_difference(offset / 512, &back, expected);
        let what = format_args!("{} bytes at {offset} read back: {told:?}", expected.len());
        context.check(FailureKind::DataMismatch, what, told.is_none())
    }

    pub(super) fn stop(self, context: &mut Context) -> Result<(), Stop> {
        let counters = self.server.counters();
        let panics: u64 = counters.iter().map(|queue| queue.panics).sum();
        context.check_eq(FailureKind::State, "panics", &panics, &0)?;
        drop(self.device);
        stop_served(context, self.server)
    }
}

fn checksums(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    let mut intervals = 0;
    for (options, block_bytes, format) in FORMATS {
        context.step(format_args!("{format} in {} bytes", options.metadata_bytes));
        let disk = Disk::serve(context, options, |server| server.logical_block_bytes(block_bytes))?;
        for (file, expected) in [
            ("integrity/format", format.to_owned()),
            ("integrity/protection_interval_bytes", disk.interval().to_string()),
            ("integrity/tag_size", options.tag_bytes.to_string()),
            ("integrity/device_is_integrity_capable", u8::from(options.storage_checks).to_string()),
            ("integrity/read_verify", "1".to_owned()),
            ("integrity/write_generate", "1".to_owned()),
        ] {
            let observed = disk.sysfs(file)?;
            context.check_eq(
                FailureKind::State,
                format_args!("{format}: {file}"),
                &observed,
                &expected,
            )?;
        }
        // What nobody wrote has no checksum, and is no error.
        disk.check_data(context, SIZE / 2, &[0; 64 << 10])?;
        let mut rng = context.rng(format);
        let block = u64::from(block_bytes);
        for generation in 1..=20 {
            let len = rng.random_range(1..=(256 << 10) / block) * block;
            let offset = rng.random_range(0..=(SIZE - len) / block) * block;
            let content = signed(offset, len as usize, generation, context.seed);
            disk.device.write_at(offset, &content)?;
            let stored = disk.stored(offset, content.len())?;
            let (interval, bytes) = (disk.interval(), usize::from(options.metadata_bytes));
            for (number, data) in content.chunks(interval as usize).enumerate() {
                let expected =
                    checksum::metadata(&options, offset / interval + number as u64, data);
                let what = format_args!("{format}: metadata of interval {number} at {offset}");
                let observed = stored[number * bytes..][..bytes].to_vec();
                context.check_eq(FailureKind::DataMismatch, what, &observed, &expected)?;
                intervals += 1;
            }
            disk.check_data(context, offset, &content)?;
        }
        disk.stop(context)?;
    }
    Ok(format!("{intervals} intervals in {} formats have the checksums they should", FORMATS.len()))
}

/// Bytes of a tuple that the kernel judges: the guard, and the reference tag. The application's tag is not its own.
fn judged(options: &IntegrityOptions) -> [(&'static str, usize, i32); 4] {
    let start = usize::from(options.tuple_offset_bytes);
    let guard = if options.checksum == Checksum::Crc64Nvme { 8 } else { 2 };
    let end = start + usize::from(options.checksum.tuple_bytes());
    let wrong = Errno::EILSEQ as i32;
    [
        ("the guard's first byte", start, wrong),
        ("the guard's last byte", start + guard - 1, wrong),
        ("the application's tag", start + guard, 0),
        ("the reference tag's last byte", end - 1, wrong),
    ]
}

fn corruption(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    let mut found = 0;
    let errno = |context: &mut Context, disk: &Disk, what: &str, expected: i32| {
        let observed = disk.read_errno(AT, 16 << 10);
        let what = format!("{}: a read after {what}", disk.sysfs("integrity/format")?);
        context.check_result(what, -observed, -expected)
    };
    for (options, block_bytes, _) in FORMATS {
        let disk = Disk::serve(context, options, |server| server.logical_block_bytes(block_bytes))?;
        let content = signed(AT, 16 << 10, 1, context.seed);
        disk.device.write_at(AT, &content)?;
        let victim = AT + 8192;
        let mut try_one = |context: &mut Context, what: &str, data, byte, expected| {
            disk.invert(victim, data, byte)?;
            errno(context, &disk, what, expected)?;
            disk.invert(victim, data, byte)?;
            errno(context, &disk, &format!("{what} was put right"), 0)?;
            found += u32::from(expected != 0);
            Ok::<_, Stop>(())
        };
        let last = disk.interval() as usize - 1;
        try_one(context, "the data's first byte", Some(0), 0, Errno::EILSEQ as i32)?;
        try_one(context, "the data's last byte", Some(last), 0, Errno::EILSEQ as i32)?;
        for (what, byte, expected) in judged(&options) {
            try_one(context, what, None, byte, expected)?;
        }
        // A block that was written to the wrong place is right in itself: only its number gives it away.
        let len = disk.interval() as usize;
        let (mut data, mut metadata) = (vec![0; len], vec![0; usize::from(options.metadata_bytes)]);
        disk.memory.read_with_metadata(victim, &mut data, &mut metadata)?;
        disk.memory.write_with_metadata(AT, &data, &metadata, false)?;
        errno(context, &disk, "a misplaced write", Errno::EILSEQ as i32)?;
        found += 1;
        disk.device.write_at(AT, &content)?;
        disk.check_data(context, AT, &content)?;
        disk.stop(context)?;
    }
    Ok(format!("{found} corruptions found in {} formats", FORMATS.len()))
}

fn opaque(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    let options = IntegrityOptions {
        metadata_bytes: 24,
        interval_bytes: Some(512),
        ..IntegrityOptions::default()
    };
    let disk = Disk::serve(context, options, |server| server)?;
    let observed = disk.sysfs("integrity/format")?;
    context.check_eq(FailureKind::State, "integrity/format", &observed, &"nop".to_owned())?;
    let content = signed(AT, 32 << 10, 1, context.seed);
    // Any metadata will do for a read.
    let metadata: Vec<u8> = (0..64 * 24).map(|at| at as u8).collect();
    disk.memory.write_with_metadata(AT, &content, &metadata, false)?;
    disk.check_data(context, AT, &content)?;
    // A write that brings none of its own brings zeroes, and nothing that was in the kernel's memory before.
    let content = signed(AT, 4096, 2, context.seed);
    disk.device.write_at(AT, &content)?;
    disk.check_data(context, AT, &content)?;
    let stored = disk.stored(AT, 32 << 10)?;
    let (written, rest) = stored.split_at(8 * 24);
    context.check_eq(
        FailureKind::DataMismatch,
        "what a write brought",
        &written,
        &&[0; 8 * 24][..],
    )?;
    let kept = rest == &metadata[8 * 24..];
    context.check(FailureKind::DataMismatch, "the metadata beside it is as it was", kept)?;
    disk.stop(context)?;
    Ok("24 opaque bytes for each sector".into())
}

/// Where the metadata is nothing but the checksum, no request has any once the kernel neither makes nor checks it.
fn switched_off(context: &mut Context) -> Result<String, Stop> {
    supported()?;
    let disk = Disk::serve(context, CRC16, |server| server)?;
    let content = signed(AT, 16 << 10, 1, context.seed);
    disk.device.write_at(AT, &content)?;
    disk.invert(AT, Some(0), 0)?;
    let wrong = -(Errno::EILSEQ as i32);
    context.check_result(
        "a checked read of what was changed",
        -disk.read_errno(AT, 4096),
        wrong,
    )?;
    disk.switch("read_verify", false)?;
    let mut back = AlignedBuffer::zeroed(16 << 10);
    disk.device.read_at(AT, &mut back)?;
    let told = (back[0] == !content[0], back[1..] == content[1..]);
    context.check_eq(
        FailureKind::DataMismatch,
        "an unchecked read sees the change",
        &told,
        &(true, true),
    )?;
    disk.switch("read_verify", true)?;

    disk.switch("write_generate", false)?;
    let content = signed(AT, 4096, 2, context.seed);
    disk.device.write_at(AT, &content)?;
    let stored = disk.stored(AT, 4096)?;
    let what = "the metadata of a write without: none, and not that of the write before";
    context.check_eq(FailureKind::DataMismatch, what, &stored, &vec![0xff; 64])?;
    disk.check_data(context, AT, &content)?;
    disk.switch("write_generate", true)?;
    disk.device.write_at(AT, &content)?;
    let made = disk.stored(AT, 512)?;
    let expected = checksum::metadata(&CRC16, AT / 512, &content[..512]);
    context.check_eq(FailureKind::DataMismatch, "and of one with it", &made, &expected)?;
    disk.stop(context)?;
    Ok("reads and writes without metadata".into())
}
