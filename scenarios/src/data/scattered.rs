//! Generated scattered reads, writes and flushes against a served device, compared by MD5 and by sector.
//!
//! A failing case is shrunk inside the same boot, each candidate on a fresh server and a fresh
//! reference, and the smallest one is kept as evidence together with the seed.

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rand::RngCore;
use reports::budget::BudgetClass;
use reports::event::FailureKind;

use super::waves;
use crate::block::BlockDevice;
use crate::context::{Context, Stop};
use crate::oracle::Reference;
use crate::process::{Counters, ServerProcess};
use crate::scenario::Scenario;
use crate::signature::SECTOR_BYTES;
use crate::workload::{Case, Shape, cases};

const DEVICE_BYTES: u64 = 16 << 20;
const CASES: u32 = 4;
/// Cases where options or a target of targets choose another way for the bytes: there are two dozen.
const CASES_OF_A_MODE: u32 = 2;
const SHRINK_STEPS_MAX: u32 = 40;

/// What a scattered scenario varies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// The subcommand of `ublk add`.
    pub(crate) target: &'static str,
    pub(crate) queues: u16,
    pub(crate) depth: u16,
    pub(crate) block_bytes: u32,
    /// Further options of `ublk add`.
    pub(crate) options: &'static [&'static str],
}

impl Setup {
    /// The plain way: copy mode, and one place for the bytes.
    fn is_plain(self) -> bool {
        self.options.is_empty() && matches!(self.target, "ram" | "file")
    }

    /// Arguments that only its target has. The files below are made anew each time.
    fn own_arguments(self) -> Result<Vec<String>, Stop> {
        let fresh = |name: &str| {
            let path = format!("/tmp/{name}-{}", std::process::id());
            let _ = std::fs::remove_file(&path);
            path
        };
        let size = || ["--size".to_owned(), DEVICE_BYTES.to_string()].into_iter();
        Ok(match self.target {
            "file" => size().chain(["--path".into(), fresh("backing")]).collect(),
            "stripe" => {
                let member = |number| ["--path".to_owned(), fresh(&format!("member-{number}"))];
                size().chain((0..3).flat_map(member)).collect()
            }
            "cow" => {
                let (base, overlay) = (fresh("base"), fresh("overlay"));
                std::fs::File::create(&base)?.set_len(DEVICE_BYTES)?;
                ["--base".into(), base, "--overlay".into(), overlay].into()
            }
            _ => size().collect(),
        })
    }
}

macro_rules! scattered {
    ($name:ident, $id:literal, $title:literal, $target:literal, $queues:literal, $depth:literal, $block:literal) => {
        const $name: Scenario = Scenario {
            id: $id,
            title: $title,
            covers: &["S4", "S5", "S13", "R:1", "R:2", "R:3", "R:4"],
            budget: BudgetClass::Long,
            run: |context| {
                let setup = Setup {
                    target: $target,
                    queues: $queues,
                    depth: $depth,
                    block_bytes: $block,
                    options: &[],
                };
                run(context, setup)
            },
            ..Scenario::SERVER
        };
    };
}

scattered!(
    RAM_1Q_512,
    "data/scattered-ram-1q-512",
    "a ramdisk with one queue and 512-byte blocks keeps scattered I/O",
    "ram",
    1,
    64,
    512
);
scattered!(
    RAM_2Q_512,
    "data/scattered-ram-2q-512",
    "a ramdisk with two queues and 512-byte blocks keeps scattered I/O",
    "ram",
    2,
    32,
    512
);
scattered!(
    RAM_4Q_4096,
    "data/scattered-ram-4q-4096",
    "a ramdisk with four queues and 4096-byte blocks keeps scattered I/O",
    "ram",
    4,
    16,
    4096
);
scattered!(
    FILE_1Q_4096,
    "data/scattered-file-1q-4096",
    "a file target with one queue and 4096-byte blocks keeps scattered I/O",
    "file",
    1,
    32,
    4096
);
scattered!(
    FILE_2Q_512,
    "data/scattered-file-2q-512",
    "a file target with two queues and 512-byte blocks keeps scattered I/O",
    "file",
    2,
    16,
    512
);

pub(super) const SCENARIOS: &[Scenario] =
    &[RAM_1Q_512, RAM_2Q_512, RAM_4Q_4096, FILE_1Q_4096, FILE_2Q_512];

/// A live device and what it should hold.
struct Subject {
    // Dropped first: a device that is still open cannot be deleted.
    device: BlockDevice,
    server: ServerProcess,
    reference: Reference,
    generation: u64,
}

impl Subject {
    fn start(context: &mut Context, setup: Setup) -> Result<Self, Stop> {
        let own = setup.own_arguments()?;
        let (queues, depth) = (setup.queues.to_string(), setup.depth.to_string());
        let block = setup.block_bytes.to_string();
        let mut arguments = vec![setup.target, "--queues", &queues, "--depth", &depth];
        arguments.extend(["--block-size", &block]);
        arguments.extend(own.iter().map(String::as_str));
        arguments.extend(setup.options);
        let server = ServerProcess::start(context, &arguments)?;
        let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
        let reference = Reference::zeros("scattered", DEVICE_BYTES)?;
        Ok(Self { device, server, reference, generation: 0 })
    }
}

/// Runs the workload against a device of that setup.
pub(crate) fn run(context: &mut Context, setup: Setup) -> Result<String, Stop> {
    let mut subject = Subject::start(context, setup)?;
    check_geometry(context, &subject, setup)?;
    let shape = Shape {
        device_sectors: DEVICE_BYTES / SECTOR_BYTES as u64,
        logical_block_bytes: setup.block_bytes,
        in_flight_max: usize::from(setup.queues) * usize::from(setup.depth),
        requests: (16, 96),
    };
    let mut seed = [0; 32];
    let options = setup.options.concat();
    let label = format!("{}-{}-{}{options}", setup.target, setup.queues, setup.block_bytes);
    context.rng(&label).fill_bytes(&mut seed);
    let config = Config {
        cases: if setup.is_plain() { CASES } else { CASES_OF_A_MODE },
        max_shrink_iters: SHRINK_STEPS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let state = RefCell::new((context, &mut subject, None::<Stop>, Totals::default()));
    let result = runner.run(&cases(shape), |case| {
        let (context, subject, first, totals) = &mut *state.borrow_mut();
        attempt(context, subject, setup, first.is_some(), &case, totals).map_err(|stop| {
            let text = stop.to_string();
            context.step(format_args!("{} requests: {text}", case.requests.len()));
            first.get_or_insert(stop);
            TestCaseError::fail(text)
        })
    });
    let (context, _, first, totals) = state.into_inner();
    match (result, first) {
        (Ok(()), None) => {
            finish(context, subject)?;
            Ok(totals.to_string())
        }
        (Err(TestError::Fail(reason, case)), Some(first)) => {
            context.evidence("shrunk-case", &waves::tell(&case, &reason.to_string()));
            Err(first)
        }
        (other, _) => Err(Stop::error(format_args!("the case runner ended with {other:?}"))),
    }
}

#[derive(Default)]
struct Totals {
    cases: u32,
    requests: usize,
    bytes: u64,
    md5: String,
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = self.bytes >> 20;
        write!(
            f,
            "{} cases, {} requests, {mib} MiB, last MD5 {}",
            self.cases, self.requests, self.md5
        )
    }
}

/// One case. While shrinking, on a fresh device: what came before must not decide the result.
fn attempt(
    context: &mut Context,
    subject: &mut Subject,
    setup: Setup,
    shrinking: bool,
    case: &Case,
    totals: &mut Totals,
) -> Result<(), Stop> {
    if shrinking {
        *subject = Subject::start(context, setup)?;
    }
    let before = subject.server.counters()?;
    waves::execute(context, &subject.device, &subject.reference, &mut subject.generation, case)?;
    let after = subject.server.counters()?;
    let flushing = subject.device.sysfs("queue/write_cache")? == "write back";
    check_counters(context, case, flushing, before, after)?;
    totals.md5 = subject.reference.check_device(context, &subject.device, "after the case")?;
    totals.cases += 1;
    totals.requests += case.requests.len();
    totals.bytes += case.bytes_read() + case.bytes_written();
    context.step(format_args!(
        "case {}: {} requests in {} waves",
        totals.cases,
        case.requests.len(),
        case.waves().len()
    ));
    Ok(())
}

/// Reopened, compared once more, closed, and the server told to stop.
fn finish(context: &mut Context, subject: Subject) -> Result<(), Stop> {
    let Subject { device, server, reference, .. } = subject;
    drop(device);
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    reference.check_device(context, &device, "after reopening")?;
    drop(device);
    let counters = server.counters()?;
    context.check_eq(FailureKind::State, "requests with an error", &counters.errors, &0)?;
    server.stop(context)
}

/// Proof that the bytes went through the server: a page cache or a short-cut cannot raise its counters.
fn check_counters(
    context: &mut Context,
    case: &Case,
    flushing: bool,
    before: Counters,
    after: Counters,
) -> Result<(), Stop> {
    context.check_eq(
        FailureKind::State,
        "bytes written through the server",
        &(after.bytes_written - before.bytes_written),
        &case.bytes_written(),
    )?;
    // Others (a partition scan, udev) may read too, but not less than this case did.
    context.check(
        FailureKind::State,
        format_args!(
            "at least {} bytes were read through the server ({} were)",
            case.bytes_read(),
            after.bytes_read - before.bytes_read
        ),
        after.bytes_read - before.bytes_read >= case.bytes_read(),
    )?;
    // The block layer may join flushes that are in flight together, so each is not one request; but a
    // case with flushes cannot reach the server with none, unless the device has no cache to flush.
    let flushes = after.flushes - before.flushes;
    let asked = if flushing { case.flushes() } else { 0 };
    context.check(
        FailureKind::State,
        format_args!("{asked} flushes reach the server as 1 to as many ({flushes})"),
        flushes <= asked && (flushes > 0 || asked == 0),
    )
}

/// The device is what was asked for: queue count and block size are facts of the kernel, not of the API.
fn check_geometry(context: &mut Context, subject: &Subject, setup: Setup) -> Result<(), Stop> {
    let block = subject.device.sysfs("queue/logical_block_size")?;
    context.check_eq(
        FailureKind::State,
        "logical block size",
        &block,
        &setup.block_bytes.to_string(),
    )?;
    let name = subject.device.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let queues = std::fs::read_dir(format!("/sys/block/{name}/mq"))?.count();
    let cpus = reports::environment::cpus();
    context.check_eq(
        FailureKind::State,
        format_args!("hardware queues (asked {}, {cpus} CPUs)", setup.queues),
        &queues,
        &usize::from(setup.queues).min(cpus),
    )
}
