//! The async door on a real kernel: many requests of one thread under way at once, woken by the ring and
//! by other threads.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::queue::AsyncRequest;
use ublk::server::{DataMode, Server};
use ublk::target::{AsyncTarget, Capabilities, Op};

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;

const DEVICE_BYTES: u64 = 8 << 20;

const MIRROR: Scenario = Scenario {
    id: "modes/async-mirror",
    title: "an async target keeps two files the same, in copy, user copy and zero copy",
    covers: &["S4"],
    known_bug: KernelRelease::page_registration_bug,
    run: mirror,
    ..Scenario::SERVER
};

const OVERLAP: Scenario = Scenario {
    id: "modes/async-requests-overlap",
    title: "requests that sleep, or wait for another thread, do not hold each other up",
    covers: &["S4"],
    run: overlap,
    ..Scenario::SERVER
};

pub(super) const SCENARIOS: &[Scenario] = &[MIRROR, OVERLAP];

/// Two files with the same bytes.
struct Mirror([Arc<File>; 2]);

impl AsyncTarget for Mirror {
    fn size_bytes(&self) -> u64 {
        DEVICE_BYTES
    }

    fn capabilities(&self) -> Capabilities {
        // It moves whole requests between files, so zero copy needs no bytes.
        Capabilities { flush: true, extents: true, ..Capabilities::default() }
    }

    fn files(&self) -> Vec<Arc<File>> {
        self.0.to_vec()
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        let at = request.offset_bytes();
        let len_bytes = request.len_bytes() as u32;
        let extent = |file| ublk::target::Extent { file, offset_bytes: at, len_bytes };
        match request.op() {
            Op::Read => request.move_extents(&[extent(1)]).await,
            Op::Write => {
                request.move_extents(&[extent(0)]).await?;
                request.move_extents(&[extent(1)]).await
            }
            Op::Flush => {
                request.sync_file(0).await?;
                request.sync_file(1).await
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn backing(name: &str) -> Result<(String, Arc<File>), Stop> {
    let path = format!("/tmp/mirror-{name}-{}", std::process::id());
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    file.set_len(DEVICE_BYTES)?;
    Ok((path, Arc::new(file)))
}

fn mirror(context: &mut Context) -> Result<String, Stop> {
    let mut served_modes = Vec::new();
    for mode in [DataMode::Copy, DataMode::UserCopy, DataMode::ZeroCopy, DataMode::AutoZeroCopy] {
        let needed = mode.features(&Capabilities { extents: true, ..Capabilities::default() });
        if let Err(skip) = crate::rig::offered(needed) {
            context.step(format_args!("without {mode}: {skip}"));
            continue;
        }
        let (first, second) = (backing("a")?, backing("b")?);
        let target = Mirror([Arc::clone(&first.1), Arc::clone(&second.1)]);
        let server = served(context, Server::builder_async(target).data_mode(mode))?;
        let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
        let mut buffer = AlignedBuffer::zeroed(256 << 10);
        for (number, chunk) in buffer.chunks_mut(512).enumerate() {
            chunk.fill(number as u8 ^ mode as u8);
        }
        device.write_at(3 << 20, &buffer)?;
        device.flush()?;
        let mut back = AlignedBuffer::zeroed(256 << 10);
        device.read_at(3 << 20, &mut back)?;
        context.check(
            FailureKind::DataMismatch,
            format_args!("{mode}: what was written is read"),
            back[..] == buffer[..],
        )?;
        drop(device);
        stop_served(context, server)?;
        let (one, other) = (std::fs::read(&first.0)?, std::fs::read(&second.0)?);
        context.check(
            FailureKind::DataMismatch,
            format_args!("{mode}: both files hold it"),
            one == other && one[3 << 20..][..buffer.len()] == buffer[..],
        )?;
        served_modes.push(mode.name());
        let _ = (std::fs::remove_file(&first.0), std::fs::remove_file(&second.0));
    }
    Ok(served_modes.join(", "))
}

/// Reads of the first half sleep; of the second, they wait until another thread wakes them.
struct Waits {
    wakers: Arc<Mutex<Vec<Waker>>>,
    under_way: AtomicUsize,
    under_way_max: Arc<AtomicUsize>,
}

const SLEEP: Duration = Duration::from_millis(300);

impl AsyncTarget for Waits {
    fn size_bytes(&self) -> u64 {
        DEVICE_BYTES
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        if request.len_bytes() != 64 << 10 {
            // A partition scan, which need not wait.
            return request.with_bytes(|bytes| bytes.fill(0));
        }
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.under_way_max.fetch_max(now, Ordering::SeqCst);
        if request.offset_bytes() < DEVICE_BYTES / 2 {
            request.sleep(SLEEP).await?;
        } else {
            let mut waited = false;
            std::future::poll_fn(|context| {
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                if let Ok(mut wakers) = self.wakers.lock() {
                    wakers.push(context.waker().clone());
                }
                Poll::Pending
            })
            .await;
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        request.with_bytes(|bytes| bytes.fill(7))
    }
}

fn overlap(context: &mut Context) -> Result<String, Stop> {
    const READERS: u64 = 8;
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let under_way_max = Arc::new(AtomicUsize::new(0));
    let target = Waits {
        wakers: Arc::clone(&wakers),
        under_way: AtomicUsize::new(0),
        under_way_max: Arc::clone(&under_way_max),
    };
    let server = served(context, Server::builder_async(target))?;
    let path = server.block_device_path();
    let started = Instant::now();
    let deadline = started + context.command_timeout();
    let read_all = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (path, timeout) = (path.clone(), context.command_timeout());
                scope.spawn(move || -> Result<bool, Stop> {
                    let device = BlockDevice::open(&path, timeout)?;
                    let mut buffer = AlignedBuffer::zeroed(64 << 10);
                    device.read_at(reader * (1 << 20), &mut buffer)?;
                    Ok(buffer.iter().all(|byte| *byte == 7))
                })
            })
            .collect();
        // Wakes whoever waits, from this thread, as long as somebody may.
        while readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < deadline {
            let woken: Vec<Waker> =
                wakers.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default();
            woken.into_iter().for_each(Waker::wake);
            std::thread::sleep(Duration::from_millis(5));
        }
        let results = readers.into_iter().map(|reader| reader.join());
        results
            .map(|result| result.map_err(|_| Stop::error("a reader panicked"))?)
            .collect::<Result<Vec<bool>, Stop>>()
    })?;
    let elapsed = started.elapsed();
    context.check(
        FailureKind::DataMismatch,
        "every read has its bytes",
        read_all.iter().all(|ok| *ok),
    )?;
    let most = under_way_max.load(Ordering::SeqCst);
    context.check(
        FailureKind::State,
        format_args!("requests were under way together ({most} at most)"),
        most >= 3,
    )?;
    context.check(
        FailureKind::Completion,
        format_args!(
            "four sleeps of {SLEEP:?} on one thread took {elapsed:?}, less than one after another"
        ),
        elapsed < SLEEP * 4,
    )?;
    stop_served(context, server)?;
    Ok(format!("{most} requests under way on one thread"))
}
