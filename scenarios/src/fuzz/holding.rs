//! Who holds a char device, as a model: it is busy as long as somebody does, however; and a device that is deleted goes with the
//! last of them.

use nix::libc::{EBUSY, ENODEV, ENOENT, ENXIO};

use super::act::{Act, Hold};
use super::allowed::Allowed;

/// The holders of one device. The first is its server.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    alive: Vec<bool>,
    pub(super) deleted: bool,
}

impl Holding {
    /// Of a device whose server has it open, or not.
    pub(super) fn new(open: bool) -> Self {
        Self { alive: vec![open], deleted: false }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.alive.contains(&true)
    }

    /// What an open is answered.
    pub(super) fn opening(&self) -> Allowed {
        match (self.is_busy(), self.deleted) {
            // The node goes before the device does, and after DEL_DEV was sent.
            (true, true) => Allowed::only(&[EBUSY, ENOENT, ENXIO, ENODEV]),
            (false, true) => Allowed::done_or(&[EBUSY, ENOENT, ENXIO, ENODEV]),
            (true, false) => Allowed::only(&[EBUSY]),
            (false, false) => Allowed::done(),
        }
    }

    /// What the result of an act may be; none where it is not about holders.
    pub(super) fn expect(&self, act: &Act) -> Option<Allowed> {
        match act {
            Act::Hold { how: Hold::Open } => Some(self.opening()),
            Act::Hold { .. } | Act::Release { .. } => Some(Allowed::done()),
            _ => None,
        }
    }

    /// Takes in what was done.
    pub(super) fn done(&mut self, act: &Act) {
        match act {
            Act::Hold { .. } => self.alive.push(true),
            Act::Release { which } => {
                if let Some(holder) = self.alive.get_mut(usize::from(*which)) {
                    *holder = false;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_busy_as_long_as_one_holds_it() {
        let mut holding = Holding::new(true);
        assert_eq!(holding.opening(), Allowed::only(&[EBUSY]));
        holding.done(&Act::Hold { how: Hold::Fork });
        holding.done(&Act::Release { which: 0 });
        assert!(holding.is_busy());
        holding.done(&Act::Release { which: 1 });
        assert_eq!(holding.opening(), Allowed::done());
        holding.done(&Act::Hold { how: Hold::Dup });
        holding.deleted = true;
        assert!(!holding.opening().done);
    }
}
