//! `ublk stop`: removes disks and lets their servers end. What `ublk add` serves is deleted by its server then.

use ublk::ctrl::{Command, Control, CtrlError};
use ublk::uapi::Features;

use crate::cli::StopArgs;
use crate::exit::Failure;
use crate::out;

/// Stops each device, and goes on where one fails. Exits with the first failure.
pub(crate) fn run(args: &StopArgs) -> Result<(), Failure> {
    let mut control = Control::open().map_err(|error| Failure::driver(&error))?;
    if args.safe {
        check_safe_stop(&mut control)?;
    }
    let mut first = None;
    for id in &args.ids {
        match stop(&mut control, *id, args) {
            Ok(()) => out::line(&format!("stopped {id}"))?,
            Err(error) => {
                if first.is_some() {
                    out::warn(&format!("device {id}: {error}"));
                }
                first.get_or_insert(explain(*id, &error));
            }
        }
    }
    first.map_or(Ok(()), Err)
}

fn check_safe_stop(control: &mut Control) -> Result<(), Failure> {
    let offered = control.get_features().map_err(|error| Failure::control(&error))?;
    if offered.contains(Features::SAFE_STOP_DEV) {
        return Ok(());
    }
    let message = "this kernel cannot stop a device only if nobody uses it (TRY_STOP_DEV)";
    Err(Failure::failed(message).with_hint("it came with Linux 7.0"))
}

fn stop(control: &mut Control, dev_id: u32, args: &StopArgs) -> Result<(), CtrlError> {
    control.address(dev_id)?;
    let command =
        if args.safe { Command::TryStopDev { dev_id } } else { Command::StopDev { dev_id } };
    control.call(command, args.timeout).map(drop)
}

fn explain(id: u32, error: &CtrlError) -> Failure {
    match error.errno() {
        Some(libc::EBUSY) => {
            let message = format!("device {id} was not stopped: somebody has /dev/ublkb{id} open");
            Failure::failed(message).with_hint("unmount it, or stop without --safe")
        }
        _ => Failure::control(error),
    }
}
