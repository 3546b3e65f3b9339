//! Both kinds of target behind one face, so that everything about a server but its threads' loop is the
//! same for both.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::queue::{QueueError, Worker};
use crate::target::{AsyncTarget, Capabilities, IntegrityOptions, IntegrityTarget, Target};

/// A target, and how a thread serves it.
pub(super) trait Door: Send + Sync {
    /// What it says about itself.
    fn target(&self) -> &dyn Target;

    /// Serves until the kernel has ended every tag.
    fn serve(&self, worker: &mut Worker) -> Result<(), QueueError>;
}

/// A target that answers when it is called.
pub(super) struct SyncDoor<T>(pub(super) T);

impl<T: Target> Door for SyncDoor<T> {
    fn target(&self) -> &dyn Target {
        &self.0
    }

    fn serve(&self, worker: &mut Worker) -> Result<(), QueueError> {
        worker.serve(&self.0)
    }
}

/// A target that may wait. As a [`Target`] it has a description, and no bytes.
pub(super) struct AsyncDoor<T>(pub(super) T);

impl<T: AsyncTarget> Door for AsyncDoor<T> {
    fn target(&self) -> &dyn Target {
        self
    }

    fn serve(&self, worker: &mut Worker) -> Result<(), QueueError> {
        worker.serve_async(&self.0)
    }
}

impl<T: AsyncTarget> Target for AsyncDoor<T> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn files(&self) -> Vec<Arc<File>> {
        self.0.files()
    }

    fn integrity(&self) -> Option<&dyn IntegrityTarget> {
        self.0.integrity().map(|_| self as &dyn IntegrityTarget)
    }

    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Shown only where the target has metadata.
impl<T: AsyncTarget> IntegrityTarget for AsyncDoor<T> {
    fn options(&self) -> IntegrityOptions {
        self.0.integrity().unwrap_or_default()
    }

    fn read_with_metadata(&self, _: u64, _: &mut [u8], _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_with_metadata(&self, _: u64, _: &[u8], _: &[u8], _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::AsyncRequest;

    struct Waits;

    impl AsyncTarget for Waits {
        fn size_bytes(&self) -> u64 {
            4096
        }

        async fn handle(&self, _: &AsyncRequest) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_async_target_has_a_description_and_no_bytes() {
        let door = AsyncDoor(Waits);
        let target = Door::target(&door);
        assert_eq!((target.size_bytes(), target.capabilities()), (4096, Capabilities::default()));
        assert!(target.read(0, &mut [0]).is_err() && target.write(0, &[0], false).is_err());
    }
}
