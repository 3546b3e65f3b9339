//! Faults of the requests that come with metadata.

use std::io;

use super::{FaultTarget, Spoil, invert};
use crate::target::{IntegrityOptions, IntegrityTarget, Op, Target};

impl<T: Target> FaultTarget<T> {
    fn integrity_below(&self) -> io::Result<&dyn IntegrityTarget> {
        self.inner.integrity().ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }
}

/// Which byte it is, by the dice.
fn place(dice: u64, metadata: &[u8]) -> u64 {
    dice.checked_rem(metadata.len() as u64).unwrap_or(0)
}

/// The door is shown only where the target below has it.
impl<T: Target> IntegrityTarget for FaultTarget<T> {
    fn options(&self) -> IntegrityOptions {
        self.inner.integrity().map(IntegrityTarget::options).unwrap_or_default()
    }

    fn read_with_metadata(
        &self,
        offset_bytes: u64,
        data: &mut [u8],
        metadata: &mut [u8],
    ) -> io::Result<()> {
        let spoil = self.before(Op::Read, offset_bytes, data.len() as u64)?;
        self.integrity_below()?.read_with_metadata(offset_bytes, data, metadata)?;
        if let Some(at) = spoil.flip {
            invert(data, at);
        }
        if let Some(dice) = spoil.flip_metadata {
            let at = place(dice, metadata);
            invert(metadata, at);
        }
        Ok(())
    }

    /// A short write keeps the metadata of what it keeps.
    fn write_with_metadata(
        &self,
        offset_bytes: u64,
        data: &[u8],
        metadata: &[u8],
        fua: bool,
    ) -> io::Result<()> {
        let below = self.integrity_below()?;
        let Spoil { flip, flip_metadata, keep_bytes } =
            self.before(Op::Write, offset_bytes, data.len() as u64)?;
        let kept = keep_bytes.map_or(data.len(), |bytes| data.len().min(bytes as usize));
        let kept_metadata = below.options().metadata_len_bytes(kept as u64) as usize;
        let metadata = metadata.get(..kept_metadata).unwrap_or(metadata);
        if flip.is_none() && flip_metadata.is_none() {
            return below.write_with_metadata(offset_bytes, &data[..kept], metadata, fua);
        }
        let (mut data, mut metadata) = (data[..kept].to_vec(), metadata.to_vec());
        if let Some(at) = flip {
            invert(&mut data, at);
        }
        if let Some(dice) = flip_metadata {
            let at = place(dice, &metadata);
            invert(&mut metadata, at);
        }
        below.write_with_metadata(offset_bytes, &data, &metadata, fua)
    }
}
