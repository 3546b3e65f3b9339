//! Regressions made on purpose, so that it is known and not hoped that the gate sees them. Each is an insertion behind a
//! line of the hot path.

use crate::cli::Plant;
use crate::edit::{Edit, Put};

/// Where a request is carried out: once for each I/O, in every mode.
const EXECUTE: &str = "ublk/src/queue/execute.rs";
const IN_EXECUTE: &str =
    "let Some(offset) = descriptor.offset_bytes() else { return (-libc::EIO).into() };";
/// Where a request is taken in, with the ring at hand.
const WORKER: &str = "ublk/src/queue/worker.rs";
const IN_WORKER: &str =
    "pub(super) fn begin(&mut self, slot: u32) -> Result<Option<Descriptor>, QueueError> {";

impl Plant {
    /// What is planted.
    pub(crate) const fn edit(self) -> Edit {
        let (file, at, line) = match self {
            // Four instructions a turn; a count that the compiler knows would be unrolled to one.
            Self::Delay => (
                EXECUTE,
                IN_EXECUTE,
                "for turn in 0..std::hint::black_box(50_u32) { std::hint::black_box(turn); }",
            ),
            Self::Enter => (WORKER, IN_WORKER, "self.port.submit_and_wait(0).ok();"),
            Self::Allocation => {
                (EXECUTE, IN_EXECUTE, "drop(std::hint::black_box(Box::new(offset)));")
            }
        };
        Edit { file, at, put: Put::Behind(line) }
    }

    /// A name for a folder.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Enter => "enter",
            Self::Allocation => "allocation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plant_has_its_place_in_this_tree() {
        for plant in [Plant::Delay, Plant::Enter, Plant::Allocation] {
            let path = crate::workspace::root().join(plant.edit().file);
            plant.edit().apply(&std::fs::read_to_string(path).unwrap()).unwrap();
        }
    }
}
