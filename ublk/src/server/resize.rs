//! A live device of another size. Three have to agree: the target, which stores the bytes; the kernel, which sends
//! requests for them; and the parameters that are told to whoever asks. A control command alone would make a disk
//! whose new end fails, so the server does it, and others ask the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

use super::door::Door;
use crate::ctrl::{Command, Control, OpenError};
use crate::device::{DeviceError, Step};
use crate::uapi::{DevInfo, Features, Params, SECTOR_BYTES};

/// UPDATE_SIZE waits for nothing but the driver's lock.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a device kept its size.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResizeError {
    /// Not a size the disk can have.
    #[error(
        "{size_bytes} bytes are no size for the device: give a multiple of its logical block of {block_bytes} bytes"
    )]
    Unit {
        /// What was asked for.
        size_bytes: u64,
        /// The unit.
        block_bytes: u32,
    },
    /// The kernel is too old.
    #[error("this kernel cannot resize a live device: that came with Linux 6.16")]
    NotOffered,
    /// The target does not agree.
    #[error("the target cannot have {size_bytes} bytes: {source}")]
    Target {
        /// What was asked for.
        size_bytes: u64,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no way to the driver.
    #[error(transparent)]
    Driver(#[from] OpenError),
    /// The kernel refused. Where the disk was to grow the target has grown already, which harms nothing.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What it takes to resize a device, from any thread.
pub(super) struct Resizer {
    info: DevInfo,
    door: Arc<dyn Door>,
    params: Mutex<Params>,
}

impl Resizer {
    pub(super) fn new(info: DevInfo, door: Arc<dyn Door>, params: Params) -> Self {
        Self { info, door, params: Mutex::new(params) }
    }

    fn lock(&self) -> MutexGuard<'_, Params> {
        self.params.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parameters, with the size of now.
    pub(super) fn params(&self) -> Params {
        *self.lock()
    }

    pub(super) fn resize(&self, size_bytes: u64) -> Result<(), ResizeError> {
        // Held throughout: two resizes at once would leave target and kernel with different sizes.
        let mut params = self.lock();
        let block_bytes = 1 << params.basic.logical_bs_shift;
        if size_bytes == 0 || !size_bytes.is_multiple_of(u64::from(block_bytes)) {
            return Err(ResizeError::Unit { size_bytes, block_bytes });
        }
        let dev_sectors = size_bytes / SECTOR_BYTES;
        let mut control = self.control()?;
        // The disk is at no moment larger than the target.
        if dev_sectors > params.basic.dev_sectors {
            self.resize_target(size_bytes)?;
            self.update_kernel(&mut control, dev_sectors)?;
        } else {
            self.update_kernel(&mut control, dev_sectors)?;
            if let Err(error) = self.resize_target(size_bytes) {
                self.update_kernel(&mut control, params.basic.dev_sectors)?;
                return Err(error);
            }
        }
        params.basic.dev_sectors = dev_sectors;
        Ok(())
    }

    /// A client for this device, on a kernel that has the command: asked before anything is changed.
    fn control(&self) -> Result<Control, ResizeError> {
        let mut control = Control::open()?;
        let failed = |source| DeviceError::Control { step: Step::Features, source };
        let offered = control.get_features().map_err(failed)?;
        if !offered.contains(Features::UPDATE_SIZE) {
            return Err(ResizeError::NotOffered);
        }
        control.set_unprivileged(self.info.flags.contains(Features::UNPRIVILEGED_DEV));
        Ok(control)
    }

    fn resize_target(&self, size_bytes: u64) -> Result<(), ResizeError> {
        let done = self.door.target().resize(size_bytes);
        done.map_err(|source| ResizeError::Target { size_bytes, source })
    }

    fn update_kernel(&self, control: &mut Control, dev_sectors: u64) -> Result<(), ResizeError> {
        let command = Command::UpdateSize { dev_id: self.info.dev_id, dev_sectors };
        let updated = control.call(command, UPDATE_TIMEOUT);
        updated.map_err(|source| DeviceError::Control { step: Step::Resize, source })?;
        Ok(())
    }
}
