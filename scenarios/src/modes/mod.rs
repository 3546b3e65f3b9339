//! Does the device keep what is written to it, however its bytes move and on however many threads?
//!
//! The workload is that of `data/scattered-*`: what differs is the data plane. Each mode is served by the
//! same targets, which is the claim that is tested.

mod asynchronous;
mod kinds;
mod shared;
mod threads;

use ublk::ctrl::Control;
use ublk::uapi::Features;

use crate::Scenario;
use crate::context::Stop;

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] =
    &[kinds::SCENARIOS, shared::SCENARIOS, threads::SCENARIOS, asynchronous::SCENARIOS];

/// Skips unless the driver offers all of these.
fn need(features: Features) -> Result<(), Stop> {
    let mut control = Control::open().map_err(Stop::error)?;
    let offered = control.get_features().map_err(Stop::error)?;
    let missing = features - offered;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Stop::skip(
        format_args!("GET_FEATURES has {features}"),
        format_args!("{missing} is missing"),
    ))
}
