//! Options of a device that are neither parameters nor ways to move data: the size of descriptors, the partition scan,
//! the safe stop, the word a server leaves, the un-encoded opcodes.

use std::sync::Arc;
use std::time::Duration;

use reports::event::FailureKind;
use ublk::server::{Server, ServerBuilder};
use ublk::target::{RamTarget, Target};
use ublk::uapi::{CtrlOp, Features, IO_RES_ABORT, IO_RES_OK, IoCmdOp};

use crate::block::{AlignedBuffer, BlockDevice, nodes, wait_until};
use crate::context::{Context, During, Stop};
use crate::probe;
use crate::rig::{
    EBUSY, EINVAL, ENODEV, EOPNOTSUPP, Fetcher, RawControl, RawServer, Rig, offered, served,
    stop_served,
};
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/io-desc-size",
        title: "descriptors of 32 to 256 bytes are mapped at their own stride and served on every queue",
        covers: &["add.iod.small", "add.iod.align", "add.iod.max", "UBLK_F_IO_DESC_SIZE"],
        run: io_desc_size,
        ..Scenario::SERVER
    },
    Scenario {
        id: "abi/no-auto-part-scan",
        title: "a partition table is read at the start, and with NO_AUTO_PART_SCAN it is not",
        covers: &["UBLK_F_NO_AUTO_PART_SCAN"],
        run: no_part_scan,
        ..Scenario::SERVER
    },
    Scenario {
        id: "abi/safe-stop",
        title: "TRY_STOP_DEV refuses a device that is open, and stops one that is not",
        covers: &["trystop.nodisk", "trystop.openers", "UBLK_F_SAFE_STOP_DEV"],
        run: safe_stop,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/server-flags-round-trip",
        title: "the word a server leaves with its device is there for whoever asks",
        covers: &["ublksrv_flags"],
        run: server_flags,
        ..Scenario::SERVER
    },
    Scenario {
        id: "abi/legacy-io-opcodes",
        title: "a server on un-encoded FETCH and COMMIT opcodes serves where the kernel keeps them",
        covers: &["io.type.legacy_off", "myth h", "UBLK_F_CMD_IOCTL_ENCODE"],
        run: legacy_io,
        ..Scenario::DRIVER
    },
];

const SIZE_BYTES: u64 = 8 << 20;
/// Knows BLKRRPART.
const BUSYBOX: &str = "/bin/busybox";

fn ramdisk() -> Result<RamTarget, Stop> {
    RamTarget::new(SIZE_BYTES).during("make a ramdisk")
}

fn builder(target: impl Target + 'static) -> ServerBuilder {
    Server::builder(target).no_socket()
}

fn io_desc_size(context: &mut Context) -> Result<String, Stop> {
    offered(Features::IO_DESC_SIZE)?;
    let sizes = [24, 32, 64, 136, 256];
    for bytes in sizes {
        let builder = builder(ramdisk()?).queues(2).depth(48).io_desc_size_bytes(bytes);
        let server = served(context, builder)?;
        let info = *server.info();
        let told = info.io_desc_stride_bytes();
        context.check_eq(FailureKind::State, "io_desc_size of the device", &told, &bytes)?;
        let path = server.block_device_path();
        let checked = every_queue_keeps(context, &path, info.nr_hw_queues, bytes);
        stop_served(context, server)?;
        checked?;
    }
    for bytes in [16, 20, 28, 264] {
        let refused = builder(ramdisk()?).io_desc_size_bytes(bytes).start();
        let error = refused.map(drop).map_err(|error| error.to_string());
        context.check(
            FailureKind::Operation,
            format_args!("{bytes} bytes are refused before ADD_DEV: {error:?}"),
            error.as_ref().is_err_and(|error| error.contains("multiple of 8 from 24 to 256")),
        )?;
        let raw = Rig::add_with(context, 1, 2, Features::IO_DESC_SIZE, |info| {
            info.io_desc_size = bytes;
        });
        let refused = matches!(&raw, Err(Stop::Fail { message, .. }) if message.contains("EINVAL"));
        let what = format!("ADD_DEV refuses {bytes} bytes with EINVAL: {:?}", raw.err());
        context.check(FailureKind::Errno, what, refused)?;
    }
    Ok(format!("strides of {sizes:?} bytes on two queues"))
}

/// Writes and reads from every CPU, so that every queue's descriptors are used.
fn every_queue_keeps(
    context: &mut Context,
    path: &std::path::Path,
    queues: u16,
    stride: u16,
) -> Result<(), Stop> {
    let device = BlockDevice::open(path, context.command_timeout())?;
    let cpus = reports::environment::cpus();
    for cpu in 0..cpus {
        let mut set = nix::sched::CpuSet::new();
        set.set(cpu).during("choose a CPU")?;
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).during("move")?;
        for request in 0..8_u64 {
            let at = (cpu as u64 * 8 + request) * 8192;
            let mut content = AlignedBuffer::zeroed(8192);
            fill(&mut content, at / 512, u64::from(stride), context.seed);
            device.write_at(at, &content)?;
            let mut back = AlignedBuffer::zeroed(8192);
            device.read_at(at, &mut back)?;
            let told = first_difference(at / 512, &back, &content);
            context.check(
                FailureKind::DataMismatch,
                format_args!(
                    "8192 bytes from CPU {cpu}, stride {stride}, {queues} queues: {told:?}"
                ),
                told.is_none(),
            )?;
        }
    }
    let mut all = nix::sched::CpuSet::new();
    for cpu in 0..cpus {
        all.set(cpu).during("choose every CPU")?;
    }
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &all).during("move back")
}

/// A ramdisk with one partition of 4 MiB at 1 MiB.
fn partitioned() -> Result<RamTarget, Stop> {
    let target = ramdisk()?;
    let mut table = [0; 512];
    // An entry: not bootable, type 0x83, first sector, sectors. The CHS fields are for older times.
    table[446 + 4] = 0x83;
    table[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    table[446 + 12..446 + 16].copy_from_slice(&8192_u32.to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    target.write(0, &table, false).during("write the partition table")?;
    Ok(target)
}

fn no_part_scan(context: &mut Context) -> Result<String, Stop> {
    let partition_of = |server: &Server| {
        let name = format!("ublkb{}", server.info().dev_id);
        std::path::PathBuf::from(format!("/sys/block/{name}/{name}p1"))
    };
    let server = served(context, builder(partitioned()?))?;
    let partition = partition_of(&server);
    let found = wait_until(context.command_timeout(), || partition.exists());
    let reads = reads_of(&server);
    stop_served(context, server)?;
    context.check(FailureKind::State, "the partition is found without the flag", found)?;
    context.check(
        FailureKind::State,
        format_args!("the table was read ({reads} reads)"),
        reads > 0,
    )?;
    offered(Features::NO_AUTO_PART_SCAN)?;
    probe::program(BUSYBOX)?;
    let server = served(context, builder(partitioned()?).features(Features::NO_AUTO_PART_SCAN))?;
    let partition = partition_of(&server);
    std::thread::sleep(context.quiet());
    let (found, reads) = (partition.exists(), reads_of(&server));
    // The table is there: whoever wants it asks.
    let path = server.block_device_path().display().to_string();
    let asked = probe::run(context, BUSYBOX, &["blockdev", "--rereadpt", &path]);
    let later = wait_until(context.command_timeout(), || partition.exists());
    stop_served(context, server)?;
    asked?;
    context.check(FailureKind::State, "no partition with the flag", !found)?;
    context.check_eq(FailureKind::State, "reads with the flag", &reads, &0)?;
    context.check(FailureKind::State, "BLKRRPART finds it", later)?;
    Ok("scanned, not scanned, scanned on demand".into())
}

fn reads_of(server: &Server) -> u64 {
    server.counters().iter().map(|queue| queue.reads).sum()
}

fn safe_stop(context: &mut Context) -> Result<String, Stop> {
    offered(Features::SAFE_STOP_DEV)?;
    let mut rig = Rig::ready(context, 1, 4)?;
    let id = rig.id;
    let mut client = RawControl::open()?;
    let try_stop = CtrlOp::TryStopDev.encoded();
    let early = client.command(context, try_stop, id, 0)?;
    context.check_result("TRY_STOP_DEV before START_DEV", early, -ENODEV)?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    rig.start(context)?;
    let flags = rig.info.flags;
    let forced = flags.contains(Features::SAFE_STOP_DEV);
    context.check(FailureKind::State, format_args!("{flags} has SAFE_STOP_DEV unasked"), forced)?;
    rig.check_round_trip(context)?;
    let held = std::fs::File::open(nodes(id).1)?;
    let busy = client.command(context, try_stop, id, 0)?;
    context.check_result("TRY_STOP_DEV of an open device", busy, -EBUSY)?;
    rig.check_round_trip(context)?;
    drop(held);
    // udev or the partition scan may still look at it.
    let stopped = wait_until(context.command_timeout(), || rig.control().try_stop_dev(id).is_ok());
    context.check(FailureKind::Operation, "TRY_STOP_DEV of a closed device", stopped)?;
    let gone = wait_until(context.command_timeout(), || !nodes(id).1.exists());
    context.check(FailureKind::State, "the disk is gone", gone)?;
    server.end(context)?;
    rig.delete(context)?;
    Ok("ENODEV, EBUSY, and stopped".into())
}

fn server_flags(context: &mut Context) -> Result<String, Stop> {
    const WORD: u64 = 0xfeed_f00d_0000_0007;
    let server = served(context, builder(ramdisk()?).server_flags(WORD))?;
    let id = server.info().dev_id;
    let mut control = ublk::ctrl::Control::open().during("open the control device")?;
    let seen = control.get_dev_info2(id).map(|info| info.ublksrv_flags);
    stop_served(context, server)?;
    context.check_eq(FailureKind::State, "ublksrv_flags", &seen?, &WORD)?;
    Ok(format!("{WORD:#x}"))
}

fn legacy_io(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 2)?;
    let flags = rig.info.flags;
    let told = flags.contains(Features::CMD_IOCTL_ENCODE);
    context.check(FailureKind::State, format_args!("{flags} has CMD_IOCTL_ENCODE"), told)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    let raw = |op: IoCmdOp| op.raw().ok_or_else(|| Stop::error("no un-encoded opcode"));
    for tag in 0..2 {
        fetcher.command(raw(IoCmdOp::FetchReq)?, 0, tag, 0, true)?;
    }
    let early = fetcher.wait(1, context.quiet())?;
    if early.iter().any(|completion| completion.res == -EOPNOTSUPP) {
        drop(fetcher);
        drop(file);
        rig.delete(context)?;
        let answer = "EOPNOTSUPP: compiled without legacy opcodes";
        return Err(Stop::skip("un-encoded FETCH_REQ", answer));
    }
    context.check(FailureKind::Completion, format_args!("armed: {early:?}"), early.is_empty())?;
    let pending = rig.start_begin()?;
    let commit = raw(IoCmdOp::CommitAndFetchReq)?;
    let (mut served, mut started) = (0, false);
    let deadline = std::time::Instant::now() + context.command_timeout();
    let mut quiet_rounds = 0;
    // Serves by hand: zeroes are what an empty disk holds, so every read may be committed as it is.
    while quiet_rounds < 3 && std::time::Instant::now() < deadline {
        started = started || rig.control().poll(&pending)?.is_some();
        let completions = fetcher.wait(1, Duration::from_millis(20))?;
        quiet_rounds = if completions.is_empty() && started { quiet_rounds + 1 } else { 0 };
        for completion in completions {
            context.check_result("a request", completion.res, IO_RES_OK)?;
            let tag = u16::try_from(completion.user_data & 0xffff).during("read a tag")?;
            let bytes = fetcher.request_bytes(tag);
            fetcher.command(commit, 0, tag, bytes, true)?;
            served += 1;
        }
    }
    context.check(FailureKind::Completion, "START_DEV with un-encoded FETCHes", started)?;
    context.check(FailureKind::Completion, "the partition scan was served", served > 0)?;
    rig.stop()?;
    let aborted = fetcher.wait(2, context.command_timeout())?;
    for completion in &aborted {
        context.check_result("an armed tag after STOP_DEV", completion.res, IO_RES_ABORT)?;
    }
    let wrong = fetcher_get_data(&mut fetcher, context)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(format!("{served} requests by opcodes 0x20 and 0x21; 0x22 answered {wrong}"))
}

/// The third un-encoded opcode, on a device without NEED_GET_DATA.
fn fetcher_get_data(fetcher: &mut Fetcher, context: &mut Context) -> Result<i32, Stop> {
    let raw = IoCmdOp::NeedGetData.raw().unwrap_or_default();
    fetcher.command(raw, 0, 0, 0, true)?;
    let refused = fetcher.only_completion(context, "un-encoded NEED_GET_DATA")?;
    let known = [-EINVAL, -EBUSY, -ENODEV].contains(&refused.res);
    context.check(
        FailureKind::Errno,
        format_args!("NEED_GET_DATA is refused: {refused:?}"),
        known,
    )?;
    Ok(refused.res)
}
