//! What is there before, and what a live device tells about itself.

use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::uapi::DevState;

use super::small;
use crate::block;
use crate::context::Context;
use crate::context::During;
use crate::context::Stop;
use crate::probe;
use crate::process::UBLK;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "lifecycle/fresh-state",
        title: "no ublk device exists when the run begins",
        covers: &["S14"],
        run: fresh_state,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "lifecycle/info-of-a-live-device",
        title: "state, pid, queues and counters of a live device can be read by another process",
        covers: &["S1", "S3", "info.len"],
        run: info_of_live,
        ..Scenario::SERVER
    },
];

fn fresh_state(context: &mut Context) -> Result<String, Stop> {
    let nodes = block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "ublk nodes in /dev", &nodes, &Vec::new())?;
    let class = std::fs::read_dir("/sys/class/ublk-char").during("list the class")?.count();
    context.check_eq(FailureKind::Leak, "devices in sysfs", &class, &0)?;
    let control = std::path::Path::new("/dev/ublk-control").exists();
    context.check(FailureKind::State, "/dev/ublk-control exists", control)?;
    Ok("no device, driver present".into())
}

fn info_of_live(context: &mut Context) -> Result<String, Stop> {
    let server = small(context)?;
    let id = server.live.id;
    let mut control = Control::open().during("open the control device")?;
    let info = control.get_dev_info(id)?;
    context.check_eq(FailureKind::State, "state", &info.state(), &DevState::Live)?;
    context.check_eq(FailureKind::State, "pid", &info.ublksrv_pid, &server.pid().as_raw())?;
    context.check_eq(FailureKind::State, "queue depth", &info.queue_depth, &16)?;
    let params = control.get_params(id)?;
    context.check_eq(FailureKind::State, "sectors", &params.basic.dev_sectors, &(8 << 11))?;
    let listed = probe::run(context, &UBLK, &["list", "--json"])?;
    let mentions = [format!("ublkb{id}"), "counters".into(), "bytes_written".into()];
    for word in mentions {
        let found = listed.contains(&word);
        context.check(FailureKind::State, format_args!("ublk list --json has {word}"), found)?;
    }
    let features = probe::run(context, &UBLK, &["features", "--json"])?;
    let named = features.contains("USER_COPY") || features.contains("user_copy");
    context.check(FailureKind::State, "ublk features --json names flags", named)?;
    server.stop(context)?;
    Ok(format!("{} queues of {}", info.nr_hw_queues, info.queue_depth))
}
