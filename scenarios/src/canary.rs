//! Five deliberate disasters. Each must be caught, or the run that missed one proves nothing.
//!
//! They are real: a real panic, a task that really hangs in the kernel, a real WARNING of the block
//! layer, a real page fault. A canary that only printed the right words would test the scanner and not
//! the way from the kernel to it.

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use reports::plan::Canary;

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::oracle::Reference;
use crate::probe;
use crate::process::ServerProcess;
use crate::scenario::{Family, Scenario};
use crate::signature::fill;

const CANARY: Scenario = Scenario { family: Family::Canary, ..Scenario::DRIVER };

/// The group. Those that cost the virtual machine come last.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "canary/corrupt-byte",
        title: "a server that flips one bit of one write is caught by the data oracle",
        covers: &["test-the-test"],
        canary: Some(Canary::CorruptByte),
        run: corrupt_byte,
        ..CANARY
    },
    Scenario {
        id: "canary/segfault",
        title: "a server that dies of a page fault is caught by the health check",
        covers: &["test-the-test"],
        canary: Some(Canary::Segfault),
        run: segfault,
        ..CANARY
    },
    Scenario {
        id: "canary/warn",
        title: "a WARNING of the kernel is caught by the health check, though the scenario passes",
        covers: &["test-the-test"],
        canary: Some(Canary::Warn),
        run: warn,
        ..CANARY
    },
    Scenario {
        id: "canary/hang",
        title: "a request that is never completed is caught by the watchdog, with stacks",
        covers: &["test-the-test"],
        canary: Some(Canary::Hang),
        budget: BudgetClass::HangCanary,
        run: hang,
        ..CANARY
    },
    Scenario {
        id: "canary/panic",
        title: "a kernel panic is caught by the host",
        covers: &["test-the-test"],
        canary: Some(Canary::Panic),
        run: panic,
        ..CANARY
    },
];

const SIZE_BYTES: u64 = 1 << 20;

fn corrupt_byte(context: &mut Context) -> Result<String, Stop> {
    let server = ServerProcess::mutant(context, "corrupt-byte")?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let reference = Reference::zeros("canary", SIZE_BYTES)?;
    for number in 0..8 {
        let mut buffer = AlignedBuffer::zeroed(8192);
        fill(&mut buffer, number * 16, number + 1, context.seed);
        device.write_at(number * 8192, &buffer)?;
        reference.write(number * 8192, &buffer)?;
    }
    let checked = reference.check_device(context, &device, "after eight writes");
    drop(device);
    let md5 = checked?;
    Ok(format!("the MD5 {md5} hides the flipped bit"))
}

fn segfault(context: &mut Context) -> Result<String, Stop> {
    let mut server = ServerProcess::mutant(context, "segfault")?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let written = device.write_at(0, &AlignedBuffer::zeroed(4096));
    drop(device);
    context.check(FailureKind::Completion, "the client gets an error", written.is_err())?;
    let status = server.wait(context.command_timeout())?;
    context.check(FailureKind::State, "the server did not exit", status.code().is_none())?;
    // The scenario passes: that the server died must be seen by somebody else.
    Ok(format!("the server ended with {status}"))
}

/// The block layer warns about a device whose largest request is smaller than a page; `null_blk` lets
/// anybody ask for one by a module parameter, on every kernel of the matrix.
fn warn(context: &mut Context) -> Result<String, Stop> {
    // The device is refused after the warning, so the load itself fails or not, as the series has it.
    if let Err(stop @ Stop::Skip { .. }) = probe::load_module("null_blk", "max_sectors=1") {
        return Err(stop);
    }
    context.check(FailureKind::State, "the block layer was asked", true)?;
    Ok("the scenario itself is content".into())
}

fn hang(context: &mut Context) -> Result<String, Stop> {
    let server = ServerProcess::mutant(context, "never-complete")?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let mut buffer = AlignedBuffer::zeroed(4096);
    context.step("a request that will never be completed");
    device.read_at(0, &mut buffer)?;
    // The first request may have been the partition scan's; then that one hangs and this one did not.
    context.step("the partition scan hangs instead");
    loop {
        std::thread::park();
    }
}

fn panic(context: &mut Context) -> Result<String, Stop> {
    context.step("sysrq c");
    std::fs::write("/proc/sys/kernel/sysrq", "1").during("enable sysrq")?;
    std::fs::write("/proc/sysrq-trigger", "c").during("panic")?;
    context.check(FailureKind::State, "the kernel panicked", false)?;
    Ok("survived a panic".into())
}
