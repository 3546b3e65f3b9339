//! A live zoned disk asks its server for zones whenever somebody wants to know them; what the server says to that is
//! what that somebody gets.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::raw::CharFile;
use ublk::uapi::Op;

use super::control::tear_down;
use super::zones::{ZONE_SECTORS, ZONES, live_zoned, put, zones_of};
use crate::block::nodes;
use crate::context::{Context, During, Stop};
use crate::probe;
use crate::rig::{Fetcher, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "abi/zone-report-of-a-live-disk",
    title: "a zone report of a live disk is the server's, and so is its error",
    covers: &["zones.ioctl"],
    run: report,
    ..Scenario::DRIVER
}];

const BLKZONE: &str = "/sbin/blkzone";
const ENOSPC: i32 = nix::libc::ENOSPC;

/// `blkzone report` while this thread serves: whether it worked, what it said, and how often zones were asked for.
fn blkzone(
    context: &mut Context,
    rig: &Rig,
    file: &CharFile,
    fetcher: &mut Fetcher,
    refuse: bool,
) -> Result<(bool, String, u32), Stop> {
    let mut command = Command::new(BLKZONE);
    command.arg("report").arg(nodes(rig.id).1).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().during("start blkzone")?;
    let (begin, mut asked) = (Instant::now(), 0);
    while child.try_wait().during("watch blkzone")?.is_none() {
        if begin.elapsed() > context.command_timeout() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Stop::fail(FailureKind::Completion, "blkzone report does not end"));
        }
        for completion in fetcher.wait(1, Duration::from_millis(5))? {
            let tag = u16::try_from(completion.user_data).during("read a tag")?;
            let request = fetcher.request(tag);
            if request.op() != Some(Op::ReportZones) {
                fetcher.answer(tag)?;
                continue;
            }
            asked += 1;
            let zones = zones_of(&request, ZONE_SECTORS.into());
            let result = if refuse { -ENOSPC } else { put(file, tag, &zones)? };
            fetcher.commit(tag, result)?;
        }
    }
    let output = child.wait_with_output().during("read what blkzone said")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned(), asked))
}

fn report(context: &mut Context) -> Result<String, Stop> {
    probe::program(BLKZONE)?;
    let (rig, file, mut fetcher) = live_zoned(context)?;

    let (done, said, asked) = blkzone(context, &rig, &file, &mut fetcher, false)?;
    let zones = said.lines().filter(|line| line.contains("start:")).count();
    let what = format!("blkzone lists {ZONES} zones (it lists {zones}, asked {asked} times)");
    context.check(FailureKind::State, what, done && asked > 0 && zones as u64 == ZONES)?;
    let (done, said, asked) = blkzone(context, &rig, &file, &mut fetcher, true)?;
    context.check(
        FailureKind::Errno,
        format_args!("a server that answers ENOSPC (asked {asked} times): {}", said.trim()),
        !done && asked > 0 && said.contains("No space left on device"),
    )?;
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{ZONES} zones, then ENOSPC"))
}
