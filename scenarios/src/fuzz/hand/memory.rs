//! Mappings of the char device at any place, and what can be done to them; positional reads and writes of it.

use super::super::act::Act;
use super::device::Own;
use super::{Problem, Reply};

/// Mappings, the last one made last.
#[derive(Default)]
pub(super) struct Maps {}

impl Maps {
    pub(super) fn obey(&mut self, _: &mut Own, _: &Act) -> Result<Option<Reply>, Problem> {
        Ok(None)
    }
}
