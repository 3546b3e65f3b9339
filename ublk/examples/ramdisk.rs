//! The shortest useful server, and its tests: the README shows this file, and a test sees to that.
//! `cargo run --example ramdisk`, as root; `cargo test --example ramdisk`, as anybody.

use std::io;
use std::sync::{PoisonError, RwLock};

use ublk::server::Server;
use ublk::target::Target;

struct Ramdisk(RwLock<Vec<u8>>);

impl Target for Ramdisk {
    fn size_bytes(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        buffer.copy_from_slice(&bytes[offset_bytes as usize..][..buffer.len()]);
        Ok(())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], _fua: bool) -> io::Result<()> {
        let mut bytes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        bytes[offset_bytes as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let disk = Ramdisk(RwLock::new(vec![0; 64 << 20]));
    let server = Server::builder(disk).start()?;
    println!("serving {}; press Enter to stop", server.block_device_path().display());
    io::stdin().read_line(&mut String::new())?;
    // Dropping the server stops and deletes the device.
    Ok(())
}

#[cfg(test)]
mod tests {
    use ublk::testing::{Disk, Request};

    use super::*;

    #[test]
    fn what_was_written_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let disk = Disk::new(Ramdisk(RwLock::new(vec![0; 1 << 20])))?;
        disk.write(4096, &[7; 8192])?;
        let mut back = [0; 512];
        disk.read(8192, &mut back)?;
        assert_eq!(back, [7; 512]);
        // Many at once, too; and what a device with this target would never be asked is refused.
        let answers = disk.submit(&[Request::write(0, [1; 512]), Request::read(0, 4096)])?;
        assert!(answers.iter().all(|answer| answer.result.is_ok()));
        assert!(disk.discard(0, 4096).is_err(), "it does not say that it can");
        Ok(())
    }
}
