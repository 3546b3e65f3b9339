//! Operations on zones as a server sees them, and what of its results whoever asked gets to see.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::raw::CharFile;
use ublk::uapi::{IoDesc, Op};

use super::control::tear_down;
use super::zones::{ZONE_SECTORS, ZONES, live_zoned, put, zones_of};
use crate::block::nodes;
use crate::context::{Context, During, Stop, errno};
use crate::probe;
use crate::rig::{Fetcher, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "abi/zone-operations",
    title: "a zone operation arrives with its zone's first sector and no length, and its result is passed on",
    covers: &["iod.ZONE_OPEN", "iod.ZONE_RESET", "commit results"],
    run: operations,
    ..Scenario::DRIVER
}];

const BLKZONE: &str = "/sbin/blkzone";

/// What an operation on zones came to.
struct Seen {
    /// Whether the program was content, and what it said.
    done: bool,
    said: String,
    /// Everything that arrived but questions for zones.
    requests: Vec<IoDesc>,
}

/// `blkzone` with these arguments, while this thread commits `result` to what it asks for.
fn blkzone(
    context: &mut Context,
    rig: &Rig,
    (file, fetcher): (&CharFile, &mut Fetcher),
    arguments: &[String],
    result: i32,
) -> Result<Seen, Stop> {
    let mut command = Command::new(BLKZONE);
    command.args(arguments).arg(nodes(rig.id).1).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().during("start blkzone")?;
    let (begin, mut requests) = (Instant::now(), Vec::new());
    while child.try_wait().during("watch blkzone")?.is_none() {
        if begin.elapsed() > context.command_timeout() {
            let _ = child.kill();
            let _ = child.wait();
            let what = format!("blkzone {arguments:?} does not end");
            return Err(Stop::fail(FailureKind::Completion, what));
        }
        for completion in fetcher.wait(1, Duration::from_millis(5))? {
            let tag = u16::try_from(completion.user_data).during("read a tag")?;
            let request = fetcher.request(tag);
            match request.op() {
                Some(Op::ReportZones) => {
                    let zones = zones_of(&request, ZONE_SECTORS.into());
                    let result = put(file, tag, &zones)?;
                    fetcher.commit(tag, result)?;
                }
                Some(Op::Read | Op::Write | Op::Flush) | None => fetcher.answer(tag)?,
                Some(_) => {
                    requests.push(request);
                    fetcher.commit(tag, result)?;
                }
            }
        }
    }
    let output = child.wait_with_output().during("read what blkzone said")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok(Seen { done: output.status.success(), said, requests })
}

fn operations(context: &mut Context) -> Result<String, Stop> {
    probe::program(BLKZONE)?;
    let (rig, file, mut fetcher) = live_zoned(context)?;
    let mut asked = 0;
    for (verb, op) in [
        ("open", Op::ZoneOpen),
        ("close", Op::ZoneClose),
        ("finish", Op::ZoneFinish),
        ("reset", Op::ZoneReset),
    ] {
        for (first, count, result) in
            [(0, 1, 0), (3, 2, 0), (ZONES - 1, 1, 4096), (1, 1, -5), (2, 1, -28), (2, 1, i32::MIN)]
        {
            let at = (first * u64::from(ZONE_SECTORS)).to_string();
            let sectors = (count * u64::from(ZONE_SECTORS)).to_string();
            let arguments = [verb, "-o", &at, "-l", &sectors].map(str::to_owned);
            let with = (&*file, &mut fetcher);
            let seen = blkzone(context, &rig, with, &arguments, result)?;
            let zones = (first..first + count)
                .map(|zone| (Some(op), zone * u64::from(ZONE_SECTORS), 0))
                .collect();
            judge(context, &format!("{verb} of zone {first}"), &seen, &zones, result)?;
            asked += 1;
        }
    }
    // The whole disk at once has an operation of its own.
    let with = (&*file, &mut fetcher);
    let seen = blkzone(context, &rig, with, &["reset".to_owned()], 0)?;
    judge(context, "reset of all zones", &seen, &vec![(Some(Op::ZoneResetAll), 0, 0)], 0)?;
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{asked} operations on zones, and one on all"))
}

/// Operation, first sector, sectors.
type Zone = (Option<Op>, u64, u32);

fn judge(
    context: &mut Context,
    what: &str,
    seen: &Seen,
    zones: &Vec<Zone>,
    result: i32,
) -> Result<(), Stop> {
    let what = format!("{what}, committed with {}", errno(result));
    let came: Vec<Zone> = seen
        .requests
        .iter()
        .map(|request| (request.op(), request.start_sector, request.nr_sectors))
        .collect();
    context.check_eq(FailureKind::State, &what, &came, zones)?;
    let bare = seen.requests.iter().all(|r| r.flags().is_empty() && r.addr == 0);
    context.check(FailureKind::State, format_args!("{what}: neither flags nor address"), bare)?;
    let words = match result {
        0.. => "",
        -28 => "No space left on device",
        _ => "Input/output error",
    };
    let passed_on = if result < 0 { !seen.done && seen.said.contains(words) } else { seen.done };
    let told = format!("{what}: blkzone said {:?}", seen.said.trim());
    context.check(FailureKind::Errno, told, passed_on)
}
