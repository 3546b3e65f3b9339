//! Device numbers, which the driver fills in: the one group that can only be read.

use crate::uapi::{ParamTypes, Params};

/// Numbers of a device's nodes, for those who make the nodes themselves. Available since Linux 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNumbers {
    /// Major and minor of `/dev/ublkcN`.
    pub char_device: (u32, u32),
    /// Major and minor of `/dev/ublkbN`; `None` while there is no disk.
    pub disk: Option<(u32, u32)>,
}

impl DeviceNumbers {
    /// From what GET_PARAMS returned; `None` for parameters that did not come from there.
    #[must_use]
    pub fn from_params(params: &Params) -> Option<Self> {
        if !params.types.contains(ParamTypes::DEVT) {
            return None;
        }
        let devt = params.devt;
        let disk = (devt.disk_major, devt.disk_minor);
        Some(Self {
            char_device: (devt.char_major, devt.char_minor),
            disk: (disk != (0, 0)).then_some(disk),
        })
    }
}
