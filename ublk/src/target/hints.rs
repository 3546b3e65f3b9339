//! What the sender of a request says about it beside what it asks for. Nothing has to follow from it, and so it is no
//! argument that every target would have to name; but a target that retries, caches or goes over a network can do better
//! when it knows.

use crate::uapi::IoFlags;

/// Advice that comes with a request. Available since Linux 6.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints(IoFlags);

impl Hints {
    /// Every flag that is advice.
    pub const ALL: IoFlags = IoFlags::FAILFAST_DEV
        .union(IoFlags::FAILFAST_TRANSPORT)
        .union(IoFlags::FAILFAST_DRIVER)
        .union(IoFlags::META)
        .union(IoFlags::SWAP);

    /// The advice among a request's flags; the others are left out.
    #[must_use]
    pub const fn new(flags: IoFlags) -> Self {
        Self(IoFlags::from_bits(flags.bits() & Self::ALL.bits()))
    }

    /// All of it, as the kernel has it.
    #[must_use]
    pub const fn flags(self) -> IoFlags {
        self.0
    }

    /// Rather an error than another attempt: the sender has another way, or no need, as for what is read ahead. Which
    /// kind of error was meant, the device's, its transport's or its driver's, is in [`flags`](Self::flags).
    #[must_use]
    pub fn fail_fast(self) -> bool {
        let kinds = IoFlags::FAILFAST_DEV | IoFlags::FAILFAST_TRANSPORT | IoFlags::FAILFAST_DRIVER;
        self.0.intersects(kinds)
    }

    /// It is a file system's own metadata, for which others wait.
    #[must_use]
    pub fn is_metadata(self) -> bool {
        self.0.contains(IoFlags::META)
    }

    /// It is memory that is swapped out or in: what allocates memory to serve it may wait for itself.
    #[must_use]
    pub fn is_swap(self) -> bool {
        self.0.contains(IoFlags::SWAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_told_from_orders() {
        let orders = IoFlags::FUA | IoFlags::NOUNMAP | IoFlags::INTEGRITY | IoFlags::SHMEM_ZC;
        assert_eq!(Hints::new(orders), Hints::default());
        let hints = Hints::new(orders | IoFlags::META);
        assert!(hints.is_metadata() && !hints.is_swap() && !hints.fail_fast());
        assert_eq!(hints.flags(), IoFlags::META);
        assert!(Hints::new(IoFlags::SWAP).is_swap());
        for kind in [IoFlags::FAILFAST_DEV, IoFlags::FAILFAST_TRANSPORT, IoFlags::FAILFAST_DRIVER] {
            assert!(Hints::new(kind).fail_fast());
        }
    }
}
