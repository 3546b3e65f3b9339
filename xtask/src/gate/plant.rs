//! Regressions made on purpose, so that it is known and not hoped that the gate sees them.
//!
//! Each is an insertion behind a line of the hot path, made in a copy of the tree. A line that is no longer
//! there, or there twice, is an error: a plant that plants nothing would prove the opposite.

use std::path::Path;

use crate::cli::Plant;
use crate::error::Error;

/// What is put behind which line of which file.
struct Edit {
    file: &'static str,
    behind: &'static str,
    insert: &'static str,
}

/// Where a request is carried out: once for each I/O, in every mode.
const EXECUTE: &str = "ublk/src/queue/execute.rs";
const IN_EXECUTE: &str =
    "let Some(offset) = descriptor.offset_bytes() else { return (-libc::EIO).into() };";
/// Where a request is taken in, with the ring at hand.
const WORKER: &str = "ublk/src/queue/worker.rs";
const IN_WORKER: &str =
    "pub(super) fn begin(&mut self, slot: u32) -> Result<Option<Descriptor>, QueueError> {";

impl Plant {
    const fn edit(self) -> Edit {
        match self {
            // Four instructions a turn; a count that the compiler knows would be unrolled to one.
            Self::Delay => Edit {
                file: EXECUTE,
                behind: IN_EXECUTE,
                insert: "for turn in 0..std::hint::black_box(50_u32) { std::hint::black_box(turn); }",
            },
            Self::Enter => Edit {
                file: WORKER,
                behind: IN_WORKER,
                insert: "self.port.submit_and_wait(0).ok();",
            },
            Self::Allocation => Edit {
                file: EXECUTE,
                behind: IN_EXECUTE,
                insert: "drop(std::hint::black_box(Box::new(offset)));",
            },
        }
    }

    /// A name for a folder.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Enter => "enter",
            Self::Allocation => "allocation",
        }
    }

    /// Which file is changed.
    pub(crate) const fn file(self) -> &'static str {
        self.edit().file
    }

    /// The file's text with the regression in it.
    pub(crate) fn apply(self, text: &str) -> Result<String, Error> {
        let Edit { file, behind, insert } = self.edit();
        match text.matches(behind).count() {
            1 => Ok(text.replace(behind, &format!("{behind}\n{insert}"))),
            count => Err(Error::failed(format!(
                "the line to plant behind is {count} times in {file}; mend xtask/src/gate/plant.rs"
            ))),
        }
    }
}

/// Reads a file and plants into it.
pub(crate) fn planted(root: &Path, plant: Plant) -> Result<String, Error> {
    let path = root.join(plant.file());
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::infrastructure(format!("cannot read {}: {error}", path.display()))
    })?;
    plant.apply(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plant_has_its_place_in_this_tree() {
        for plant in [Plant::Delay, Plant::Enter, Plant::Allocation] {
            let text = planted(&crate::workspace::root(), plant).unwrap();
            assert!(text.contains(plant.edit().insert));
        }
        assert!(Plant::Delay.apply("nothing of it").is_err());
    }
}
