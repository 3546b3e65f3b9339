//! To come.
use rand::Rng;

use super::super::act::Act;

pub(super) fn act(_: &mut impl Rng) -> Act {
    Act::Serve
}
