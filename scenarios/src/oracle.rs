//! The reference: a file that is what the device should be, and the comparison with it.
//!
//! The reference starts as zeros, as a fresh device does. The seed project spent a month on a "data
//! corruption" that was a reference file that did not.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use md5::{Digest, Md5};
use reports::event::FailureKind;

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::signature::{SECTOR_BYTES, first_difference};

const CHUNK_BYTES: usize = 1 << 20;

/// What the device should hold.
#[derive(Debug)]
pub struct Reference {
    file: File,
    path: PathBuf,
    size_bytes: u64,
}

impl Reference {
    /// A reference of `size_bytes` zeros, in a file of its own under `/tmp`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn zeros(name: &str, size_bytes: u64) -> Result<Self, Stop> {
        let path = std::env::temp_dir().join(format!("reference-{name}-{}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .during(format_args!("create {}", path.display()))?;
        file.set_len(size_bytes).during("size the reference")?;
        Ok(Self { file, path, size_bytes })
    }

    /// Takes over what was written to the device.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), Stop> {
        self.file.write_all_at(bytes, offset_bytes).during("write the reference")
    }

    /// What should be at `offset_bytes`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, offset_bytes: u64, bytes: &mut [u8]) -> Result<(), Stop> {
        self.file.read_exact_at(bytes, offset_bytes).during("read the reference")
    }

    /// Its file, which goes with it.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Size in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Compares the MD5 of the whole device with the reference's. On a difference the first wrong sector
    /// is told. Returns the MD5, for the report.
    ///
    /// # Errors
    /// [`FailureKind::DataMismatch`] when they differ; [`FailureKind::Operation`] when the device cannot
    /// be read.
    pub fn check_device(
        &self,
        context: &mut Context,
        device: &BlockDevice,
        when: &str,
    ) -> Result<String, Stop> {
        let size = device.size_bytes()?;
        context.check_eq(FailureKind::State, "size of the device", &size, &self.size_bytes)?;
        let mut observed_md5 = Md5::new();
        let mut expected_md5 = Md5::new();
        let mut difference = None;
        let mut observed = AlignedBuffer::zeroed(CHUNK_BYTES);
        let mut expected = vec![0; CHUNK_BYTES];
        for offset in (0..self.size_bytes).step_by(CHUNK_BYTES) {
            let len =
                CHUNK_BYTES.min(usize::try_from(self.size_bytes - offset).unwrap_or(CHUNK_BYTES));
            let (got, want) = (&mut observed[..len], &mut expected[..len]);
            device.read_at(offset, got).map_err(|error| {
                Stop::fail(
                    FailureKind::Operation,
                    format_args!("{when}: cannot read {len} bytes at {offset}: {error}"),
                )
            })?;
            self.read(offset, want)?;
            observed_md5.update(&*got);
            expected_md5.update(&*want);
            difference =
                difference.or_else(|| first_difference(offset / SECTOR_BYTES as u64, got, want));
        }
        let (observed, expected) = (hex(&observed_md5.finalize()), hex(&expected_md5.finalize()));
        let told = difference.unwrap_or_else(|| "no sector differs".into());
        context.check(
            FailureKind::DataMismatch,
            format_args!(
                "{when}: MD5 of the device {observed} is the reference's {expected}; {told}"
            ),
            observed == expected,
        )?;
        Ok(observed)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
