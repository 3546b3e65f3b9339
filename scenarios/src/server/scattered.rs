//! Generated scattered reads, writes and flushes on a device of the server under test, in each data mode, on one queue and on
//! several: compared by MD5 with a reference and with the file behind the device. What fails is cut down on fresh devices.

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rand::RngCore;
use reports::budget::BudgetClass;

use super::ability::Ability;
use super::input::ServerInput;
use super::served::Wish;
use super::subject::Subject;
use super::words::Word;
use crate::context::{Context, Stop};
use crate::data::waves;
use crate::kernel::KernelRelease;
use crate::recovery::kit::SIZE_BYTES;
use crate::scenario::Scenario;
use crate::signature::SECTOR_BYTES;
use crate::workload::{Case, Shape, cases};

const CASES: u32 = 4;
/// Each step starts a server of its own.
const SHRINK_STEPS_MAX: u32 = 24;

const LONG: Scenario =
    Scenario { budget: BudgetClass::Long, covers: &["server.data"], ..Scenario::SERVER };

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "server/scattered-one-queue",
        title: "one queue keeps scattered I/O, by MD5 of device and file",
        run: |context| plain(context, 1, 512),
        ..LONG
    },
    Scenario {
        id: "server/scattered-four-queues",
        title: "four queues keep scattered I/O, by MD5 of device and file",
        run: |context| plain(context, 4, 512),
        ..LONG
    },
    Scenario {
        id: "server/scattered-blocks-of-4096",
        title: "a device of 4096-byte blocks keeps scattered I/O",
        run: |context| plain(context, 2, 4096),
        ..LONG
    },
    Scenario {
        id: "server/user-copy",
        title: "in user copy, where the server moves the bytes itself, scattered I/O is kept",
        run: |context| mode(context, Ability::UserCopy),
        ..LONG
    },
    Scenario {
        id: "server/zero-copy",
        title: "in zero copy, with pages that the server registers, scattered I/O is kept",
        known_bug: KernelRelease::page_registration_bug,
        run: |context| mode(context, Ability::ZeroCopy),
        ..LONG
    },
    Scenario {
        id: "server/auto-zero-copy",
        title: "in zero copy with pages that the driver registers, scattered I/O is kept",
        known_bug: KernelRelease::page_registration_bug,
        run: |context| mode(context, Ability::AutoZeroCopy),
        ..LONG
    },
    Scenario {
        id: "server/batch",
        title: "with batched commands scattered I/O is kept",
        run: batch,
        ..LONG
    },
];

fn plain(context: &mut Context, queues: u16, block_bytes: u32) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    if queues > 1 {
        input.need_word(Word::Queues)?;
    }
    if block_bytes != 512 {
        input.need_word(Word::Block)?;
    }
    let wish = Wish { block_bytes, ..Wish::usual(&input).queues(queues) };
    run(context, &input, &wish)
}

fn mode(context: &mut Context, mode: Ability) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    input.need(context, mode)?;
    let wish = Wish { mode, ..Wish::usual(&input) };
    run(context, &input, &wish)
}

fn batch(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    input.need(context, Ability::Batch)?;
    let wish = Wish::usual(&input).with(Ability::Batch);
    run(context, &input, &wish)
}

struct Course<'a> {
    context: &'a mut Context,
    input: &'a ServerInput,
    wish: &'a Wish,
    /// None where a fresh one did not come up.
    subject: Option<Subject>,
    first: Option<Stop>,
    cases: u32,
    requests: usize,
}

fn run(context: &mut Context, input: &ServerInput, wish: &Wish) -> Result<String, Stop> {
    let subject = Subject::start(context, input, wish)?;
    super::geometry::check(context, &subject.served, &subject.device)?;
    let block: u32 =
        subject.device.sysfs("queue/logical_block_size")?.parse().unwrap_or(wish.block_bytes);
    let shape = Shape {
        device_sectors: SIZE_BYTES / SECTOR_BYTES as u64,
        logical_block_bytes: block,
        in_flight_max: usize::from(wish.queues) * usize::from(wish.depth),
        requests: (16, 96),
    };
    let mut seed = [0; 32];
    let label = format!("server-{}-{}-{}", wish.mode, wish.queues, wish.block_bytes);
    context.rng(&label).fill_bytes(&mut seed);
    let config = Config {
        cases: CASES,
        max_shrink_iters: SHRINK_STEPS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let subject = Some(subject);
    let course = Course { context, input, wish, subject, first: None, cases: 0, requests: 0 };
    let state = RefCell::new(course);
    let result = runner.run(&cases(shape), |case| state.borrow_mut().attempt(&case));
    let Course { context, subject, first, cases, requests, .. } = state.into_inner();
    match (result, first, subject) {
        (Ok(()), None, Some(subject)) => {
            let md5 = subject.finish(context)?;
            Ok(format!("{cases} cases, {requests} requests, last MD5 {md5}"))
        }
        (Err(TestError::Fail(reason, case)), Some(first), _) => {
            context.evidence("shrunk-case", &waves::tell(&case, &reason.to_string()));
            Err(first)
        }
        (other, ..) => Err(Stop::error(format_args!("the case runner ended with {other:?}"))),
    }
}

impl Course<'_> {
    fn attempt(&mut self, case: &Case) -> Result<(), TestCaseError> {
        self.tried(case).map_err(|stop| {
            let text = stop.to_string();
            self.context.step(format_args!("{} requests: {text}", case.requests.len()));
            self.first.get_or_insert(stop);
            TestCaseError::fail(text)
        })
    }

    /// One case; while shrinking on a fresh device: what came before must not decide the result.
    fn tried(&mut self, case: &Case) -> Result<(), Stop> {
        let context = &mut *self.context;
        if self.first.is_some() {
            // The old one goes before the new one comes, which may have its number.
            self.subject = None;
            self.subject = Some(Subject::start(context, self.input, self.wish)?);
        }
        let Some(subject) = &mut self.subject else {
            return Err(Stop::error("there is no device"));
        };
        let Subject { device, reference, generation, .. } = subject;
        waves::execute(context, device, reference, generation, case)?;
        subject.check(context, "after the case")?;
        subject.check_file(context, "after the case")?;
        self.cases += 1;
        self.requests += case.requests.len();
        Ok(())
    }
}
