//! The shortest useful server: a ramdisk, in safe code. `cargo run --example ramdisk`, as root.

use std::io;
use std::sync::{PoisonError, RwLock};

use ublk::server::Server;
use ublk::target::Target;

struct Ramdisk {
    bytes: RwLock<Vec<u8>>,
    size_bytes: u64,
}

impl Target for Ramdisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        buffer.copy_from_slice(&bytes[offset_bytes as usize..][..buffer.len()]);
        Ok(())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], _fua: bool) -> io::Result<()> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        bytes[offset_bytes as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size_bytes = 64 << 20;
    let disk = Ramdisk { bytes: RwLock::new(vec![0; size_bytes as usize]), size_bytes };
    let server = Server::builder(disk).start()?;
    println!("serving {}; press Enter to stop", server.block_device_path().display());
    io::stdin().read_line(&mut String::new())?;
    // Dropping the server stops and deletes the device.
    Ok(())
}
