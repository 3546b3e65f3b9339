//! What the driver does against a user's server that keeps a request: root may wait for ever, a user may not.

use std::time::Instant;

use nix::errno::Errno;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::uapi::Features;

use super::unprivileged::{USER, Udev, command_as};
use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::process::{ServerProcess, check_no_nodes};
use crate::rig;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "recovery/unprivileged-server-that-keeps-a-request",
    title: "a request older than the queue's timeout kills its unprivileged server and fails with EIO",
    covers: &["rq.timeout.kill"],
    budget: BudgetClass::Normal,
    run: killed,
    ..Scenario::SERVER
}];

/// Milliseconds in the queue's `io_timeout`, instead of half a minute.
const TIMEOUT_MS: &str = "1000";
/// What the server never answers; beyond what a partition scan looks at.
const KEPT_SECTOR: u64 = 4096;
/// The block layer looks for old requests when the time is over, and rounds that up to seconds; twice.
const LOOKS: u32 = 4;

fn serve(context: &mut Context, more: &[&str]) -> Result<ServerProcess, Stop> {
    let mut arguments = vec!["add", "ram", "--size", "8M", "--depth", "4"];
    arguments.extend(["--unprivileged", "--json", "--no-socket"]);
    arguments.extend(more);
    ServerProcess::start_command(context, command_as(USER, &arguments))
}

fn killed(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::UNPRIVILEGED_DEV)?;
    let _udev = Udev::start()?;
    let rule = format!("op=read,sectors={KEPT_SECTOR}-{},never", KEPT_SECTOR + 7);
    let mut server = serve(context, &["--fault", &rule])?;
    let (id, path) = (server.live.id, server.live.block_device.clone());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let timeout = format!("/sys/block/{name}/queue/io_timeout");
    std::fs::write(&timeout, TIMEOUT_MS).during(format_args!("set {timeout}"))?;
    let device = BlockDevice::open(&path, context.command_timeout())?;
    let begin = Instant::now();
    let read = device.read_at(KEPT_SECTOR * 512, &mut AlignedBuffer::zeroed(4096));
    let errno = read.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
    let waited = begin.elapsed();
    context.check_result("the read that nobody answered", -errno, -(Errno::EIO as i32))?;
    let status = server.wait(context.command_timeout() * LOOKS)?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let wanted = Some(nix::libc::SIGKILL);
    context.check_eq(FailureKind::State, "the signal that ended its server", &signal, &wanted)?;
    drop(device);
    let mut control = Control::open().during("open the control device")?.for_unprivileged();
    control.del_dev(id)?;
    check_no_nodes(context, id)?;
    Ok(format!("EIO after {} ms, and the server is gone", waited.as_millis()))
}
