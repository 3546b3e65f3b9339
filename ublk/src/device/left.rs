//! Devices that nobody serves: what a crashed server leaves. The kernel does not list them as such; a device that was
//! just added looks the same for a moment, and deleting that one would take it from under its server.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::CharDevice;
use super::core::failed;
use super::error::{DeviceError, Step};
use crate::ctrl::{Control, char_path};
use crate::uapi::DevState;

/// A server that has added a device opens it well within that.
const GRACE: Duration = Duration::from_secs(1);

/// A device without a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The device.
    pub id: u32,
    /// [`DevState::Dead`] for one that nobody can serve again, else one that can be taken over.
    pub state: DevState,
}

impl Left {
    /// Whether another server could take it over.
    pub fn is_recoverable(&self) -> bool {
        matches!(self.state, DevState::Quiesced | DevState::FailIo)
    }
}

/// Those of the devices that nobody serves, neither now nor a second later. Devices that went meanwhile are not
/// among them.
///
/// # Errors
/// [`DeviceError::Open`] for a device whose node this user may not open, so that nothing can be said about it.
pub fn find_left(control: &mut Control, ids: &[u32]) -> Result<Vec<Left>, DeviceError> {
    let mut look = |ids: &[u32]| -> Result<Vec<Left>, DeviceError> {
        let looked = ids.iter().map(|id| look_at(control, *id));
        looked.filter_map(Result::transpose).collect()
    };
    let first = look(ids)?;
    if first.is_empty() {
        return Ok(first);
    }
    sleep(GRACE);
    let still: Vec<u32> = first.iter().map(|left| left.id).collect();
    let second = look(&still)?;
    Ok(second.into_iter().filter(|left| first.contains(left)).collect())
}

fn look_at(control: &mut Control, id: u32) -> Result<Option<Left>, DeviceError> {
    let info = match control.address(id) {
        Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(None),
        found => found.map_err(failed(Step::Inspect))?,
    };
    let state = info.state();
    if state == DevState::Live {
        return Ok(None);
    }
    // Only one process can have it open, so this tells whether one has; from outside of a container, too.
    match CharDevice::open(id, Duration::ZERO) {
        Ok(_) => Ok(Some(Left { id, state })),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(None),
        // Deleted meanwhile; or without a node, and then without a server.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Left { id, state })),
        Err(source) => {
            Err(DeviceError::Open { path: char_path(id), timeout: Duration::ZERO, source })
        }
    }
}
