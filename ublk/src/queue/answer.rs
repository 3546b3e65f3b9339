//! What a request is answered with.

/// The end of a request, in the kernel's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Bytes done, or a negative errno.
    pub result: i32,
    /// Where a zone append was put, in sectors from the start of the device; 0 for everything else.
    pub append_sector: u64,
}

impl Answer {
    /// An error, by its positive errno.
    pub const fn error(errno: i32) -> Self {
        Self { result: -errno, append_sector: 0 }
    }
}

impl From<i32> for Answer {
    fn from(result: i32) -> Self {
        Self { result, append_sector: 0 }
    }
}
