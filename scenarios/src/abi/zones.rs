//! Zoned devices that cannot be: parameters that SET_PARAMS refuses, and what START_DEV makes of zones that its server
//! reports wrongly or not at all.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::raw::CharFile;
use ublk::uapi::{BlkZone, Features, IoDesc, Op, ParamDmaAlign, ParamTypes, Params, UserCopyPos};
use zerocopy::IntoBytes;

use super::control::tear_down;
use super::refused::two_pages;
use crate::context::{Context, During, Stop, errno};
use crate::kernel::KernelRelease;
use crate::rig::{EINVAL, EIO, Fetcher, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/zoned-parameters-that-are-refused",
        title: "a zone size, append size or limit that cannot be is refused with EINVAL, as is a missing group",
        covers: &[
            "vp.zoned.chunk",
            "vp.zoned.append0",
            "vp.zoned.active",
            "vp.zoned.open",
            "vp.zoned.missing",
        ],
        run: parameters,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/zoned-limits-that-nobody-looks-at",
        title: "a DMA alignment that no device may have is refused by SET_PARAMS on a zoned device too",
        covers: &["start.limits.unvalidated_zoned"],
        known_bug: unvalidated_bug,
        run: unvalidated,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/zoned-start-that-is-refused",
        title: "START_DEV fails with the reason when limits contradict each other or the zones are not reported right",
        covers: &[
            "start.limits.zoned_open_active",
            "start.zones.nocap",
            "start.zones.tiny",
            "start.zones.toomany",
            "start.zones.report_err",
            "start.zones.bad_report",
            "start.zones.runt",
        ],
        budget: BudgetClass::Normal,
        run: start,
        ..Scenario::DRIVER
    },
];

const ENODEV: i32 = nix::libc::ENODEV;
const ENOMEM: i32 = nix::libc::ENOMEM;
const ENOSPC: i32 = nix::libc::ENOSPC;

pub(super) const ZONE_SECTORS: u32 = 2048;
pub(super) const ZONES: u64 = 8;

pub(super) fn zoned(context: &mut Context) -> Result<Rig, Stop> {
    Rig::add_with(context, 1, 4, Features::ZONED | Features::USER_COPY, |_| {})
}

pub(super) fn params(rig: &Rig) -> Params {
    let mut params = rig.basic_params();
    params.types |= ParamTypes::ZONED;
    params.basic.chunk_sectors = ZONE_SECTORS;
    params.basic.dev_sectors = ZONES * u64::from(ZONE_SECTORS);
    params.zoned.max_zone_append_sectors = 8;
    params
}

fn parameters(context: &mut Context) -> Result<String, Stop> {
    type Spoil = fn(&mut Params);
    let mut rig = zoned(context)?;
    let wrong: [(&str, Spoil); 5] = [
        ("no zone size", |p| p.basic.chunk_sectors = 0),
        ("no append", |p| p.zoned.max_zone_append_sectors = 0),
        ("9 active zones of 8", |p| p.zoned.max_active_zones = 9),
        ("9 open zones of 8", |p| p.zoned.max_open_zones = 9),
        ("no zoned group", |p| p.types = ParamTypes::BASIC),
    ];
    for (what, spoil) in wrong {
        let mut params = params(&rig);
        spoil(&mut params);
        let result = rig.set_params_raw(context, &params)?;
        context.check_result(format_args!("SET_PARAMS with {what}"), result, -EINVAL)?;
    }
    let mut odd = params(&rig);
    odd.basic.chunk_sectors = 3000;
    let of_odd_zones = rig.set_params_raw(context, &odd)?;
    if context.kernel.at_least(7, 2) {
        context.check_result("SET_PARAMS with zones of 3000 sectors", of_odd_zones, -EINVAL)?;
    }
    let right = params(&rig);
    let result = rig.set_params_raw(context, &right)?;
    context.check_result("the right parameters afterwards", result, 0)?;
    rig.delete(context)?;
    Ok(format!("{} refused; zones of 3000 sectors: {}", wrong.len(), errno(of_odd_zones)))
}

/// Where it is written down that SET_PARAMS looks at nothing behind the zones of a zoned device.
fn unvalidated_bug(kernel: KernelRelease) -> Option<&'static str> {
    kernel.at_least(6, 16).then_some("docs/kernel-findings/zoned-limits-unchecked.md")
}

fn unvalidated(context: &mut Context) -> Result<String, Stop> {
    let mut rig = zoned(context)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch_all()?;
    let right = params(&rig);
    let odd = right
        .with_dma_align(ParamDmaAlign { alignment: two_pages() - 1, ..ParamDmaAlign::default() });
    let set = rig.set_params_raw(context, &odd)?;
    let id = rig.id;
    let types = rig.control().get_params(id)?.types;
    if set == 0 && !types.contains(ParamTypes::DMA_ALIGN) {
        drop(fetcher);
        drop(Arc::into_inner(file));
        rig.delete(context)?;
        return Err(Stop::skip("GET_PARAMS names the group", "this kernel knows no DMA alignment"));
    }
    if set == 0 {
        // What it comes to: the block layer finds it, with a warning in the kernel's log.
        let result = started(context, &mut rig, &file, &mut fetcher, &mut self::right)?;
        context.check_result("START_DEV with a DMA alignment of two pages", result, -EINVAL)?;
    }
    let again = rig.set_params_raw(context, &right)?;
    context.check_result("the right parameters afterwards", again, 0)?;
    drop(fetcher);
    drop(Arc::into_inner(file));
    rig.delete(context)?;
    context.check_result("SET_PARAMS with a DMA alignment of two pages", set, -EINVAL)?;
    Ok("EINVAL".into())
}

/// What a server says when it is asked for zones: them, or an errno.
type Report<'a> = &'a mut dyn FnMut(&IoDesc) -> Result<Vec<BlkZone>, i32>;

pub(super) fn zones_of(request: &IoDesc, len: u64) -> Vec<BlkZone> {
    let zone = |number: u64| {
        let start = request.start_sector + number * u64::from(ZONE_SECTORS);
        BlkZone {
            start,
            len,
            wp: start,
            zone_type: 2,
            cond: 1,
            capacity: len,
            ..BlkZone::default()
        }
    };
    (0..u64::from(request.nr_zones())).map(zone).collect()
}

pub(super) fn right(request: &IoDesc) -> Result<Vec<BlkZone>, i32> {
    Ok(zones_of(request, ZONE_SECTORS.into()))
}

fn halved(request: &IoDesc) -> Result<Vec<BlkZone>, i32> {
    Ok(zones_of(request, u64::from(ZONE_SECTORS) / 2))
}

fn refuses(_: &IoDesc) -> Result<Vec<BlkZone>, i32> {
    Err(ENOSPC)
}

/// Writes the zones into the request in `tag`; the result to commit.
pub(super) fn put(file: &CharFile, tag: u16, zones: &[BlkZone]) -> Result<i32, Stop> {
    let place = UserCopyPos { queue: 0, tag, offset_bytes: 0, integrity: false };
    let place = place.encode().ok_or_else(|| Stop::error("no place for the zones"))?;
    if !zones.is_empty() {
        file.file().write_all_at(zones.as_bytes(), place).during("write the zones")?;
    }
    Ok(i32::try_from(size_of_val(zones)).unwrap_or(-EIO))
}

/// START_DEV with a server that reports zones so; its result.
pub(super) fn started(
    context: &mut Context,
    rig: &mut Rig,
    file: &CharFile,
    fetcher: &mut Fetcher,
    report: Report<'_>,
) -> Result<i32, Stop> {
    let pending = rig.start_begin()?;
    let begin = Instant::now();
    while begin.elapsed() < context.command_timeout() {
        for completion in fetcher.wait(1, Duration::from_millis(5))? {
            let tag = u16::try_from(completion.user_data).during("read a tag")?;
            let request = fetcher.request(tag);
            if request.op() == Some(Op::ReportZones) {
                let result = match report(&request) {
                    Ok(zones) => put(file, tag, &zones)?,
                    Err(errno) => -errno,
                };
                fetcher.commit(tag, result)?;
            } else {
                fetcher.answer(tag)?;
            }
        }
        match rig.control().poll(&pending) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(0),
            Err(error) => {
                let errno = error.errno().ok_or_else(|| Stop::error(&error))?;
                return Ok(-errno);
            }
        }
    }
    Err(Stop::fail(FailureKind::Completion, "START_DEV got no answer"))
}

/// A device of zones that is live, with its server.
pub(super) fn live_zoned(context: &mut Context) -> Result<(Rig, Arc<CharFile>, Fetcher), Stop> {
    let mut rig = zoned(context)?;
    let params = params(&rig);
    let set = rig.set_params_raw(context, &params)?;
    context.check_result("SET_PARAMS", set, 0)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch_all()?;
    let result = started(context, &mut rig, &file, &mut fetcher, &mut right)?;
    context.check_result("START_DEV", result, 0)?;
    rig.settle(context, &mut fetcher)?;
    Ok((rig, file, fetcher))
}

/// Where a START_DEV that fails after its server was asked leaves the timer of a queue that is freed, and the kernel
/// crashes some seconds later, in whatever runs then: seen on these series, see docs/kernel-facts.md.
fn frees_a_queue_with_its_timer(kernel: KernelRelease) -> bool {
    kernel.at_least(6, 16) && !kernel.at_least(7, 2)
}

fn start(context: &mut Context) -> Result<String, Stop> {
    type Spoil = fn(&mut Params);
    type Answer = fn(&IoDesc) -> Result<Vec<BlkZone>, i32>;
    let mut rig = zoned(context)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch_all()?;
    let mut cases: Vec<(&str, Spoil, Answer, i32)> = vec![
        (
            "4 open zones of 2 active ones",
            |p| {
                p.zoned.max_open_zones = 4;
                p.zoned.max_active_zones = 2;
            },
            right,
            -EINVAL,
        ),
        ("no capacity", |p| p.basic.dev_sectors = 0, right, -ENODEV),
        ("half a zone", |p| p.basic.dev_sectors = 1024, right, -ENOMEM),
    ];
    if !frees_a_queue_with_its_timer(context.kernel) {
        cases.push(("a server that answers ENOSPC", |_| {}, refuses, -ENOSPC));
        cases.push(("zones half as large as agreed", |_| {}, halved, -ENODEV));
        cases.push(("a runt at the end", |p| p.basic.dev_sectors += 512, right, -ENODEV));
    }
    if context.kernel.at_least(7, 2) {
        let many: Spoil = |p| {
            p.basic.chunk_sectors = 1;
            p.basic.dev_sectors = 1 << 40;
        };
        cases.push(("2^40 zones", many, right, -EINVAL));
    }
    let count = cases.len();
    for (what, spoil, mut answer, expected) in cases {
        context.step(format_args!("a device with {what}"));
        let mut params = params(&rig);
        spoil(&mut params);
        let set = rig.set_params_raw(context, &params)?;
        context.check_result(format_args!("SET_PARAMS with {what}"), set, 0)?;
        let result = started(context, &mut rig, &file, &mut fetcher, &mut answer)?;
        context.check_result(format_args!("START_DEV with {what}"), result, expected)?;
    }
    let params = params(&rig);
    let set = rig.set_params_raw(context, &params)?;
    context.check_result("the right parameters afterwards", set, 0)?;
    // The driver has no end for a report without zones: it asks again until there are some.
    let mut asked = 0;
    let mut reluctant = |request: &IoDesc| {
        asked += 1;
        if asked <= 3 { Ok(zones_of(request, 0)) } else { right(request) }
    };
    let result = started(context, &mut rig, &file, &mut fetcher, &mut reluctant)?;
    context.check_result("START_DEV with the right zones at last", result, 0)?;
    context.check(
        FailureKind::Completion,
        format_args!("zones asked for {asked} times"),
        asked > 3,
    )?;
    rig.settle(context, &mut fetcher)?;
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{count} refused, and then it starts"))
}
