//! SET_PARAMS: what it refuses, and what a refusal leaves behind.

use reports::event::FailureKind;
use ublk::uapi::{ParamTypes, Params};

use crate::block::page_bytes;
use crate::context::{Context, Stop};
use crate::rig::{EACCES, EINVAL, RawServer, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "startup/params-that-are-refused",
        title: "every wrong basic and discard parameter is refused with EINVAL",
        covers: &[
            "vp.basic.missing",
            "vp.lbs.low",
            "vp.lbs.high",
            "vp.lbs.gt.pbs",
            "vp.maxsec.high",
            "vp.maxsec.low",
            "vp.discard.segs",
            "vp.discard.gran",
            "vp.devt",
            "vp.zoned.notzoned",
            "setp.types.zero",
            "setp.plen.zero",
        ],
        run: refused,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/params-after-a-refusal",
        title: "a refused SET_PARAMS leaves no usable parameters: START_DEV is refused at once",
        covers: &["vp.basic.missing", "start.nobasic"],
        run: wiped,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/params-of-a-live-device",
        title: "SET_PARAMS on a live device is refused with EACCES and changes nothing",
        covers: &["setp.used"],
        run: live,
        ..Scenario::DRIVER
    },
];

type Spoil = fn(&mut Params);

/// Accepted on 6.12.43 to 6.12.86 and on 6.16 to 6.18.15, refused on 6.12.94 to 6.12.117 and from 7.2 on, as
/// seen.
const BELOW_A_PAGE: &str = "max_sectors below a page";

fn refused(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 1, 4)?;
    let spoils: [(&str, Spoil); 12] = [
        ("no basic group", |p| p.types = ParamTypes::DISCARD),
        ("types 0", |p| p.types = ParamTypes::from_bits(0)),
        ("len 0", |p| p.len = 0),
        ("logical block 256", |p| p.basic.logical_bs_shift = 8),
        ("a logical block of two pages", |p| {
            let shift = u8::try_from((2 * page_bytes()).ilog2()).unwrap_or(u8::MAX);
            p.basic.logical_bs_shift = shift;
            p.basic.physical_bs_shift = shift;
        }),
        ("physical block below logical", |p| {
            p.basic.logical_bs_shift = 12;
            p.basic.physical_bs_shift = 9;
        }),
        ("max_sectors above the buffer", |p| p.basic.max_sectors = u32::MAX),
        (BELOW_A_PAGE, |p| {
            p.basic.max_sectors = u32::try_from(page_bytes() / 512 - 1).unwrap_or(7);
        }),
        ("two discard segments", |p| {
            p.types |= ParamTypes::DISCARD;
            p.discard.max_discard_sectors = 8;
            p.discard.max_discard_segments = 2;
            p.discard.discard_granularity = 512;
        }),
        ("discard granularity 0", |p| {
            p.types |= ParamTypes::DISCARD;
            p.discard.max_discard_sectors = 8;
            p.discard.max_discard_segments = 1;
            p.discard.discard_granularity = 0;
        }),
        ("a devt group", |p| p.types |= ParamTypes::DEVT),
        ("a zoned group on a device that is not", |p| {
            p.types |= ParamTypes::ZONED;
            p.zoned.max_zone_append_sectors = 8;
        }),
    ];
    for (what, spoil) in spoils {
        let mut params = rig.basic_params();
        spoil(&mut params);
        let result = rig.set_params_raw(context, &params)?;
        let expected =
            if what == BELOW_A_PAGE && !context.kernel.has_backport(94) { 0 } else { -EINVAL };
        context.check_result(format_args!("SET_PARAMS with {what}"), result, expected)?;
    }
    let params = rig.basic_params();
    let result = rig.set_params_raw(context, &params)?;
    context.check_result("the right parameters afterwards", result, 0)?;
    rig.delete(context)?;
    Ok(format!("{} refused with EINVAL", spoils.len()))
}

fn wiped(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let mut params = rig.basic_params();
    params.basic.logical_bs_shift = 8;
    let result = rig.set_params_raw(context, &params)?;
    context.check_result("SET_PARAMS with a logical block of 256", result, -EINVAL)?;
    let started = rig.start_result(context, std::process::id().cast_signed())?;
    context.check_result("START_DEV after it", started, -EINVAL)?;
    rig.delete(context)?;
    Ok("START_DEV does not wait: it has no parameters".into())
}

fn live(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    rig.start(context)?;
    let id = rig.id;
    let before = rig.control().get_params(id)?;
    let mut params = rig.basic_params();
    params.basic.dev_sectors = 8;
    let result = rig.set_params_raw(context, &params)?;
    context.check_result("SET_PARAMS on a live device", result, -EACCES)?;
    let after = rig.control().get_params(id)?;
    context.check_eq(
        FailureKind::State,
        "sectors afterwards",
        &after.basic.dev_sectors,
        &before.basic.dev_sectors,
    )?;
    rig.tear_down(context, server)?;
    Ok("EACCES".into())
}
