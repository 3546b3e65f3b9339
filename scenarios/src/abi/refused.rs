//! Parameters of the newer groups that the kernel refuses, and that our builder refuses before it.

use reports::event::FailureKind;
use ublk::params::{Checksum, IntegrityOptions, ParamsBuilder, SegmentLimits};
use ublk::target::Capabilities;
use ublk::uapi::{Features, IntegrityFlags, ParamTypes, Params};

use crate::block::page_bytes;
use crate::context::{Context, Stop};
use crate::rig::{EINVAL, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/units-that-are-refused",
        title: "a physical block, minimum or optimal I/O above 256 MiB is refused where the driver has that cap",
        covers: &["vp.pbs.high", "vp.iomin.high", "vp.ioopt.high"],
        run: units,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/memory-limits-that-are-refused",
        title: "wrong alignments and segment limits are refused by the kernel, and before it by the builder",
        covers: &["vp.dma.big", "vp.dma.pow2", "vp.seg.pow2", "vp.seg.small", "vp.seg.size"],
        run: memory,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/integrity-that-is-refused",
        title: "wrong integrity parameters are refused by the kernel, and before it by the builder",
        covers: &[
            "vp.int.nofeature",
            "vp.int.flags",
            "vp.int.csum",
            "vp.int.meta0",
            "vp.int.reftag",
            "vp.int.overflow",
            "vp.int.interval.low",
            "vp.int.interval.high",
        ],
        run: integrity,
        ..Scenario::DRIVER
    },
];

type Spoil = fn(&mut Params);
type Choose = fn(ParamsBuilder) -> ParamsBuilder;

fn builder() -> ParamsBuilder {
    ParamsBuilder::new(8 << 20, Capabilities::default()).max_io_bytes(64 << 10)
}

/// The kernel's answer to each, and that the builder refuses the same where it can be said to it at all.
fn check_refusals(
    context: &mut Context,
    rig: &mut Rig,
    wrong: &[(&str, Spoil, Option<Choose>)],
    expected: i32,
) -> Result<(), Stop> {
    for (what, spoil, choose) in wrong {
        let mut params = rig.basic_params();
        spoil(&mut params);
        let result = rig.set_params_raw(context, &params)?;
        context.check_result(format_args!("SET_PARAMS with {what}"), result, expected)?;
        if let Some(choose) = choose {
            let built = choose(builder()).build();
            let what = format!("the builder refuses {what}: {built:?}");
            context.check(FailureKind::Operation, what, built.is_err())?;
        }
    }
    let params = rig.basic_params();
    let result = rig.set_params_raw(context, &params)?;
    context.check_result("the right parameters afterwards", result, 0)
}

fn units(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 1, 2)?;
    let wrong: &[(&str, Spoil, Option<Choose>)] = &[
        (
            "a physical block of 512 MiB",
            |p| p.basic.physical_bs_shift = 29,
            Some(|b| b.physical_block_bytes(1 << 29)),
        ),
        (
            "a minimum I/O of 512 MiB",
            |p| p.basic.io_min_shift = 29,
            Some(|b| b.io_min_bytes(1 << 29)),
        ),
        (
            "an optimal I/O of 512 MiB",
            |p| p.basic.io_opt_shift = 29,
            Some(|b| b.io_opt_bytes(1 << 29)),
        ),
    ];
    let mut params = rig.basic_params();
    params.basic.io_opt_shift = 29;
    let capped = rig.set_params_raw(context, &params)? == -EINVAL;
    context.step(format_args!("the driver caps units: {capped}"));
    if context.kernel.at_least(7, 2) {
        context.check(FailureKind::Errno, "the driver caps units, as from 7.2 on", capped)?;
    }
    check_refusals(context, &mut rig, wrong, if capped { -EINVAL } else { 0 })?;
    rig.delete(context)?;
    Ok(format!("{} above the cap, capped by this kernel: {capped}", wrong.len()))
}

/// Whether the driver keeps a group or masks it off: the only way to ask.
fn keeps_group(context: &mut Context, rig: &mut Rig, group: ParamTypes) -> Result<(), Stop> {
    let mut params = rig.basic_params();
    params.types |= group;
    params.seg.seg_boundary_mask = 4095;
    params.seg.max_segment_size = 4096;
    params.seg.max_segments = 1;
    let result = rig.set_params_raw(context, &params)?;
    context.check_result(format_args!("SET_PARAMS with a right {group} group"), result, 0)?;
    let id = rig.id;
    let types = rig.control().get_params(id)?.types;
    if types.contains(group) {
        return Ok(());
    }
    rig.delete(context)?;
    Err(Stop::skip(
        format_args!("GET_PARAMS after SET_PARAMS with {group}"),
        format_args!("types {types}: this kernel masks the group off"),
    ))
}

/// What no alignment of memory may be.
pub(super) fn two_pages() -> u32 {
    u32::try_from(2 * page_bytes()).unwrap_or(u32::MAX)
}

fn memory(context: &mut Context) -> Result<String, Stop> {
    const SEGMENTS: SegmentLimits =
        SegmentLimits { boundary_bytes: 4096, max_segment_bytes: 4096, max_segments: 4 };
    fn segments(p: &mut Params, mask: u64, size: u32) {
        p.types |= ParamTypes::SEGMENT;
        p.seg.seg_boundary_mask = mask;
        p.seg.max_segment_size = size;
        p.seg.max_segments = 4;
    }
    let mut rig = Rig::add(context, 1, 2)?;
    keeps_group(context, &mut rig, ParamTypes::DMA_ALIGN | ParamTypes::SEGMENT)?;
    let wrong: &[(&str, Spoil, Option<Choose>)] = &[
        (
            "an alignment of two pages",
            |p| {
                p.types |= ParamTypes::DMA_ALIGN;
                p.dma.alignment = two_pages() - 1;
            },
            Some(|b| b.dma_alignment_bytes(two_pages())),
        ),
        (
            "an alignment of 768",
            |p| {
                p.types |= ParamTypes::DMA_ALIGN;
                p.dma.alignment = 767;
            },
            Some(|b| b.dma_alignment_bytes(768)),
        ),
        (
            "a segment boundary of 12 KiB",
            |p| segments(p, 12287, 4096),
            Some(|b| b.segments(SegmentLimits { boundary_bytes: 12288, ..SEGMENTS })),
        ),
        ("a segment boundary of 2^64", |p| segments(p, u64::MAX, 4096), None),
        (
            "a segment boundary of 2 KiB",
            |p| segments(p, 2047, 4096),
            Some(|b| b.segments(SegmentLimits { boundary_bytes: 2048, ..SEGMENTS })),
        ),
        (
            "segments of 2 KiB",
            |p| segments(p, 4095, 2048),
            Some(|b| b.segments(SegmentLimits { max_segment_bytes: 2048, ..SEGMENTS })),
        ),
    ];
    check_refusals(context, &mut rig, wrong, -EINVAL)?;
    rig.delete(context)?;
    Ok(format!("{} refused", wrong.len()))
}

fn metadata(p: &mut Params) {
    p.types |= ParamTypes::INTEGRITY;
    p.integrity.metadata_size = 16;
    p.integrity.interval_exp = 9;
    p.integrity.csum_type = Checksum::Crc16T10Dif.code();
}

fn integrity(context: &mut Context) -> Result<String, Stop> {
    const RIGHT: IntegrityOptions = IntegrityOptions {
        metadata_bytes: 16,
        interval_bytes: None,
        checksum: Checksum::Crc16T10Dif,
        tuple_offset_bytes: 0,
        tag_bytes: 0,
        storage_checks: false,
        reference_tag: false,
        max_segments: 0,
    };
    let features = Features::INTEGRITY | Features::USER_COPY;
    let mut rig = Rig::add_with(context, 1, 2, features, |_| {})?;
    let wrong: &[(&str, Spoil, Option<Choose>)] = &[
        (
            "unknown flags",
            |p| {
                metadata(p);
                p.integrity.flags = IntegrityFlags::from_bits(4);
            },
            None,
        ),
        (
            "checksum 3",
            |p| {
                metadata(p);
                p.integrity.csum_type = 3;
            },
            None,
        ),
        (
            "no metadata",
            |p| {
                metadata(p);
                p.integrity.metadata_size = 0;
            },
            Some(|b| b.integrity(IntegrityOptions { metadata_bytes: 0, ..RIGHT })),
        ),
        (
            "a reference tag without a checksum",
            |p| {
                metadata(p);
                p.integrity.csum_type = 0;
                p.integrity.flags = IntegrityFlags::CAP_REFTAG;
            },
            Some(|b| {
                b.integrity(IntegrityOptions {
                    checksum: Checksum::None,
                    reference_tag: true,
                    ..RIGHT
                })
            }),
        ),
        (
            "a tuple beyond the metadata",
            |p| {
                metadata(p);
                p.integrity.pi_offset = 9;
            },
            Some(|b| b.integrity(IntegrityOptions { tuple_offset_bytes: 9, ..RIGHT })),
        ),
        (
            "an interval of 256",
            |p| {
                metadata(p);
                p.integrity.interval_exp = 8;
            },
            Some(|b| b.integrity(IntegrityOptions { interval_bytes: Some(256), ..RIGHT })),
        ),
        (
            "an interval above the logical block",
            |p| {
                metadata(p);
                p.integrity.interval_exp = 12;
            },
            Some(|b| b.integrity(IntegrityOptions { interval_bytes: Some(4096), ..RIGHT })),
        ),
    ];
    check_refusals(context, &mut rig, wrong, -EINVAL)?;
    rig.delete(context)?;
    let mut plain = Rig::add(context, 1, 2)?;
    let mut params = plain.basic_params();
    metadata(&mut params);
    let result = plain.set_params_raw(context, &params)?;
    context.check_result("SET_PARAMS with integrity on a plain device", result, -EINVAL)?;
    plain.delete(context)?;
    Ok(format!("{} refused", wrong.len() + 1))
}
