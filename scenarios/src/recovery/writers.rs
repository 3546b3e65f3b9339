//! Clients that remember what was acknowledged. Each owns some blocks, writes them again and again with rising
//! generations, and reads them back. A write that fails is repeated until it is acknowledged, so that in the end
//! every block's content is certain, whatever happened in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use reports::event::FailureKind;

use crate::block::{self, AlignedBuffer, BlockDevice};
use crate::context::{Context, Stop};
use crate::oracle::Reference;
use crate::process::remove_device;
use crate::signature::{self, SECTOR_BYTES};

const BLOCK_BYTES: usize = 4096;
const BLOCKS_EACH: u64 = 32;
const CLIENTS: u64 = 6;
/// How long a client waits before it repeats a request that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// What the clients share with the scenario.
#[derive(Debug, Default)]
struct Board {
    acknowledged: AtomicU64,
    stop: AtomicBool,
    /// The device will not come back.
    lost: AtomicBool,
    /// How often each errno was seen.
    errors: Mutex<BTreeMap<i32, u64>>,
}

/// Running clients. Dropped before they have finished, they are told to stop, and their device is removed: one that waits
/// for a server that never comes would keep this process for ever, and what went wrong would look like a hang.
#[derive(Debug)]
pub(crate) struct Writers {
    board: Arc<Board>,
    clients: Vec<JoinHandle<Result<BTreeMap<u64, u64>, String>>>,
    seed: u64,
    path: PathBuf,
    finished: bool,
}

impl Writers {
    /// Starts the clients on a device, and waits until they are busy.
    pub(crate) fn start(context: &mut Context, path: &Path) -> Result<Self, Stop> {
        let board = Arc::<Board>::default();
        let seed = context.seed;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let device = BlockDevice::open(path, context.command_timeout())?;
            let board = Arc::clone(&board);
            let client = Client { device, board, first_block: number * BLOCKS_EACH, seed };
            clients.push(std::thread::spawn(move || client.run()));
        }
        let writers = Self { board, clients, seed, path: path.to_owned(), finished: false };
        writers.check_progress(context, "at first")?;
        Ok(writers)
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.board.acknowledged.load(Ordering::Relaxed)
    }

    /// How often each errno was seen until now.
    pub(crate) fn errors(&self) -> BTreeMap<i32, u64> {
        self.board.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks that more is acknowledged.
    pub(crate) fn check_progress(&self, context: &mut Context, when: &str) -> Result<(), Stop> {
        let before = self.acknowledged();
        let goes = block::wait_until(context.command_timeout(), || {
            self.acknowledged() > before + 4 * CLIENTS
        });
        let what = format!("{when}, writes are acknowledged (errors: {:?})", self.errors());
        context.check(FailureKind::Completion, what, goes)
    }

    /// Checks that nothing is acknowledged, and whether requests fail.
    pub(crate) fn check_held(&self, context: &mut Context, fails: bool) -> Result<(), Stop> {
        // What was acknowledged by the old server may still be on its way through a client.
        sleep(context.quiet());
        let (acknowledged, errors) = (self.acknowledged(), self.errors());
        sleep(context.quiet());
        context.check_eq(
            FailureKind::State,
            "requests that are acknowledged while nobody serves",
            &self.acknowledged(),
            &acknowledged,
        )?;
        let more = self.errors() != errors;
        let what = format!("requests fail while nobody serves: {more}, expected: {fails}");
        context.check(FailureKind::State, what, more == fails)
    }

    /// Stops clients whose device is gone: what they could not write they leave. Gives the errors they saw.
    pub(crate) fn give_up(
        self,
        context: &mut Context,
        reference: &Reference,
    ) -> Result<BTreeMap<i32, u64>, Stop> {
        self.board.lost.store(true, Ordering::Relaxed);
        self.finish(context, reference)
    }

    /// Stops the clients and puts what they wrote into the reference. Gives the errors they saw.
    pub(crate) fn finish(
        mut self,
        context: &mut Context,
        reference: &Reference,
    ) -> Result<BTreeMap<i32, u64>, Stop> {
        self.board.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + context.command_timeout() * 2;
        let mut buffer = vec![0; BLOCK_BYTES];
        for client in std::mem::take(&mut self.clients) {
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = block::wait_until(left, || client.is_finished());
            context.check(FailureKind::Completion, "every client ends", ended)?;
            let blocks = match client.join() {
                Ok(Ok(blocks)) => blocks,
                Ok(Err(message)) => return Err(Stop::fail(FailureKind::DataMismatch, message)),
                Err(_) => return Err(Stop::error("a client panicked")),
            };
            for (block, generation) in blocks {
                fill(&mut buffer, block, generation, self.seed);
                reference.write(block * BLOCK_BYTES as u64, &buffer)?;
            }
        }
        self.finished = true;
        Ok(self.errors())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.board.stop.store(true, Ordering::Relaxed);
        if self.finished {
            return;
        }
        self.board.lost.store(true, Ordering::Relaxed);
        let name = self.path.file_name().and_then(|name| name.to_str());
        if let Some(Ok(id)) = name.and_then(|name| name.strip_prefix("ublkb")).map(str::parse) {
            remove_device(id);
        }
    }
}

fn fill(buffer: &mut [u8], block: u64, generation: u64, seed: u64) {
    let sectors = (BLOCK_BYTES / SECTOR_BYTES) as u64;
    signature::fill(buffer, block * sectors, generation, seed);
}

struct Client {
    device: BlockDevice,
    board: Arc<Board>,
    first_block: u64,
    seed: u64,
}

impl Client {
    /// The last generation of each block, or what was wrong.
    fn run(self) -> Result<BTreeMap<u64, u64>, String> {
        let mut blocks = BTreeMap::new();
        let (mut wanted, mut observed) =
            (AlignedBuffer::zeroed(BLOCK_BYTES), AlignedBuffer::zeroed(BLOCK_BYTES));
        for turn in 1_u64.. {
            if self.board.stop.load(Ordering::Relaxed) {
                break;
            }
            let block = self.first_block + turn % BLOCKS_EACH;
            fill(&mut wanted, block, turn, self.seed);
            let offset = block * BLOCK_BYTES as u64;
            if !self.insist(|device| device.write_at(offset, &wanted)) {
                break;
            }
            blocks.insert(block, turn);
            self.board.acknowledged.fetch_add(1, Ordering::Relaxed);
            // One that was acknowledged some time ago, perhaps by another server.
            let block = self.first_block + (turn + 1) % BLOCKS_EACH;
            if let Some(generation) = blocks.get(&block) {
                let offset = block * BLOCK_BYTES as u64;
                fill(&mut wanted, block, *generation, self.seed);
                if !self.insist(|device| device.read_at(offset, &mut observed)) {
                    break;
                }
                let start = offset / SECTOR_BYTES as u64;
                if let Some(told) = signature::first_difference(start, &observed, &wanted) {
                    return Err(format!("an acknowledged write is not there: {told}"));
                }
            }
        }
        Ok(blocks)
    }

    /// Repeats a request until it succeeds, and counts how often it did not. Gives up once the device is lost.
    fn insist(&self, mut request: impl FnMut(&BlockDevice) -> std::io::Result<()>) -> bool {
        while let Err(error) = request(&self.device) {
            let errno = error.raw_os_error().unwrap_or(0);
            let mut errors = self.board.errors.lock().unwrap_or_else(PoisonError::into_inner);
            *errors.entry(errno).or_default() += 1;
            drop(errors);
            sleep(RETRY_INTERVAL);
            if self.board.lost.load(Ordering::Relaxed) {
                return false;
            }
        }
        true
    }
}
