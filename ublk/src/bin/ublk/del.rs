//! `ublk del`: stops and deletes devices, whoever serves them; or those that nobody serves.

use ublk::ctrl::{Command, Control, CtrlError};
use ublk::device::find_left;

use crate::cli::DelArgs;
use crate::exit::Failure;
use crate::{devices, out};

/// Deletes each device, and goes on where one fails. Exits with the first failure.
pub(crate) fn run(args: &DelArgs) -> Result<(), Failure> {
    let mut control = Control::open().map_err(|error| Failure::driver(&error))?;
    let ids = if args.orphans {
        orphans(&mut control, args)?
    } else if args.all {
        devices::ids()
    } else {
        args.ids.clone()
    };
    let mut first = None;
    for id in ids {
        match delete(&mut control, id, args) {
            Ok(()) if args.no_wait => out::line(&format!("deleting {id}"))?,
            Ok(()) => out::line(&format!("deleted {id}"))?,
            // One that went meanwhile is one less to delete, unless it was asked for by its number.
            Err(error) if args.ids.is_empty() && error.errno() == Some(libc::ENODEV) => {}
            Err(error) => {
                let failure = explain(&error);
                if first.is_some() {
                    out::warn(&format!("device {id}: {error}"));
                }
                first.get_or_insert(failure);
            }
        }
    }
    first.map_or(Ok(()), Err)
}

fn delete(control: &mut Control, dev_id: u32, args: &DelArgs) -> Result<(), CtrlError> {
    control.address(dev_id)?;
    let command =
        if args.no_wait { Command::DelDevAsync { dev_id } } else { Command::DelDev { dev_id } };
    control.call(command, args.timeout).map(drop)
}

/// The devices nobody serves. Those that could be taken over are somebody's data perhaps, and go only if they are
/// named or asked for; a device with a server never does.
fn orphans(control: &mut Control, args: &DelArgs) -> Result<Vec<u32>, Failure> {
    let (among, named) =
        if args.ids.is_empty() { (devices::ids(), false) } else { (args.ids.clone(), true) };
    let left = find_left(control, &among).map_err(|error| Failure::device(&error))?;
    for id in among.iter().filter(|id| named && !left.iter().any(|left| left.id == **id)) {
        out::warn(&format!("device {id} is not deleted, it has a server or is gone"));
    }
    let goes = |recoverable: bool| named || args.recoverable || !recoverable;
    for kept in left.iter().filter(|left| !goes(left.is_recoverable())) {
        let id = kept.id;
        out::warn(&format!("device {id} can be recovered and is kept; name it, or --recoverable"));
    }
    Ok(left.iter().filter(|left| goes(left.is_recoverable())).map(|left| left.id).collect())
}

fn explain(error: &CtrlError) -> Failure {
    let failure = Failure::control(error);
    match error {
        CtrlError::Timeout { .. } => {
            failure.with_hint("it goes when its server has ended and nobody has its disk open")
        }
        _ => failure,
    }
}
