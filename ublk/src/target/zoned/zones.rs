//! The write pointers and conditions of all zones, and the rules by which they change. The rules are those
//! of ZBC and ZNS, and where these differ, those of the kernel's own null_blk.

use std::io;
use std::ops::Range;

use crate::target::{Zone, ZoneCondition, ZoneGeometry};

/// What a request gets that breaks the rules of its zone.
pub(super) fn broken_rule() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

#[derive(Clone, Copy, Debug)]
struct State {
    condition: ZoneCondition,
    /// Bytes from the start of the zone.
    written: u64,
}

/// All zones of a disk.
#[derive(Debug)]
pub(super) struct Zones {
    states: Vec<State>,
    conventional: usize,
    geometry: ZoneGeometry,
    /// How many are implicitly open, explicitly open, closed.
    implicit: u32,
    explicit: u32,
    closed: u32,
}

impl Zones {
    pub(super) fn new(zones: usize, conventional: u32, geometry: ZoneGeometry) -> Self {
        let conventional = conventional as usize;
        let state = |number| State {
            condition: if number < conventional {
                ZoneCondition::NotWritePointer
            } else {
                ZoneCondition::Empty
            },
            written: 0,
        };
        let states = (0..zones).map(state).collect();
        Self { states, conventional, geometry, implicit: 0, explicit: 0, closed: 0 }
    }

    pub(super) fn describe(&self, number: usize) -> Zone {
        let State { condition, written } = self.states[number];
        Zone {
            write_pointer_bytes: number as u64 * self.geometry.zone_bytes + written,
            capacity_bytes: self.geometry.zone_bytes,
            condition,
        }
    }

    /// The zones that have a write pointer.
    pub(super) fn sequential(&self) -> Range<usize> {
        self.conventional..self.states.len()
    }

    /// Checks that a write may go there, and opens its zone for it.
    pub(super) fn prepare_write(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let zone_bytes = self.geometry.zone_bytes;
        let (number, inside) = ((offset / zone_bytes) as usize, offset % zone_bytes);
        let state = self.states.get(number).copied().ok_or_else(broken_rule)?;
        if len > zone_bytes - inside {
            return Err(broken_rule());
        }
        match state.condition {
            ZoneCondition::NotWritePointer => Ok(()),
            _ if inside != state.written => Err(broken_rule()),
            ZoneCondition::ImplicitOpen | ZoneCondition::ExplicitOpen => Ok(()),
            _ => self.make_open(number, ZoneCondition::ImplicitOpen),
        }
    }

    /// Moves the write pointer over what was written.
    pub(super) fn advance(&mut self, offset: u64, len: u64) {
        let number = (offset / self.geometry.zone_bytes) as usize;
        if self.states[number].condition == ZoneCondition::NotWritePointer {
            return;
        }
        self.states[number].written += len;
        if self.states[number].written == self.geometry.zone_bytes {
            self.set(number, ZoneCondition::Full);
        }
    }

    pub(super) fn open(&mut self, number: usize) -> io::Result<()> {
        match self.states[number].condition {
            ZoneCondition::ExplicitOpen => Ok(()),
            ZoneCondition::ImplicitOpen => {
                self.set(number, ZoneCondition::ExplicitOpen);
                Ok(())
            }
            _ => self.make_open(number, ZoneCondition::ExplicitOpen),
        }
    }

    pub(super) fn close(&mut self, number: usize) -> io::Result<()> {
        match self.states[number].condition {
            ZoneCondition::Closed => Ok(()),
            ZoneCondition::ImplicitOpen | ZoneCondition::ExplicitOpen => {
                self.put_aside(number);
                Ok(())
            }
            _ => Err(broken_rule()),
        }
    }

    pub(super) fn finish(&mut self, number: usize) -> io::Result<()> {
        match self.states[number].condition {
            ZoneCondition::Full => return Ok(()),
            // It needs a place for the moment in which it is being finished.
            ZoneCondition::Empty | ZoneCondition::Closed => {
                self.make_open(number, ZoneCondition::ImplicitOpen)?;
            }
            ZoneCondition::ImplicitOpen | ZoneCondition::ExplicitOpen => {}
            _ => return Err(broken_rule()),
        }
        self.states[number].written = self.geometry.zone_bytes;
        self.set(number, ZoneCondition::Full);
        Ok(())
    }

    pub(super) fn reset(&mut self, number: usize) -> io::Result<()> {
        if self.states[number].condition == ZoneCondition::NotWritePointer {
            return Err(broken_rule());
        }
        self.states[number].written = 0;
        self.set(number, ZoneCondition::Empty);
        Ok(())
    }

    /// Opens an empty or closed zone, if the limits allow it.
    fn make_open(&mut self, number: usize, condition: ZoneCondition) -> io::Result<()> {
        let ZoneGeometry { max_open_zones, max_active_zones, .. } = self.geometry;
        let (open, active) =
            (self.implicit + self.explicit, self.implicit + self.explicit + self.closed);
        match self.states[number].condition {
            ZoneCondition::Empty if max_active_zones != 0 && active >= max_active_zones => {
                return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
            }
            ZoneCondition::Empty | ZoneCondition::Closed => {}
            _ => return Err(broken_rule()),
        }
        if max_open_zones != 0 && open >= max_open_zones {
            // What was opened by a mere write has to make room.
            let implicit =
                self.states.iter().position(|s| s.condition == ZoneCondition::ImplicitOpen);
            let Some(implicit) = implicit else {
                return Err(io::Error::from_raw_os_error(libc::ETOOMANYREFS));
            };
            self.put_aside(implicit);
        }
        self.set(number, condition);
        Ok(())
    }

    /// Closes an open zone. One without a byte is simply empty again.
    fn put_aside(&mut self, number: usize) {
        let empty = self.states[number].written == 0;
        self.set(number, if empty { ZoneCondition::Empty } else { ZoneCondition::Closed });
    }

    fn set(&mut self, number: usize, condition: ZoneCondition) {
        let before = std::mem::replace(&mut self.states[number].condition, condition);
        if let Some(count) = self.count_of(before) {
            *count -= 1;
        }
        if let Some(count) = self.count_of(condition) {
            *count += 1;
        }
    }

    fn count_of(&mut self, condition: ZoneCondition) -> Option<&mut u32> {
        match condition {
            ZoneCondition::ImplicitOpen => Some(&mut self.implicit),
            ZoneCondition::ExplicitOpen => Some(&mut self.explicit),
            ZoneCondition::Closed => Some(&mut self.closed),
            _ => None,
        }
    }
}
