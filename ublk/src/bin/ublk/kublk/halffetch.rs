//! A server that dies with some tags of its queues fetched and others not. The driver once waited for
//! ever for such a device, and test_generic_17 wants to see that it does not.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ublk::device::{Device, DeviceError, DeviceSpec};
use ublk::params::ParamsBuilder;
use ublk::queue::QueueTicket;
use ublk::target::Capabilities;

use super::add::Kind;
use super::commands::control;
use super::options::Options;
use super::set_params::MAX_IO_BYTES;
use crate::exit::Failure;

/// How long the old server is waited for.
const GONE_LIMIT: Duration = Duration::from_secs(10);
/// Nobody will ever read or write it.
const SIZE_BYTES: u64 = 1 << 30;

/// Fetches every other tag of the first queue and dies. Returns only when it cannot.
pub(super) fn run(options: &Options, kind: Kind) -> Result<(), Failure> {
    let control = control()?;
    let failed = |error: DeviceError| Failure::device(&error);
    // Each arm holds its device until the end: one that is dropped is cleaned up.
    if let (Kind::Recover, Some(id)) = (kind, options.number) {
        let mut device = Device::recover(control, id, GONE_LIMIT).map_err(failed)?;
        return die_with(device.open_queues().map_err(failed)?);
    }
    let spec = DeviceSpec {
        id: options.number,
        queues: options.queues,
        depth: options.depth,
        max_io_bytes: MAX_IO_BYTES,
        features: options.features,
        ..DeviceSpec::default()
    };
    let params = ParamsBuilder::new(SIZE_BYTES, Capabilities::default()).build();
    let params = params.map_err(Failure::failed)?;
    let device = Device::add(control, &spec).map_err(failed)?;
    let mut device = device.set_params(&params).map_err(failed)?;
    die_with(device.open_queues().map_err(failed)?)
}

fn die_with(tickets: Vec<QueueTicket>) -> Result<(), Failure> {
    let first = tickets.into_iter().next().ok_or_else(|| Failure::failed("no queue to fetch"))?;
    let halves = first.split(2).map_err(|_| Failure::failed("this kernel cannot split a queue"))?;
    let half = halves.into_iter().next().ok_or_else(|| Failure::failed("no tag to fetch"))?;
    let mut worker = half.open().map_err(Failure::failed)?;
    // The commands are in the kernel when this returns.
    worker.fetch_all().map_err(Failure::failed)?;
    kill(Pid::this(), Signal::SIGKILL).map_err(|errno| Failure::failed(format!("kill: {errno}")))
}
