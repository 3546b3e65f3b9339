//! Requests that overlap in place and in time: is every sector what some order of them would make it?
//!
//! A block device promises nothing about two requests that overlap, but for each logical block: it holds one of the writes, and
//! once a read has seen one, no later read sees what was there before.

mod clients;
mod register;

use std::fmt::Write as _;

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::Features;

use self::clients::{FIRST_SECTOR, History};
use self::register::{Contradiction, Operation, check};
use crate::block::BlockDevice;
use crate::context::{Context, Stop};
use crate::process::ServerProcess;
use crate::rig::offered;
use crate::scenario::Scenario;

/// A disk under test.
#[derive(Clone, Copy, Debug)]
struct Setup {
    needs: Features,
    /// Arguments of `ublk add`.
    arguments: &'static [&'static str],
    /// Whether a sector may be read in the middle of a write: a file in the page cache is not read and written under one lock.
    tears: bool,
}

/// A scenario: id, title, features it needs, whether sectors may tear, arguments of `ublk add`.
macro_rules! linear {
    ($id:literal, $title:literal, $needs:expr, $tears:literal, $arguments:expr) => {
        Scenario {
            id: $id,
            title: $title,
            covers: &["S4", "linearizability"],
            known_bug: |kernel| {
                let pages = $needs.intersects(Features::SUPPORT_ZERO_COPY | Features::AUTO_BUF_REG);
                kernel.page_registration_bug().filter(|_| pages)
            },
            budget: BudgetClass::Normal,
            run: |context| {
                linear(context, Setup { needs: $needs, arguments: $arguments, tears: $tears })
            },
            ..Scenario::SERVER
        }
    };
}

pub(super) const SCENARIOS: &[Scenario] = &[
    linear!(
        "property/linear-ram-copy",
        "overlapping requests on a ramdisk with four queues leave each sector as some order of them would",
        Features::empty(),
        false,
        &["ram", "--queues", "4"]
    ),
    linear!(
        "property/linear-ram-get-data",
        "so do those on a ramdisk that asks for each write's bytes",
        Features::NEED_GET_DATA,
        false,
        &["ram", "--queues", "4", "--mode", "get-data"]
    ),
    linear!(
        "property/linear-ram-user-copy",
        "so do those on a ramdisk with user copy",
        Features::USER_COPY,
        false,
        &["ram", "--queues", "4", "--mode", "user-copy"]
    ),
    linear!(
        "property/linear-ram-batch",
        "so do those on a ramdisk with batched commands",
        Features::BATCH_IO,
        false,
        &["ram", "--queues", "4", "--batch"]
    ),
    linear!(
        "property/linear-file-zero-copy",
        "so do those on a file target with pages registered by hand",
        Features::SUPPORT_ZERO_COPY,
        true,
        &["file", "--path", "/tmp/linear", "--queues", "4", "--mode", "zero-copy"]
    ),
    linear!(
        "property/linear-file-auto",
        "so do those on a file target with pages registered by the kernel",
        Features::AUTO_BUF_REG,
        true,
        &["file", "--path", "/tmp/linear", "--queues", "4", "--mode", "auto-zero-copy"]
    ),
    linear!(
        "property/linear-cow",
        "so do those on an overlay, whose clusters are copied at their first write",
        Features::empty(),
        true,
        &["cow", "--base", "/tmp/linear", "--overlay", "/tmp/linear-overlay", "--queues", "4"]
    ),
];

const SIZE_BYTES: u64 = 4 << 20;

fn linear(context: &mut Context, setup: Setup) -> Result<String, Stop> {
    offered(setup.needs)?;
    for path in ["/tmp/linear", "/tmp/linear-overlay"] {
        let _ = std::fs::remove_file(path);
    }
    let size = SIZE_BYTES.to_string();
    let mut arguments = setup.arguments.to_vec();
    if arguments[0] == "cow" {
        std::fs::File::create("/tmp/linear")?.set_len(SIZE_BYTES)?;
    } else {
        arguments.extend(["--size", &size]);
    }
    arguments.extend(["--depth", "8", "--block-size", "512"]);
    let server = ServerProcess::start(context, &arguments)?;
    let disk = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let history = clients::run(context, disk.file(), &setup.arguments.concat())?;
    judge(context, &history, setup.tears)?;
    drop(disk);
    server.stop(context)?;
    let operations: usize = history.sectors.iter().map(Vec::len).sum();
    let History { torn, requests, .. } = history;
    Ok(format!("{requests} requests, {operations} sectors of them, {torn} torn"))
}

/// Asks of each sector whether it was a register.
fn judge(context: &mut Context, history: &History, tears: bool) -> Result<(), Stop> {
    let what = format!("{} sectors were part one write's and part another's", history.torn);
    context.check(FailureKind::DataMismatch, what, tears || history.torn == 0)?;
    let what = "sectors that belong elsewhere";
    context.check_eq(FailureKind::DataMismatch, what, &history.foreign, &0)?;
    for (sector, operations) in (FIRST_SECTOR..).zip(&history.sectors) {
        let seen = check(operations);
        if let Err(contradiction) = seen {
            context.evidence("contradiction", &tell(sector, operations, contradiction));
        }
        let what = format!("{} operations on sector {sector}", operations.len());
        context.check_eq(FailureKind::DataMismatch, what, &seen, &Ok(()))?;
    }
    Ok(())
}

/// The operations on the values that contradict each other, and no others: without those it would still be one.
fn tell(sector: u64, operations: &[Operation], contradiction: Contradiction) -> String {
    let values = match contradiction {
        Contradiction::Unwritten(value) | Contradiction::Early(value) => [value, value],
        Contradiction::Both(a, b) | Contradiction::Never(a, b) => [a, b],
    };
    let mut of: Vec<_> = operations.iter().filter(|o| values.contains(&o.value)).collect();
    of.sort_by_key(|operation| operation.begin);
    let mut text = format!("sector {sector}: {contradiction:?}; 0 is what was there at first\n");
    for Operation { begin, end, value, write } in of {
        let verb = if *write { "write" } else { "read" };
        let _ = writeln!(text, "{begin:>12} to {end:>12} ns: {verb} {value}");
    }
    text
}
