//! A live device grows: its users see it, and what lies behind the old end is storage.

use reports::event::FailureKind;
use ublk::uapi::{DevState, Features};

use super::kit::{self, Backing, SIZE_BYTES};
use super::writers::Writers;
use crate::block::{self, AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::oracle::Reference;
use crate::process::ServerProcess;
use crate::rig;
use crate::scenario::Scenario;
use crate::signature;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "recovery/resize-ram",
        title: "a ramdisk grows under load, the block layer sees it, and its new end keeps data",
        covers: &["size.nodisk"],
        run: |context| {
            let server = ServerProcess::start(context, &["ram", "--size", "8M", "--queues", "2"])?;
            grows(context, server)
        },
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/resize-file",
        title: "a file grows under load with its device, and another server takes it over with its new size",
        covers: &["size.nodisk"],
        run: file,
        ..Scenario::SERVER
    },
];

const LARGER_BYTES: u64 = 24 << 20;

fn file(context: &mut Context) -> Result<String, Stop> {
    let backing = Backing::new("resize")?;
    let server = backing.serve(context, "plain", &[])?;
    let id = server.live.id;
    let told = grows_and(context, server, |context, server| {
        server.signal(nix::sys::signal::Signal::SIGKILL)?;
        server.give_up(context.command_timeout())?;
        kit::check_state(context, id, DevState::Quiesced)?;
        backing.recover(context, id, &[], &[])
    })?;
    let len = std::fs::metadata(backing.path()).during("look at the file")?.len();
    context.check_eq(FailureKind::State, "bytes of the file", &len, &LARGER_BYTES)?;
    Ok(told)
}

fn grows(context: &mut Context, server: ServerProcess) -> Result<String, Stop> {
    grows_and(context, server, |_, server| Ok(server))
}

fn grows_and(
    context: &mut Context,
    server: ServerProcess,
    then: impl FnOnce(&mut Context, ServerProcess) -> Result<ServerProcess, Stop>,
) -> Result<String, Stop> {
    let (id, path) = (server.live.id, server.live.block_device.clone());
    let number = id.to_string();
    let within = context.command_timeout();
    if !rig::offers(Features::UPDATE_SIZE)? {
        let ran = kit::ublk(context, &["resize", &number, "24M"])?;
        ran.check_refused(context, "a kernel without it", &["Linux 6.16"], within)?;
        server.stop(context)?;
        return Err(Stop::skip(
            format_args!("GET_FEATURES has {}", Features::UPDATE_SIZE),
            "it has not, and ublk resize says so",
        ));
    }
    let device = BlockDevice::open(&path, context.command_timeout())?;
    let beyond = device.write_at(SIZE_BYTES, &AlignedBuffer::zeroed(4096));
    context.check(FailureKind::State, "nothing can be written behind the end", beyond.is_err())?;
    let writers = Writers::start(context, &path)?;
    let ran = kit::ublk(context, &["resize", &number, "24M"])?;
    ran.check_done(context, "ublk resize")?;
    let size = || device.size_bytes().unwrap_or(0);
    let seen = block::wait_until(context.command_timeout(), || size() == LARGER_BYTES);
    let what = format!("the block layer sees {LARGER_BYTES} bytes ({})", size());
    context.check(FailureKind::State, what, seen)?;
    let reference = Reference::zeros("resize", LARGER_BYTES)?;
    let mut buffer = AlignedBuffer::zeroed(256 << 10);
    for offset in [SIZE_BYTES, SIZE_BYTES + (5 << 20), LARGER_BYTES - buffer.len() as u64] {
        let sector = offset / signature::SECTOR_BYTES as u64;
        signature::fill(&mut buffer, sector, 1, context.seed);
        device.write_at(offset, &buffer).during(format_args!("write at {offset}"))?;
        reference.write(offset, &buffer)?;
    }
    for (size, words) in [("8M", "only grow"), ("25000001", "logical block")] {
        let ran = kit::ublk(context, &["resize", &number, size])?;
        ran.check_refused(context, size, &[words], within)?;
    }
    context.check_eq(FailureKind::State, "bytes after refusals", &size(), &LARGER_BYTES)?;
    let listed = kit::ublk(context, &["list", "--json"])?;
    let right = listed.said.contains(&format!(r#""size_bytes":{LARGER_BYTES}"#));
    context.check(FailureKind::State, format_args!("ublk list: {}", listed.said), right)?;
    let server = then(context, server)?;
    writers.check_progress(context, "after it has grown")?;
    let errors = writers.finish(context, &reference)?;
    let md5 = reference.check_device(context, &device, "after it has grown")?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{SIZE_BYTES} to {LARGER_BYTES} bytes, errors {errors:?}, MD5 {md5}"))
}
