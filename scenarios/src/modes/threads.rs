//! Queues and threads in other numbers than one for one.

use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::device::{Device, DeviceSpec, StartProgress};
use ublk::params::ParamsBuilder;
use ublk::queue::Worker;
use ublk::server::Server;
use ublk::target::{RamTarget, Target};
use ublk::uapi::Features;

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, Stop};
use crate::rig;
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;

const BATCH: Features = Features::BATCH_IO;

kind!(
    FEWER,
    "modes/four-queues-on-one-thread",
    "one thread serves four queues and keeps scattered I/O",
    "ram": 4 x 16,
    Features::empty(),
    &["--threads", "1"]
);
kind!(
    MORE,
    "modes/one-queue-on-three-threads",
    "three threads share the tags of one queue and keep scattered I/O",
    "ram": 1 x 64,
    Features::PER_IO_DAEMON,
    &["--threads", "3", "--mode", "user-copy"]
);
kind!(
    BATCH_FEWER,
    "modes/batch-three-queues-on-two-threads",
    "two threads serve three queues in batches and keep scattered I/O",
    "ram": 3 x 16,
    BATCH,
    &["--threads", "2", "--batch"]
);
kind!(
    BATCH_MORE,
    "modes/batch-one-queue-on-four-threads",
    "four threads serve one queue in batches, whichever tag comes to which, and keep scattered I/O",
    "ram": 1 x 64,
    BATCH,
    &["--threads", "4", "--batch"]
);
kind!(
    BATCH_MORE_FILE,
    "modes/batch-two-queues-on-six-threads",
    "six threads serve two queues of a file target in batches with pages registered by hand, and keep scattered I/O",
    "file": 2 x 32,
    BATCH,
    &["--threads", "6", "--batch", "--mode", "zero-copy"]
);

const BATCH_ALL: Scenario = Scenario {
    id: "modes/batch-threads-are-all-asked",
    title: "of four threads that wait for one queue's tags in batches, no request goes to two, and none is the only one \
            that is asked",
    covers: &["S4"],
    run: all_are_asked,
    ..Scenario::SERVER
};

const DEVICES: Scenario = Scenario {
    id: "modes/two-devices-on-one-thread",
    title: "one thread serves two devices, each with its own bytes",
    covers: &["S4"],
    run: two_devices,
    ..Scenario::SERVER
};

pub(super) const SCENARIOS: &[Scenario] =
    &[FEWER, MORE, BATCH_FEWER, BATCH_MORE, BATCH_MORE_FILE, BATCH_ALL, DEVICES];

const DEVICE_BYTES: u64 = 4 << 20;

/// A target that is slow enough for others to be asked meanwhile.
struct Slow(RamTarget);

impl Target for Slow {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        std::thread::sleep(std::time::Duration::from_millis(2));
        self.0.read(offset_bytes, buffer)
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> std::io::Result<()> {
        std::thread::sleep(std::time::Duration::from_millis(2));
        self.0.write(offset_bytes, data, fua)
    }
}

fn all_are_asked(context: &mut Context) -> Result<String, Stop> {
    const CLIENTS: u64 = 8;
    const ROUNDS: u64 = 16;
    rig::offered(Features::BATCH_IO)?;
    let target = Slow(RamTarget::new(DEVICE_BYTES).map_err(Stop::error)?);
    let builder = Server::builder(target).batch(true).threads(4).depth(32);
    let server = served(context, builder)?;
    let path = server.block_device_path();
    let before: Vec<u64> = server.counters().iter().map(|thread| thread.writes).collect();
    context.check_eq(FailureKind::State, "threads that count", &before.len(), &4)?;
    let timeout = context.command_timeout();
    let same = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let path = &path;
                scope.spawn(move || -> Result<bool, Stop> {
                    let device = BlockDevice::open(path, timeout)?;
                    let (mut sent, mut back) =
                        (AlignedBuffer::zeroed(4096), AlignedBuffer::zeroed(4096));
                    let mut same = true;
                    for round in 0..ROUNDS {
                        let at = (client * ROUNDS + round) * 4096;
                        sent.fill((client * ROUNDS + round) as u8);
                        device.write_at(at, &sent)?;
                        device.read_at(at, &mut back)?;
                        same &= sent[..] == back[..];
                    }
                    Ok(same)
                })
            })
            .collect();
        let ended = clients.into_iter().map(|client| client.join());
        ended
            .map(|ended| ended.map_err(|_| Stop::error("a client panicked"))?)
            .collect::<Result<Vec<bool>, Stop>>()
    })?;
    context.check(
        FailureKind::DataMismatch,
        "all is read as it was written",
        !same.contains(&false),
    )?;
    let after: Vec<u64> = server.counters().iter().map(|thread| thread.writes).collect();
    let each: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    context.check_eq(
        FailureKind::State,
        "writes of all threads together",
        &each.iter().sum(),
        &(CLIENTS * ROUNDS),
    )?;
    let busy = each.iter().filter(|writes| **writes > 0).count();
    let what = format!("several threads served the queue ({each:?} writes)");
    context.check(FailureKind::State, what, busy > 1)?;
    stop_served(context, server)?;
    Ok(format!("{each:?} writes"))
}

fn two_devices(context: &mut Context) -> Result<String, Stop> {
    let mut devices = Vec::new();
    let mut tickets = Vec::new();
    for depth in [4, 8] {
        let spec = DeviceSpec { depth, ..DeviceSpec::default() };
        let control = Control::open().map_err(Stop::error)?;
        let device = Device::add(control, &spec).map_err(Stop::error)?;
        let disk = RamTarget::new(DEVICE_BYTES).map_err(Stop::error)?;
        let params = ParamsBuilder::new(DEVICE_BYTES, disk.capabilities()).build();
        let device = device.set_params(&params.map_err(Stop::error)?);
        let mut device = device.map_err(Stop::error)?;
        tickets.extend(device.open_queues().map_err(Stop::error)?);
        devices.push(device);
    }
    let disks = [RamTarget::new(DEVICE_BYTES), RamTarget::new(DEVICE_BYTES)];
    let [first, second] = disks.map(|disk| disk.map_err(Stop::error));
    let disks = [first?, second?];
    let timeout = context.command_timeout();
    std::thread::scope(|scope| {
        let (fetched, has_fetched) = std::sync::mpsc::channel();
        let disks = &disks;
        let serving = scope.spawn(move || -> Result<(), ublk::queue::QueueError> {
            let mut worker = Worker::open(tickets)?;
            worker.fetch_all()?;
            let _ = fetched.send(());
            worker.serve_each(&[&disks[0], &disks[1]])
        });
        has_fetched.recv_timeout(timeout).map_err(Stop::error)?;
        let mut live = Vec::new();
        for device in devices {
            let starting = device.begin_start().map_err(Stop::error)?;
            match starting.wait(timeout).map_err(Stop::error)? {
                StartProgress::Live(device) => live.push(device),
                StartProgress::Pending(_) => {
                    return Err(Stop::fail(FailureKind::Completion, "a device did not start"));
                }
            }
        }
        for (number, device) in live.iter().enumerate() {
            let disk = BlockDevice::open(&device.block_device_path(), timeout)?;
            let mut buffer = AlignedBuffer::zeroed(64 << 10);
            buffer.fill(number as u8 + 1);
            disk.write_at(1 << 20, &buffer)?;
            drop(disk);
        }
        for (number, target) in disks.iter().enumerate() {
            let mut bytes = vec![0; 64 << 10];
            target.read(1 << 20, &mut bytes)?;
            let own = bytes.iter().all(|byte| usize::from(*byte) == number + 1);
            context.check(
                FailureKind::DataMismatch,
                format_args!("disk {number} holds what was written to it and not to the other"),
                own,
            )?;
        }
        let mut stopped = Vec::new();
        for device in live {
            stopped.push(device.stop(timeout).map_err(Stop::error)?);
        }
        let ended = serving.join().map_err(|_| Stop::error("the serving thread panicked"))?;
        ended.map_err(|error| Stop::fail(FailureKind::Operation, error))?;
        for device in stopped {
            let id = device.id();
            device.delete(timeout).map_err(Stop::error)?;
            crate::process::check_no_nodes(context, id)?;
        }
        Ok("two devices, one thread".into())
    })
}
