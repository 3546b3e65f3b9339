//! `ublk quiesce`: the first half of an upgrade. The old server answers what it has and leaves; the device waits.

use ublk::ctrl::Control;
use ublk::device::quiesce_and_wait;

use crate::cli::QuiesceArgs;
use crate::exit::Failure;
use crate::out;

/// Quiesces a device and waits until its server has left it.
pub(crate) fn run(args: &QuiesceArgs) -> Result<(), Failure> {
    let mut control = Control::open().map_err(|error| Failure::driver(&error))?;
    let id = args.id;
    let state = quiesce_and_wait(&mut control, id, args.timeout)
        .map_err(|error| Failure::device(&error))?;
    let state = state.name().to_lowercase().replace('_', "-");
    out::line(&format!("quiesced {id} ({state}); `ublk recover {id} ...` takes it over"))
}
