//! What a generated workload would not ask clearly: sizes up to the limit, many readers, flushes, discards, and time in which
//! nothing happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reports::event::FailureKind;
use ublk::uapi::DevState;

use super::ability::Ability;
use super::input::ServerInput;
use super::served::Wish;
use super::subject::Subject;
use crate::block::{AlignedBuffer, BlockDevice, sysfs_block};
use crate::context::{Context, During, Stop};
use crate::probe;
use crate::recovery::kit::{self, SIZE_BYTES};
use crate::recovery::writers::Writers;
use crate::scenario::Scenario;
use crate::signature::{SECTOR_BYTES, first_difference};
use crate::usage;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "server/sizes-to-the-limit",
        title: "requests from one block to beyond the device's limit, at its begin, at odd places and at its end, are whole",
        covers: &["server.data", "S5", "R:4"],
        run: sizes,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/readers-beside-writers",
        title: "readers see only what was written, while others write elsewhere",
        covers: &["server.data", "S4"],
        run: readers,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/flush-and-fua",
        title: "what was flushed, or written with O_DSYNC, is in the file behind the device",
        covers: &["server.flush", "iod.FLUSH", "S6"],
        run: flush,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/discard",
        title: "a discard succeeds, and touches nothing beside its range",
        covers: &["server.discard", "iod.DISCARD", "R:9"],
        run: |context| ranges(context, Ability::Discard),
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/write-zeroes",
        title: "write zeroes clears exactly its range",
        covers: &["server.discard", "iod.WRITE_ZEROES", "R:9"],
        run: |context| ranges(context, Ability::WriteZeroes),
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/idle-keeps-data",
        title: "after a time without requests the bytes are the same and requests are served",
        covers: &["server.idle"],
        run: idle,
        ..Scenario::SERVER
    },
];

fn sizes(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input);
    let mut subject = Subject::start(context, &input, &wish)?;
    let number = |file: &str| -> Result<usize, Stop> {
        subject.device.sysfs(file)?.parse().during(format_args!("read {file}"))
    };
    let block = number("queue/logical_block_size")?;
    let limit = number("queue/max_hw_sectors_kb")? << 10;
    context.check(FailureKind::State, "a request may hold a block", limit >= block)?;
    let all = [block, block * 3, limit - block, limit, limit + block, limit * 2 + block * 5];
    let mut count = 0;
    for size in all.into_iter().filter(|size| *size > 0 && *size <= (SIZE_BYTES / 2) as usize) {
        let len = size as u64;
        for offset in [0, block as u64 * 7, SIZE_BYTES - len] {
            subject.write(context, offset, size)?;
            let mut back = AlignedBuffer::zeroed(size);
            let read = subject.device.read_at(offset, &mut back);
            let what = format!("{size} bytes at {offset} are read ({read:?})");
            context.check(FailureKind::Operation, what, read.is_ok())?;
            let mut expected = vec![0; size];
            subject.reference.read(offset, &mut expected)?;
            let told = first_difference(offset / SECTOR_BYTES as u64, &back, &expected);
            let what = format!("{size} bytes at {offset}: {told:?}");
            context.check(FailureKind::DataMismatch, what, told.is_none())?;
            count += 1;
        }
    }
    subject.check_file(context, "after all sizes")?;
    let md5 = subject.finish(context)?;
    Ok(format!("{count} requests up to twice the limit of {} KiB, MD5 {md5}", limit >> 10))
}

/// The upper half of the device does not change; writers own a part of the lower one.
fn readers(context: &mut Context) -> Result<String, Stop> {
    const READERS: usize = 4;
    const READS_EACH_MIN: u64 = 64;
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input).queues(2);
    let mut subject = Subject::start(context, &input, &wish)?;
    subject.fill(context)?;
    let writers = Writers::start(context, &subject.served.block_device())?;
    let (reads, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let wrong = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (subject, reads, stop) = (&subject, &reads, &stop);
                scope.spawn(move || read_upper_half(subject, number as u64, reads, stop))
            })
            .collect();
        let goal = READERS as u64 * READS_EACH_MIN;
        crate::block::wait_until(context.command_timeout(), || {
            reads.load(Ordering::Relaxed) >= goal || readers.iter().any(|one| one.is_finished())
        });
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().filter_map(|reader| reader.join().ok().flatten()).next()
    });
    let reads = reads.into_inner();
    let what = format!("{READERS} readers see what is there: {wrong:?}");
    context.check(FailureKind::DataMismatch, what, wrong.is_none())?;
    let goal = READERS as u64 * READS_EACH_MIN;
    let what = format!("{goal} reads end within {:?} ({reads} did)", context.command_timeout());
    context.check(FailureKind::Completion, what, reads >= goal)?;
    let acknowledged = writers.acknowledged();
    let errors = writers.finish(context, &subject.reference)?;
    let what = format!("no write fails ({errors:?})");
    context.check(FailureKind::Operation, what, errors.is_empty())?;
    let md5 = subject.finish(context)?;
    Ok(format!("{reads} reads beside {acknowledged} writes, MD5 {md5}"))
}

/// Reads blocks of the upper half again and again; what was wrong, if anything.
fn read_upper_half(
    subject: &Subject,
    number: u64,
    reads: &AtomicU64,
    stop: &AtomicBool,
) -> Option<String> {
    const LEN_BYTES: usize = 16 << 10;
    let (half, len) = (SIZE_BYTES / 2, LEN_BYTES as u64);
    let mut observed = AlignedBuffer::zeroed(LEN_BYTES);
    let mut expected = vec![0; LEN_BYTES];
    for turn in number.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let offset = half + (turn * 37 % (half / len)) * len;
        if let Err(error) = subject.device.read_at(offset, &mut observed) {
            return Some(format!("a read at {offset} fails: {error}"));
        }
        if let Err(stop) = subject.reference.read(offset, &mut expected) {
            return Some(stop.to_string());
        }
        let told = first_difference(offset / SECTOR_BYTES as u64, &observed, &expected);
        if told.is_some() {
            return told;
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
    None
}

fn flush(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    input.need(context, Ability::Flush)?;
    input.need_word(super::words::Word::File)?;
    let wish = Wish::usual(&input);
    let mut subject = Subject::start(context, &input, &wish)?;
    subject.fill(context)?;
    subject.check_file(context, "after a flush")?;
    let path = subject.served.block_device();
    subject.device = BlockDevice::open_durable(&path, context.command_timeout())?;
    for number in 0..8_u64 {
        subject.write(context, number * (3 << 16), 12 << 10)?;
        super::subject::check_file(
            context,
            &subject.backing,
            &subject.reference,
            "after a write with O_DSYNC",
        )?;
    }
    let fua = sysfs_block(&format!("ublkb{}", subject.served.id), "queue/fua")?;
    subject.finish(context)?;
    Ok(format!("8 MiB flushed, 8 writes forced (fua {fua})"))
}

fn ranges(context: &mut Context, ability: Ability) -> Result<String, Stop> {
    const TOOL: &str = "/sbin/blkdiscard";
    let input = ServerInput::read()?;
    input.need(context, ability)?;
    probe::program(TOOL)?;
    let wish = Wish::usual(&input);
    let mut subject = Subject::start(context, &input, &wish)?;
    subject.fill(context)?;
    let path = subject.served.block_device().display().to_string();
    let mut kept = 0;
    for (offset, len) in [(64_u64 << 10, 128_u64 << 10), (1 << 20, 64 << 10), (4 << 20, 1 << 20)] {
        let (offset_text, len_text) = (offset.to_string(), len.to_string());
        let mut arguments = vec!["-f", "-o", &offset_text, "-l", &len_text, &path];
        if ability == Ability::WriteZeroes {
            arguments.insert(0, "-z");
        }
        probe::run(context, TOOL, &arguments)?;
        let mut observed = AlignedBuffer::zeroed(usize::try_from(len).unwrap_or(0));
        subject.device.read_at(offset, &mut observed).during("read the range")?;
        let zeros = observed.iter().all(|byte| *byte == 0);
        if ability == Ability::WriteZeroes {
            let what = format!("{len} bytes at {offset} are zeros");
            context.check(FailureKind::DataMismatch, what, zeros)?;
        }
        // What a discarded range holds is the server's to say; that it is one thing or the other is not.
        let mut before = vec![0; observed.len()];
        subject.reference.read(offset, &mut before)?;
        let same = *observed == before[..];
        let what = format!("{len} bytes at {offset} are zeros or as before");
        context.check(FailureKind::DataMismatch, what, zeros || same)?;
        kept += u32::from(same);
        subject.reference.write(offset, &observed)?;
    }
    let md5 = subject.finish(context)?;
    Ok(format!("3 ranges, {kept} kept their bytes, MD5 {md5}"))
}

fn idle(context: &mut Context) -> Result<String, Stop> {
    const QUIET_PERIODS: u32 = 8;
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input).queues(2);
    let mut subject = Subject::start(context, &input, &wish)?;
    subject.fill(context)?;
    let pid = subject.served.info()?.ublksrv_pid;
    let before_ns = usage::cpu_ns(pid).during("read the server's CPU time")?;
    let period = context.quiet() * QUIET_PERIODS;
    std::thread::sleep(period);
    // A server that has left is its failure, and not this scenario's.
    kit::check_state(context, subject.served.id, DevState::Live)?;
    let spent_ns = usage::cpu_ns(pid).during("read it again")?.saturating_sub(before_ns);
    subject.check(context, "after a pause")?;
    subject.write(context, 4096, 8192)?;
    subject.check_file(context, "after the pause")?;
    let md5 = subject.finish(context)?;
    Ok(format!(
        "{} ms of CPU in {} ms of silence, MD5 {md5}",
        spent_ns / 1_000_000,
        period.as_millis()
    ))
}
