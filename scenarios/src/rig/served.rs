//! Our server inside the scenario's own process, for what only an insider can see.

use std::io;

use reports::event::FailureKind;
use ublk::server::{Server, ServerBuilder};
use ublk::target::{Capabilities, RamTarget, Target};

use crate::context::{Context, Stop};

/// Starts a server in this process.
///
/// # Errors
/// When it does not get live.
pub fn served(context: &mut Context, builder: ServerBuilder) -> Result<Server, Stop> {
    let server = builder
        .start_timeout(context.command_timeout() * 2)
        .start()
        .map_err(|error| Stop::fail(FailureKind::Operation, error))?;
    context.step(format_args!("{} is live", server.block_device_path().display()));
    Ok(server)
}

/// Stops it and checks that its nodes are gone.
///
/// # Errors
/// When it does not stop in time or a node stays.
pub fn stop_served(context: &mut Context, server: Server) -> Result<(), Stop> {
    let id = server.info().dev_id;
    server
        .stop(context.command_timeout() * 2)
        .map_err(|error| Stop::fail(FailureKind::Operation, error))?;
    crate::process::check_no_nodes(context, id)
}

/// A ramdisk with three sore spots.
#[derive(Debug)]
pub struct Touchy {
    ram: RamTarget,
}

impl Touchy {
    /// Reads from here are EIO.
    pub const EIO_AT: u64 = 1 << 20;
    /// Reads from here panic.
    pub const PANIC_AT: u64 = 2 << 20;
    /// Reads from here are ENOSPC.
    pub const ENOSPC_AT: u64 = 3 << 20;

    /// A disk of `size_bytes`.
    ///
    /// # Errors
    /// When the size is none.
    pub fn new(size_bytes: u64) -> Result<Self, Stop> {
        let ram = RamTarget::new(size_bytes).map_err(Stop::error)?;
        Ok(Self { ram })
    }
}

impl Target for Touchy {
    fn size_bytes(&self) -> u64 {
        self.ram.size_bytes()
    }

    fn capabilities(&self) -> Capabilities {
        self.ram.capabilities()
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        match offset_bytes {
            Self::EIO_AT => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            Self::PANIC_AT => panic!("the target panics, as the scenario wants it to"),
            Self::ENOSPC_AT => Err(io::Error::from_raw_os_error(nix::libc::ENOSPC)),
            _ => self.ram.read(offset_bytes, buffer),
        }
    }

    fn write(&self, offset_bytes: u64, buffer: &[u8], fua: bool) -> io::Result<()> {
        self.ram.write(offset_bytes, buffer, fua)
    }
}
