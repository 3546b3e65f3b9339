//! Faults of the requests that only a device with zones gets.

use std::io;

use super::{FaultTarget, invert};
use crate::target::{Op, Target, Zone, ZoneAction, ZoneGeometry, ZonedTarget};

impl<T: Target> FaultTarget<T> {
    fn zones(&self) -> io::Result<&dyn ZonedTarget> {
        self.inner.zoned().ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }
}

/// The door is shown only where the target below has it.
impl<T: Target> ZonedTarget for FaultTarget<T> {
    fn geometry(&self) -> ZoneGeometry {
        self.inner.zoned().map(ZonedTarget::geometry).unwrap_or_default()
    }

    fn zone(&self, offset_bytes: u64) -> io::Result<Zone> {
        self.zones()?.zone(offset_bytes)
    }

    /// A report touches the sector it begins at: how far it reaches is for the reader to say.
    fn report(&self, offset_bytes: u64, zones: u32, each: &mut dyn FnMut(Zone)) -> io::Result<()> {
        self.before(Op::ReportZones, offset_bytes, 1)?;
        self.zones()?.report(offset_bytes, zones, each)
    }

    fn append(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<u64> {
        let spoil = self.before(Op::ZoneAppend, offset_bytes, data.len() as u64)?;
        let Some(at) = spoil.flip else {
            return self.zones()?.append(offset_bytes, data, fua);
        };
        let mut data = data.to_vec();
        invert(&mut data, at);
        self.zones()?.append(offset_bytes, &data, fua)
    }

    fn manage(&self, action: ZoneAction, offset_bytes: u64) -> io::Result<()> {
        let op = match action {
            ZoneAction::Open => Op::ZoneOpen,
            ZoneAction::Close => Op::ZoneClose,
            ZoneAction::Finish => Op::ZoneFinish,
            ZoneAction::Reset => Op::ZoneReset,
        };
        self.before(op, offset_bytes, 1)?;
        self.zones()?.manage(action, offset_bytes)
    }

    fn reset_all(&self) -> io::Result<()> {
        self.before(Op::ZoneResetAll, 0, self.size_bytes())?;
        self.zones()?.reset_all()
    }
}
