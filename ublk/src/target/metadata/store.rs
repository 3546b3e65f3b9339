//! Where the metadata lies, as bytes: inverted where all ones shall be what an empty store reads as.

use std::io;

use crate::target::Target;

/// What is inverted at once, on the stack: a write's metadata is not ours to change.
const CHUNK_BYTES: usize = 1024;

/// A target for metadata.
#[derive(Debug)]
pub(super) struct Store<M> {
    pub(super) target: M,
    pub(super) inverted: bool,
}

fn invert(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

impl<M: Target> Store<M> {
    pub(super) fn load(&self, offset: u64, metadata: &mut [u8]) -> io::Result<()> {
        self.target.read(offset, metadata)?;
        if self.inverted {
            invert(metadata);
        }
        Ok(())
    }

    pub(super) fn store(&self, offset: u64, metadata: &[u8], fua: bool) -> io::Result<()> {
        let fua = fua && self.target.capabilities().fua;
        if !self.inverted {
            return self.target.write(offset, metadata, fua);
        }
        let mut at = offset;
        for chunk in metadata.chunks(CHUNK_BYTES) {
            let mut inverted = [0; CHUNK_BYTES];
            let inverted = &mut inverted[..chunk.len()];
            inverted.copy_from_slice(chunk);
            invert(inverted);
            self.target.write(at, inverted, fua)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    /// Makes a range what it was before anything was stored there.
    pub(super) fn forget(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        if self.target.capabilities().write_zeroes {
            return self.target.write_zeroes(offset, len, true);
        }
        let mut done = 0;
        while done < len {
            let now = (len - done).min(CHUNK_BYTES as u64);
            self.target.write(offset + done, &[0; CHUNK_BYTES][..now as usize], false)?;
            done += now;
        }
        Ok(())
    }
}
