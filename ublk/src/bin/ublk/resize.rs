//! `ublk resize`: asks a live server for another size. The kernel alone would give the disk an end without storage.

use std::io;

use ublk::server::{Request, ask, request_path, socket_path};

use crate::cli::ResizeArgs;
use crate::exit::Failure;
use crate::{out, size};

/// Asks the server and says what it did.
pub(crate) fn run(args: &ResizeArgs) -> Result<(), Failure> {
    let ResizeArgs { id, size: size_bytes, .. } = *args;
    let path = request_path(&args.socket.clone().unwrap_or_else(|| socket_path(id)));
    ask(&path, &Request::Resize { size_bytes }).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let message = format!("no server of device {id} takes requests at {}", path.display());
            Failure::failed(message).with_hint("--socket as it was given to `ublk add`")
        }
        _ => Failure::failed(error),
    })?;
    out::line(&format!("resized {id} to {}", size::format(size_bytes)))
}
