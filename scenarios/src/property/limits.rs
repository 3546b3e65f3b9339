//! Parameters at random, and the disk that sysfs shows: every limit compared with a model of the block layer's rules.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rand::RngCore;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use std::cell::RefCell;
use ublk::uapi::{Attrs, Features, ParamBasic, ParamDiscard, ParamDmaAlign, ParamSegment, Params};

use super::hand::Hand;
use super::limits_model::{files, page_sectors};
use super::mode::Mode;
use crate::block::sysfs_block;
use crate::context::{Context, Stop};
use crate::rig::offered;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "property/limits-in-sysfs",
    title: "sysfs shows of any valid parameters what the block layer's rules make of them",
    covers: &[
        "ublk_param_basic",
        "ublk_param_discard",
        "ublk_param_segment",
        "ublk_param_dma_align",
    ],
    budget: BudgetClass::Long,
    run: limits,
    ..Scenario::DRIVER
}];

/// Largest request of the devices here: more than what the page cache asks for by itself.
const MAX_IO_BYTES: u32 = 32 << 20;
const CASES: u32 = 24;
const SHRINK_STEPS_MAX: u32 = 24;

fn basic() -> impl Strategy<Value = ParamBasic> {
    let blocks = (9_u8..=12).prop_flat_map(|logical| (Just(logical), logical..=28));
    let shifts = (blocks, 0_u8..=28, 0_u8..=28);
    let size = prop_oneof![
        page_sectors()..=256,
        page_sectors()..=(MAX_IO_BYTES / 512),
        Just(page_sectors()),
        Just(MAX_IO_BYTES / 512),
    ];
    let chunk = prop_oneof![Just(0), 1_u32..=256];
    let boundary =
        prop_oneof![3 => Just(0), 1 => (12_u32..=20).prop_map(|bits| (1_u64 << bits) - 1)];
    (shifts, size, chunk, boundary, 0_u32..8, 1_u64..=4096).prop_map(
        |(((logical, physical), io_min, io_opt), max_sectors, chunk, boundary, attrs, pages)| {
            ParamBasic {
                // A disk that is written to by nobody: read-only is another property.
                attrs: Attrs::from_bits(attrs << 1),
                logical_bs_shift: logical,
                physical_bs_shift: physical,
                io_min_shift: io_min,
                io_opt_shift: io_opt,
                max_sectors,
                chunk_sectors: chunk * page_sectors(),
                dev_sectors: pages * u64::from(page_sectors()),
                virt_boundary_mask: boundary,
            }
        },
    )
}

fn discard() -> impl Strategy<Value = ParamDiscard> {
    let sectors = || prop_oneof![Just(0_u32), 1_u32..=1 << 16, Just(u32::MAX)];
    ((9_u32..=24).prop_map(|shift| 1 << shift), sectors(), sectors()).prop_map(
        |(discard_granularity, max_discard_sectors, max_write_zeroes_sectors)| ParamDiscard {
            discard_granularity,
            max_discard_sectors,
            max_write_zeroes_sectors,
            max_discard_segments: 1,
            ..ParamDiscard::default()
        },
    )
}

fn memory() -> impl Strategy<Value = (ParamDmaAlign, ParamSegment)> {
    let alignment = (0_u32..=11)
        .prop_map(|bits| ParamDmaAlign { alignment: (1 << bits) - 1, ..ParamDmaAlign::default() });
    let segment = (12_u32..=31, 4096_u32..=u32::MAX, any::<u16>()).prop_map(
        |(bits, max_segment_size, max_segments)| ParamSegment {
            seg_boundary_mask: (1 << bits) - 1,
            max_segment_size,
            max_segments,
            ..ParamSegment::default()
        },
    );
    (alignment, segment)
}

fn params(newer: bool) -> impl Strategy<Value = Params> {
    let parts = (basic(), proptest::option::of(discard()), proptest::option::of(memory()));
    parts.prop_map(move |(basic, discard, memory)| {
        let mut params = Params::new(basic);
        if let Some(discard) = discard {
            params = params.with_discard(discard);
        }
        // Older kernels know neither group, and take the rest.
        if let (Some((alignment, segment)), true) = (memory, newer) {
            params = params.with_dma_align(alignment).with_segment(segment);
        }
        params
    })
}

fn one(context: &mut Context, params: &Params) -> Result<(), Stop> {
    let quiet = Features::NO_AUTO_PART_SCAN;
    let more = if offered(quiet).is_ok() { quiet } else { Features::empty() };
    let set = |all: &mut Params| *all = *params;
    let mut hand = Hand::ready_of(context, Mode::COPY, more, 2, MAX_IO_BYTES, set)?;
    let pending = hand.rig.start_begin()?;
    hand.drive(&pending)?;
    let name = format!("ublkb{}", hand.rig.id);
    for (file, expected) in files(context.kernel, params) {
        let observed = sysfs_block(&name, file)?;
        let what = format!("{file} of {params:?}");
        context.check_eq(FailureKind::State, what, &observed, &expected)?;
    }
    hand.end(context)
}

fn limits(context: &mut Context) -> Result<String, Stop> {
    let mut seed = [0; 32];
    context.rng("limits").fill_bytes(&mut seed);
    let config = Config {
        cases: CASES,
        max_shrink_iters: SHRINK_STEPS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let newer = context.kernel.at_least(6, 16);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let state = RefCell::new((context, None::<Stop>));
    let result = TestRunner::new_with_rng(config, rng).run(&params(newer), |params| {
        let (context, last) = &mut *state.borrow_mut();
        one(context, &params).map_err(|stop| {
            let text = stop.to_string();
            context.step(&text);
            // The last one is the smallest: shrinking goes on from what fails.
            *last = Some(stop);
            TestCaseError::fail(text)
        })
    });
    match (result, state.into_inner().1) {
        (Ok(()), None) => Ok(format!("{CASES} sets of parameters")),
        (Err(TestError::Fail(..)), Some(stop)) => Err(stop),
        (other, _) => Err(Stop::error(format_args!("the case runner ended with {other:?}"))),
    }
}
