//! How a queue that waits in the kernel is told to end although its device does not: a pipe whose
//! writing end is closed. Every ring watches the reading end; idle, that costs nothing.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

/// One switch for all queues of a device. Cut once, it stays cut.
#[derive(Debug)]
pub struct KillSwitch {
    reader: PipeReader,
    writer: Mutex<Option<PipeWriter>>,
}

impl KillSwitch {
    /// An uncut switch.
    ///
    /// # Errors
    /// What pipe(2) says.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer: Mutex::new(Some(writer)) })
    }

    /// Ends every queue that watches, now and later.
    pub fn cut(&self) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Hung up once the switch is cut.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
