//! Each fault of a request's data or result is seen by the client as what it is, and by nobody whom its
//! rule does not name.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use reports::event::FailureKind;

use super::signed;
use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, Stop};
use crate::process::ServerProcess;
use crate::scenario::Scenario;
use crate::signature::first_difference;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/fault-error",
        title: "an injected errno is the client's errno, for its operation and sectors only",
        covers: &["S12", "commit.result"],
        run: error,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/fault-flip",
        title: "a flipped byte is one wrong byte, once on a read and for good on a write",
        covers: &["S4"],
        run: flip,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/fault-short",
        title: "the kernel asks for the rest of a short read, and believes a short write",
        covers: &["commit.short"],
        run: short,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/fault-delay",
        title: "a delay lasts as long as it says",
        covers: &["S12"],
        run: delay,
        ..Scenario::SERVER
    },
];

pub(super) const BLOCK: usize = 4096;

/// A ramdisk of 4 MiB with one queue and these rules, written full of generation 1 before them: a rule's
/// `after` would otherwise have to count these writes.
pub(super) fn faulty(
    context: &mut Context,
    rules: &[&str],
) -> Result<(ServerProcess, BlockDevice), Stop> {
    let mut arguments = vec!["ram", "--size", "4M", "--depth", "8"];
    for rule in rules {
        arguments.extend(["--fault", rule]);
    }
    let server = ServerProcess::start(context, &arguments)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    Ok((server, device))
}

pub(super) fn read(
    device: &BlockDevice,
    offset_bytes: u64,
    len_bytes: usize,
) -> std::io::Result<AlignedBuffer> {
    let mut buffer = AlignedBuffer::zeroed(len_bytes);
    device.read_at(offset_bytes, &mut buffer)?;
    Ok(buffer)
}

pub(super) fn errno_of<T>(result: std::io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

fn error(context: &mut Context) -> Result<String, Stop> {
    // Behind the first MiB, which a partition scan looks at.
    let (server, device) = faulty(
        context,
        &[
            "op=read,sectors=4096-4103,error=EIO",
            "op=write,sectors=4104-4111,error=ENOSPC",
            "op=read,sectors=4112-4119,error=ENODATA",
            "op=read,sectors=4120-4127,probability=0,error=EIO",
        ],
    )?;
    let before = server.counters()?;
    let at = |sector: u64| sector * 512;
    let content = signed(at(4096), BLOCK, 1, context.seed);
    for (what, observed, expected) in [
        ("read of sector 4096", errno_of(read(&device, at(4096), BLOCK)), Errno::EIO as i32),
        ("write there", errno_of(device.write_at(at(4096), &content)), 0),
        ("write of 4104", errno_of(device.write_at(at(4104), &content)), Errno::ENOSPC as i32),
        ("read there", errno_of(read(&device, at(4104), BLOCK)), 0),
        ("read of 4112", errno_of(read(&device, at(4112), BLOCK)), Errno::ENODATA as i32),
        (
            "read of the last sector of a range",
            errno_of(read(&device, at(4119), 512)),
            Errno::ENODATA as i32,
        ),
        ("read with probability 0", errno_of(read(&device, at(4120), BLOCK)), 0),
        ("read that touches a range", errno_of(read(&device, at(4092), BLOCK)), Errno::EIO as i32),
        ("read before it", errno_of(read(&device, at(4088), BLOCK)), 0),
    ] {
        context.check_result(what, -observed, -expected)?;
    }
    let errors = server.counters()?.errors - before.errors;
    context.check_eq(FailureKind::State, "errors the server counted", &errors, &5)?;
    drop(device);
    server.stop(context)?;
    Ok("EIO, ENOSPC and ENODATA, each where its rule says".into())
}

fn flip(context: &mut Context) -> Result<String, Stop> {
    let (server, device) = faulty(
        context,
        &[
            "op=read,sectors=4096-4103,times=1,flip",
            "op=write,sectors=6144-6151,times=1,seed=5,flip",
        ],
    )?;
    let seed = context.seed;
    let content = |offset| signed(offset, BLOCK, 1, seed);
    let (on_read, on_write) = (4096 * 512, 6144 * 512);
    device.write_at(on_read, &content(on_read))?;
    device.write_at(on_write, &content(on_write))?;
    for (what, offset, expected) in [
        ("the first read", on_read, 1),
        ("the second read", on_read, 0),
        ("what was spoiled on its way in", on_write, 1),
        ("which stays so", on_write, 1),
    ] {
        let (observed, written) = (read(&device, offset, BLOCK)?, content(offset));
        let wrong = observed.iter().zip(written.iter()).filter(|(a, b)| a != b).count();
        context.check_eq(
            FailureKind::DataMismatch,
            format_args!("wrong bytes of {what}"),
            &wrong,
            &expected,
        )?;
    }
    drop(device);
    server.stop(context)?;
    Ok("one byte each, and only where and as often as the rules say".into())
}

fn short(context: &mut Context) -> Result<String, Stop> {
    let (server, device) = faulty(
        context,
        &["op=read,sectors=4096-4223,short=8192", "op=write,sectors=6144-6151,short=1024"],
    )?;
    let (offset, len) = (4096 * 512, 64 << 10);
    let content = signed(offset, len, 1, context.seed);
    device.write_at(offset, &content)?;
    let before = server.counters()?;
    let observed = read(&device, offset, len)?;
    let told = first_difference(4096, &observed, &content);
    context.check(
        FailureKind::DataMismatch,
        format_args!("all of a read that is answered in parts arrives: {told:?}"),
        told.is_none(),
    )?;
    let after = server.counters()?;
    context.check_eq(
        FailureKind::State,
        "requests that one read of 64 KiB became, in parts of 8 KiB",
        &(after.reads - before.reads),
        &8,
    )?;
    let written = signed(6144 * 512, BLOCK, 1, context.seed);
    device.write_at(6144 * 512, &written)?;
    let mut expected = written.to_vec();
    expected[1024..].fill(0);
    let told = first_difference(6144, &read(&device, 6144 * 512, BLOCK)?, &expected);
    context.check(
        FailureKind::DataMismatch,
        format_args!("of a short write only the beginning is there: {told:?}"),
        told.is_none(),
    )?;
    drop(device);
    server.stop(context)?;
    Ok("one read became 8 requests; a write of 4096 bytes kept 1024 and succeeded".into())
}

fn delay(context: &mut Context) -> Result<String, Stop> {
    const DELAY: Duration = Duration::from_millis(400);
    let (server, device) = faulty(context, &["op=read,sectors=4096-4103,delay=400ms"])?;
    let timed = |sector: u64| -> Result<Duration, Stop> {
        let begin = Instant::now();
        read(&device, sector * 512, BLOCK)?;
        Ok(begin.elapsed())
    };
    let usual = timed(6144)?;
    let delayed = timed(4096)?;
    context.check(
        FailureKind::Completion,
        format_args!("a delayed read takes at least {DELAY:?} ({delayed:?})"),
        delayed >= DELAY,
    )?;
    context.check(
        FailureKind::Completion,
        format_args!("another read does not ({usual:?})"),
        usual < DELAY,
    )?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{delayed:?} instead of {usual:?}"))
}
