//! A minimal server on raw commands, one thread for each part of a queue.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::raw::CharFile;

use super::device::{DEVICE_BYTES, Rig};
use super::fetcher::Fetcher;
use crate::context::{Context, Stop};

/// Threads that fetch and serve. Ends when STOP_DEV has aborted every command.
#[derive(Debug)]
pub struct RawServer {
    file: Arc<CharFile>,
    disk: Arc<Mutex<Vec<u8>>>,
    threads: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    thread: JoinHandle<Result<(), Stop>>,
    completions: Arc<AtomicU64>,
    fetched: mpsc::Receiver<()>,
}

impl RawServer {
    /// Opens the device; nothing is fetched yet.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(context: &Context, rig: &Rig) -> Result<Self, Stop> {
        let disk = Arc::new(Mutex::new(vec![0; DEVICE_BYTES]));
        Ok(Self { file: Arc::new(rig.open(context)?), disk, threads: Vec::new() })
    }

    /// The open char device.
    #[must_use]
    pub fn file(&self) -> &Arc<CharFile> {
        &self.file
    }

    /// A thread that serves a whole queue; returns when it has fetched.
    ///
    /// # Errors
    /// When it does not fetch in time.
    pub fn serve(&mut self, context: &mut Context, rig: &Rig, queue: u16) -> Result<(), Stop> {
        self.serve_tags(context, rig, queue, 0..rig.info.queue_depth)
    }

    /// The same without waiting for the FETCHes.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn begin(&mut self, rig: &Rig, queue: u16) -> Result<(), Stop> {
        self.spawn(rig, queue, 0..rig.info.queue_depth)
    }

    /// A thread that serves some tags of a queue; returns when it has fetched them.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn serve_tags(
        &mut self,
        context: &mut Context,
        rig: &Rig,
        queue: u16,
        tags: Range<u16>,
    ) -> Result<(), Stop> {
        self.spawn(rig, queue, tags.clone())?;
        let fetched = self
            .threads
            .last()
            .map(|worker| worker.fetched.recv_timeout(context.command_timeout()));
        context.check(
            FailureKind::Completion,
            format_args!("tags {tags:?} of queue {queue} are fetched"),
            matches!(fetched, Some(Ok(()))),
        )
    }

    fn spawn(&mut self, rig: &Rig, queue: u16, tags: Range<u16>) -> Result<(), Stop> {
        let completions = Arc::new(AtomicU64::new(0));
        let (sender, fetched) = mpsc::channel();
        let (file, disk) = (Arc::clone(&self.file), Arc::clone(&self.disk));
        let (parts, counter) = (rig.parts(), Arc::clone(&completions));
        let thread =
            std::thread::Builder::new().name(format!("raw-q{queue}")).spawn(move || {
                let mut fetcher = Fetcher::on_disk(parts, &file, queue, false, disk)?;
                fetcher.fetch_tags(tags)?;
                let _ = sender.send(());
                while !fetcher.all_aborted() {
                    let count = fetcher.serve_for(Duration::from_millis(200))?;
                    counter.fetch_add(count as u64, Ordering::Relaxed);
                }
                Ok(())
            })?;
        self.threads.push(Worker { thread, completions, fetched });
        Ok(())
    }

    /// Completions seen after `quiet`.
    #[must_use]
    pub fn early_completions(&self, quiet: Duration) -> u64 {
        std::thread::sleep(quiet);
        self.served_by_thread().iter().sum()
    }

    /// Completions each thread has seen.
    #[must_use]
    pub fn served_by_thread(&self) -> Vec<u64> {
        self.threads.iter().map(|worker| worker.completions.load(Ordering::Relaxed)).collect()
    }

    /// Waits for the threads, whose commands STOP_DEV has aborted, and closes the device.
    ///
    /// # Errors
    /// When one of them does not end in time or ended with an error.
    pub fn end(self, context: &mut Context) -> Result<(), Stop> {
        let deadline = Instant::now() + context.command_timeout();
        for worker in self.threads {
            while !worker.thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            context.check(
                FailureKind::Completion,
                "STOP_DEV aborts every command of the server",
                worker.thread.is_finished(),
            )?;
            worker.thread.join().map_err(|_| Stop::error("a server thread panicked"))??;
        }
        Ok(())
    }
}
