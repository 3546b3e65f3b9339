//! Every ready target in every mode: each sector that is written carries where it belongs, and is found there.
//!
//! `data/scattered-*` and `modes/*` ask more of a few combinations; this asks the least of all of them that are left.

use rand::Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::Features;

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, Stop};
use crate::process::ServerProcess;
use crate::rig::offered;
use crate::scenario::Scenario;
use crate::signature::{SECTOR_BYTES, fill, first_difference};

/// A scenario of one mode: id, title, features it needs, options of `ublk add`, targets.
macro_rules! of_mode {
    ($id:literal, $title:literal, $needs:expr, $options:expr, $targets:expr) => {
        Scenario {
            id: $id,
            title: $title,
            covers: &["S4", "S13"],
            known_bug: |kernel| {
                let pages = $options.iter().any(|option| option.contains("zero-copy"));
                kernel.page_registration_bug().filter(|_| pages)
            },
            budget: BudgetClass::Long,
            run: |context| signatures(context, $needs, $options, $targets),
            ..Scenario::SERVER
        }
    };
}

pub(super) const SCENARIOS: &[Scenario] = &[
    of_mode!(
        "property/signatures-get-data",
        "targets that ask for each write's bytes have every sector where it was written",
        Features::NEED_GET_DATA,
        &["--mode", "get-data"],
        &["file", "stripe", "cow"]
    ),
    of_mode!(
        "property/signatures-user-copy",
        "targets with user copy have every sector where it was written",
        Features::USER_COPY,
        &["--mode", "user-copy"],
        &["stripe", "cow", "zoned"]
    ),
    of_mode!(
        "property/signatures-zero-copy",
        "targets with pages registered by hand have every sector where it was written",
        Features::SUPPORT_ZERO_COPY,
        &["--mode", "zero-copy"],
        &["stripe", "cow"]
    ),
    of_mode!(
        "property/signatures-auto-zero-copy",
        "targets with pages registered by the kernel have every sector where it was written",
        Features::AUTO_BUF_REG,
        &["--mode", "auto-zero-copy"],
        &["ram", "stripe", "cow"]
    ),
    of_mode!(
        "property/signatures-batch-copy",
        "targets with batched commands have every sector where it was written",
        Features::BATCH_IO,
        &["--batch"],
        &["stripe", "cow"]
    ),
    of_mode!(
        "property/signatures-batch-user-copy",
        "targets with batched commands and user copy have every sector where it was written",
        Features::BATCH_IO,
        &["--batch", "--mode", "user-copy"],
        &["file", "stripe", "cow", "zoned", "integrity"]
    ),
    of_mode!(
        "property/signatures-batch-zero-copy",
        "targets with batched commands and registered pages have every sector where it was written",
        Features::BATCH_IO,
        &["--batch", "--mode", "zero-copy"],
        &["ram", "stripe", "cow"]
    ),
    of_mode!(
        "property/signatures-batch-auto-zero-copy",
        "targets with batched commands and automatic registration have every sector where it was written",
        Features::BATCH_IO,
        &["--batch", "--mode", "auto-zero-copy"],
        &["ram", "stripe", "cow"]
    ),
];

const SIZE: &str = "8M";
const SIZE_BYTES: u64 = 8 << 20;
/// Where writing begins: a zone's first sector, for that is where it has to begin there.
const FIRST: u64 = 1 << 20;
/// Lengths of the writes, in sectors: they end and begin within pages and chunks, and are no larger than a zone together.
const WRITES: [usize; 9] = [1, 8, 17, 128, 3, 256, 129, 64, 500];

/// Arguments of `ublk add` for a target, on files that are made anew.
fn arguments(target: &str) -> Result<Vec<String>, Stop> {
    let fresh = |name: &str| {
        let path = format!("/tmp/signatures-{name}");
        let _ = std::fs::remove_file(&path);
        path
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    Ok(match target {
        "file" => words(&["file", "--size", SIZE, "--path", &fresh("file")]),
        "stripe" => words(&[
            "stripe",
            "--size",
            SIZE,
            "--chunk-size",
            "16K",
            "--path",
            &fresh("one"),
            "--path",
            &fresh("two"),
        ]),
        "cow" => {
            let (base, overlay) = (fresh("base"), fresh("overlay"));
            std::fs::File::create(&base)?.set_len(SIZE_BYTES)?;
            words(&["cow", "--base", &base, "--overlay", &overlay])
        }
        "zoned" => words(&["zoned", "--size", SIZE, "--zone-size", "1M"]),
        "integrity" => words(&["ram", "--size", SIZE, "--integrity", "crc64"]),
        other => words(&[other, "--size", SIZE]),
    })
}

fn signatures(
    context: &mut Context,
    needs: Features,
    options: &[&str],
    targets: &[&str],
) -> Result<String, Stop> {
    offered(needs)?;
    for target in targets {
        let all = arguments(target)?;
        let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
        // What has metadata or zones is served by user copy, whatever else is asked for.
        all.extend(["--queues", "2", "--depth", "8", "--block-size", "512"]);
        all.extend(options);
        one(context, target, &all)?;
    }
    Ok(format!("{} with {}", targets.join(", "), options.join(" ")))
}

/// Writes one end to end with the next, over some of it again where that is allowed, and reads in other pieces.
fn one(context: &mut Context, target: &str, arguments: &[&str]) -> Result<(), Stop> {
    let server = ServerProcess::start(context, arguments)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let mut rng = context.rng(&arguments.concat());
    let total: usize = WRITES.iter().sum::<usize>() * SECTOR_BYTES;
    let mut holds = vec![0; total];
    let (mut at, mut written) = (0, 0);
    let mut put = |generation: u64, at: usize, len: usize, holds: &mut Vec<u8>| {
        let mut content = AlignedBuffer::zeroed(len);
        fill(&mut content, (FIRST + at as u64) / 512, generation, context.seed);
        device.write_at(FIRST + at as u64, &content)?;
        holds[at..at + len].copy_from_slice(&content);
        written += len as u64;
        Ok::<_, std::io::Error>(())
    };
    for (generation, sectors) in (1..).zip(WRITES) {
        put(generation, at, sectors * SECTOR_BYTES, &mut holds)?;
        at += sectors * SECTOR_BYTES;
    }
    if target != "zoned" {
        for generation in 100..106 {
            let sectors = rng.random_range(1..=200);
            let at = rng.random_range(0..=total / SECTOR_BYTES - sectors) * SECTOR_BYTES;
            put(generation, at, sectors * SECTOR_BYTES, &mut holds)?;
        }
    }
    device.flush()?;
    let mut at = 0;
    while at < total {
        let len = (rng.random_range(1..=300) * SECTOR_BYTES).min(total - at);
        let mut back = AlignedBuffer::zeroed(len);
        device.read_at(FIRST + at as u64, &mut back)?;
        let told = first_difference((FIRST + at as u64) / 512, &back, &holds[at..at + len]);
        let what = format!("{}: {len} bytes at {at}: {told:?}", arguments.join(" "));
        context.check(FailureKind::DataMismatch, what, told.is_none())?;
        at += len;
    }
    let counters = server.counters()?;
    let what = format!("bytes that went through {}", arguments.join(" "));
    context.check_eq(FailureKind::State, what, &counters.bytes_written, &written)?;
    drop(device);
    server.stop(context)
}
