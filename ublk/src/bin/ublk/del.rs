//! `ublk del`: stops and deletes devices, whoever serves them.

use ublk::ctrl::{Command, Control, CtrlError};

use crate::cli::DelArgs;
use crate::exit::Failure;
use crate::{devices, out};

/// Deletes each device, and goes on where one fails. Exits with the first failure.
pub(crate) fn run(args: &DelArgs) -> Result<(), Failure> {
    let mut control = Control::open().map_err(|error| Failure::driver(&error))?;
    let ids = if args.all { devices::ids() } else { args.ids.clone() };
    let mut first = None;
    for id in ids {
        match control.call(Command::DelDev { dev_id: id }, args.timeout) {
            Ok(_) => out::line(&format!("deleted {id}"))?,
            // With --all, one that went meanwhile is one less to delete.
            Err(error) if args.all && error.errno() == Some(libc::ENODEV) => {}
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

fn explain(error: &CtrlError) -> Failure {
    let failure = Failure::control(error);
    match error {
        CtrlError::Timeout { .. } => {
            failure.with_hint("it goes when its server has ended and nobody has its disk open")
        }
        _ => failure,
    }
}
