//! Zeroes aligned to a page, for O_DIRECT asks that of memory as well.

use std::ops::{Deref, DerefMut};

const BYTES: usize = 64 << 10;

/// A page-aligned buffer.
#[repr(C, align(4096))]
pub(super) struct Aligned([u8; BYTES]);

static ZEROES: Aligned = Aligned([0; BYTES]);

impl Aligned {
    /// The zeroes.
    pub(super) fn zeroes() -> &'static Self {
        &ZEROES
    }

    /// A buffer of one's own.
    pub(super) fn boxed() -> Box<Self> {
        Box::new(Self([0; BYTES]))
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
