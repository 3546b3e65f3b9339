//! Clients that keep a device busy until they get an error.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use reports::event::FailureKind;

use crate::block;
use crate::block::AlignedBuffer;
use crate::block::BlockDevice;
use crate::context::Context;
use crate::context::Stop;

/// Clients that write and read until they get an error.
pub(crate) struct Load {
    ended: mpsc::Receiver<String>,
    clients: usize,
    pub(crate) requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Starts `clients` threads and waits until they are busy.
    pub(crate) fn start(
        path: &std::path::Path,
        clients: usize,
        timeout: Duration,
    ) -> Result<Self, Stop> {
        let (sender, ended) = mpsc::channel();
        let (requests, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        for client in 0..clients {
            let device = BlockDevice::open(path, timeout)?;
            let (sender, requests, stop) =
                (sender.clone(), Arc::clone(&requests), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut buffer = AlignedBuffer::zeroed(16 << 10);
                let end = loop {
                    let number = requests.fetch_add(1, Ordering::Relaxed);
                    let offset = (number % 64) * (16 << 10);
                    let result = if (number + client as u64).is_multiple_of(2) {
                        device.write_at(offset, &buffer)
                    } else {
                        device.read_at(offset, &mut buffer)
                    };
                    match result {
                        Err(error) => break error.to_string(),
                        Ok(()) if stop.load(Ordering::Relaxed) => break "stopped".into(),
                        Ok(()) => {}
                    }
                };
                // The device is closed before this is said: whoever waits may delete it then.
                drop(device);
                let _ = sender.send(end);
            });
        }
        let load = Self { ended, clients, requests, stop };
        let running = block::wait_until(timeout, || load.requests.load(Ordering::Relaxed) > 64);
        if running { Ok(load) } else { Err(Stop::error("the load did not get going")) }
    }

    /// Waits until every client got an error or was told to stop; what each got.
    pub(crate) fn wait(
        self,
        context: &mut Context,
        timeout: Duration,
    ) -> Result<BTreeSet<String>, Stop> {
        let deadline = Instant::now() + timeout;
        let mut ends = BTreeSet::new();
        for client in 0..self.clients {
            let left = deadline.saturating_duration_since(Instant::now());
            let end = self.ended.recv_timeout(left);
            context.check(
                FailureKind::Completion,
                format_args!("client {client} of {} ended within {timeout:?}", self.clients),
                end.is_ok(),
            )?;
            ends.extend(end);
        }
        Ok(ends)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
