//! The overlay: the base stays as it is, and what was written is there again, whoever died.

use std::fs::OpenOptions;

use md5::{Digest, Md5};
use nix::sys::signal::Signal;
use reports::budget::BudgetClass;
use reports::event::FailureKind;

use super::scratch::Scratch;
use super::{signed, write_both};
use crate::block::BlockDevice;
use crate::context::{Context, During, Stop};
use crate::data::scattered::{self, Setup};
use crate::oracle::{Reference, hex};
use crate::process::{ServerProcess, remove_device};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/scattered-cow",
        title: "an overlay over an empty base keeps scattered I/O",
        covers: &["S4", "S5", "S13"],
        budget: BudgetClass::Long,
        run: |context| {
            let setup =
                Setup { target: "cow", queues: 2, depth: 16, block_bytes: 512, options: &[] };
            scattered::run(context, setup)
        },
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/cow-survives-kill",
        title: "after kill -9 an overlay shows every completed write again, flushed or not, and the base \
                is what it was",
        covers: &["S8", "rq.server.died"],
        run: survives_kill,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/cow-refuses-another-base",
        title: "an overlay is not laid over a base of another size, nor over what is no overlay",
        covers: &["S4"],
        run: refuses_another_base,
        ..Scenario::SERVER
    },
];

const SIZE: u64 = 8 << 20;
/// Coarser than the writes, so that each copies something up.
const CLUSTER: &str = "64K";

struct Pair {
    base: Scratch,
    overlay: Scratch,
}

impl Pair {
    /// A base full of signatures of generation 1.
    fn new(context: &Context) -> Result<Self, Stop> {
        let pair = Self { base: Scratch::new("base"), overlay: Scratch::new("overlay") };
        pair.base.write(&signed(0, SIZE as usize, 1, context.seed))?;
        Ok(pair)
    }

    fn start(&self, context: &mut Context) -> Result<ServerProcess, Stop> {
        let (base, overlay) = (self.base.text(), self.overlay.text());
        let arguments = ["cow", "--base", &base, "--overlay", &overlay, "--cluster-size", CLUSTER];
        ServerProcess::start(context, &arguments)
    }
}

fn md5_of(bytes: &[u8]) -> String {
    let mut digest = Md5::new();
    digest.update(bytes);
    hex(&digest.finalize())
}

fn survives_kill(context: &mut Context) -> Result<String, Stop> {
    let pair = Pair::new(context)?;
    let base_md5 = md5_of(&pair.base.read()?);
    let reference = Reference::zeros("cow", SIZE)?;
    reference.write(0, &pair.base.read()?)?;
    let mut generation = 1;
    let mut rounds = 0;
    for flush in [true, false, false] {
        let mut server = pair.start(context)?;
        let id = server.live.id;
        let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
        reference.check_device(context, &device, "before this round's writes")?;
        // Inside a cluster, across two, whole ones, and the end; elsewhere in each round.
        let shift = rounds * (1 << 20);
        for (offset, len) in [
            (4096, 512),
            (65_536 - 512, 1024),
            (128 << 10, 192 << 10),
            (700_000 / 512 * 512, 33_280),
        ] {
            generation += 1;
            let offset = offset + shift;
            let bytes = signed(offset, len, generation, context.seed);
            write_both(&device, &reference, offset, &bytes)?;
        }
        let tail = signed(SIZE - 512, 512, generation, context.seed);
        write_both(&device, &reference, SIZE - 512, &tail)?;
        zero(&device, &reference, (256 << 10) + shift, 96 << 10)?;
        if flush {
            device.flush()?;
        }
        reference.check_device(context, &device, "before the kill")?;
        drop(device);
        server.signal(Signal::SIGKILL)?;
        server.wait(context.command_timeout())?;
        remove_device(id);
        rounds += 1;
    }
    let server = pair.start(context)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let md5 = reference.check_device(context, &device, "after the last kill")?;
    drop(device);
    server.stop(context)?;
    let after = md5_of(&pair.base.read()?);
    context.check_eq(FailureKind::DataMismatch, "MD5 of the base", &after, &base_md5)?;
    // Sparse: the untouched half of the device takes nothing.
    let held = pair.overlay.allocated_bytes()?;
    context.check(
        FailureKind::State,
        format_args!("the overlay holds less than half of the device ({held} bytes)"),
        held > 0 && held < SIZE / 2,
    )?;
    Ok(format!("{rounds} kills, overlay of {held} bytes, MD5 {md5}"))
}

/// Zeroes a range of the device by the one call that a file system would use.
fn zero(device: &BlockDevice, reference: &Reference, offset: u64, len: usize) -> Result<(), Stop> {
    use nix::fcntl::{FallocateFlags, fallocate};
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(device.file(), flags, offset.cast_signed(), len as i64).during("punch a hole")?;
    reference.write(offset, &vec![0; len])
}

fn refuses_another_base(context: &mut Context) -> Result<String, Stop> {
    let pair = Pair::new(context)?;
    pair.start(context)?.stop(context)?;
    let grow = |len| -> Result<(), Stop> {
        let file = OpenOptions::new().write(true).open(pair.base.path())?;
        Ok(file.set_len(len)?)
    };
    grow(SIZE + 4096)?;
    let refused = match pair.start(context) {
        Ok(server) => {
            drop(server);
            "it started".to_owned()
        }
        Err(stop) => stop.to_string(),
    };
    context.check(
        FailureKind::State,
        format_args!("another size is refused by its name: {refused}"),
        refused.contains("bring the old one back or start a new overlay"),
    )?;
    grow(SIZE)?;
    pair.start(context)?.stop(context)?;
    pair.overlay.write(&[7; 8192])?;
    let refused = pair.start(context).err().map(|stop| stop.to_string()).unwrap_or_default();
    context.check(
        FailureKind::State,
        format_args!("what is no overlay is refused: {refused}"),
        refused.contains("holds something that is no overlay"),
    )?;
    let kept = pair.overlay.read()? == [7; 8192];
    context.check(FailureKind::DataMismatch, "and left alone", kept)?;
    Ok("refused with the reason, and taken again with the right base".into())
}
