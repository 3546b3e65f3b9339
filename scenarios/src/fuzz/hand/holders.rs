//! Ways of holding the char device open.

use super::super::act::Act;
use super::device::Own;
use super::{Problem, Reply};

/// Who holds it.
#[derive(Default)]
pub(super) struct Holders {}

impl Holders {
    pub(super) fn obey(&mut self, _: &mut Own, _: &Act) -> Result<Option<Reply>, Problem> {
        Ok(None)
    }
}
