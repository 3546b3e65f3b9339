//! The seam between the logic of a queue and what carries it: the kernel, or a double in tests.

use std::io;

use super::Completion;
use crate::sys::desc::DescArea;
use crate::sys::queue_ring::QueueRing;
use crate::tag::Command;
use crate::uapi::IoDesc;

/// What a [`Queue`](super::Queue) needs below it.
pub trait Port {
    /// Queues a command for the next submission.
    ///
    /// # Errors
    /// As the ring says.
    fn push(&mut self, tag: u16, command: Command) -> io::Result<()>;

    /// Submits what is queued and waits for `want` completions.
    ///
    /// # Errors
    /// As the ring says.
    fn submit_and_wait(&mut self, want: u32) -> io::Result<()>;

    /// The next completion that is there.
    fn next_completion(&mut self) -> Option<Completion>;

    /// A copy of a tag's descriptor. Meant only between its completion and its commit.
    fn descriptor(&mut self, tag: u16) -> IoDesc;

    /// A tag's buffer; none while the kernel has it, or where it is shorter than `len_bytes`.
    fn buffer(&mut self, tag: u16, len_bytes: usize) -> Option<&mut [u8]>;

    /// How often the kernel was entered.
    fn enters(&self) -> u64;
}

/// A queue of a real device.
#[derive(Debug)]
pub struct KernelPort {
    pub(super) ring: QueueRing,
    pub(super) descriptors: DescArea,
}

impl Port for KernelPort {
    fn push(&mut self, tag: u16, command: Command) -> io::Result<()> {
        self.ring.push(tag, command)
    }

    fn submit_and_wait(&mut self, want: u32) -> io::Result<()> {
        self.ring.submit_and_wait(want)
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.ring.next_completion()
    }

    fn descriptor(&mut self, tag: u16) -> IoDesc {
        self.descriptors.copy_out(tag)
    }

    fn buffer(&mut self, tag: u16, len_bytes: usize) -> Option<&mut [u8]> {
        self.ring.buffer(tag, len_bytes)
    }

    fn enters(&self) -> u64 {
        self.ring.enters()
    }
}
