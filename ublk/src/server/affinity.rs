//! Where the threads of a server run.

use crate::queue::QueueTicket;

/// The CPUs that threads are bound to. Memory comes from the node of the CPU that touches it first, which is the
/// thread's own: a thread that stays near its queue's CPUs has its buffers there, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// Each thread to the CPUs whose requests its queues get, as far as the process may run there; not bound where it
    /// has a share of every queue.
    #[default]
    Queues,
    /// None: the scheduler decides.
    Anywhere,
    /// All threads to these. A start fails where the process may run on none of them.
    Cpus(Vec<u32>),
}

impl Affinity {
    /// Tells a ticket, before its thread opens it.
    pub(super) fn apply(&self, ticket: QueueTicket) -> QueueTicket {
        match self {
            Self::Queues => ticket,
            Self::Anywhere => ticket.unpinned(),
            Self::Cpus(cpus) => ticket.pinned_to(cpus),
        }
    }
}
