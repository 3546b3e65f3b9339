//! The server is replaced on purpose: quiesced by somebody else, replaced in one call, or told to leave.

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::uapi::{DevState, Features};

use super::kit::{self, Backing, SIZE_BYTES};
use super::writers::Writers;
use crate::block::BlockDevice;
use crate::context::{Context, Stop};
use crate::oracle::Reference;
use crate::process::{ServerProcess, check_no_nodes};
use crate::rig;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "recovery/quiesce-and-upgrade",
        title: "ublk quiesce under load makes the server leave, ublk recover goes on, and no request fails",
        covers: &["cqe.abort.quiesce", "qsc.nofeature"],
        run: quiesce_and_upgrade,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/replace-in-one-call",
        title: "ublk recover --replace under load takes a device over from a live server without a failed request",
        covers: &["cqe.abort.quiesce"],
        run: replace,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/detach",
        title: "a server with --keep leaves its device on SIGTERM; the next one takes it over and no request fails",
        covers: &["cqe.abort.ring", "S7"],
        run: detach,
        ..Scenario::SERVER
    },
];

/// How the old server's last line begins.
const DETACHED: &str = r#"{"event":"detached""#;

fn quiesce_and_upgrade(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::QUIESCE)?;
    let mut changes = Vec::new();
    for recovery in ["plain", "reissue"] {
        let told = hand_over(context, recovery, |context, _, server| {
            let id = server.live.id;
            let quiesced = kit::ublk(context, &["quiesce", &id.to_string(), "--timeout", "5"])?;
            quiesced.check_done(context, "ublk quiesce")?;
            let state = kit::info(id)?.map(|info| info.state());
            let wanted = Some(DevState::Quiesced);
            context.check_eq(FailureKind::State, "state as it returns", &state, &wanted)?;
            check_left(context, server, true)?;
            Ok(None)
        })?;
        changes.push(told);
    }
    // Without the flag the command says so.
    let plain = ServerProcess::start(context, &["ram", "--size", "1M"])?;
    let id = plain.live.id.to_string();
    let refused = kit::ublk(context, &["quiesce", &id])?;
    let within = context.command_timeout();
    refused.check_refused(
        context,
        "quiesce without the flag",
        &["EOPNOTSUPP", "QUIESCE"],
        within,
    )?;
    plain.stop(context)?;
    Ok(changes.join("; "))
}

fn replace(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::QUIESCE)?;
    hand_over(context, "plain", |context, backing, server| {
        let next = backing.recover(context, server.live.id, &["--replace"], &["--keep"])?;
        check_left(context, server, true)?;
        Ok(Some(next))
    })
}

fn detach(context: &mut Context) -> Result<String, Stop> {
    let quiesces = rig::offers(Features::QUIESCE)?;
    // Where the kernel cannot quiesce, it takes a REISSUE that nothing fails.
    let recovery = if quiesces { "plain" } else { "reissue" };
    let told = hand_over(context, recovery, |context, _, server| {
        let id = server.live.id;
        server.signal(Signal::SIGTERM)?;
        check_left(context, server, quiesces)?;
        kit::check_state(context, id, DevState::Quiesced)?;
        Ok(None)
    })?;
    let without = kit::ublk(context, &["add", "ram", "--size", "1M", "--keep"])?;
    let within = context.command_timeout();
    without.check_refused(context, "--keep without a recovery", &["needs a recovery"], within)?;
    Ok(format!("{told}; quiesced first: {quiesces}"))
}

/// Changes the server twice under load; `leave` makes the old one go, and gives the next if there is one already.
fn hand_over(
    context: &mut Context,
    recovery: &str,
    mut leave: impl FnMut(&mut Context, &Backing, ServerProcess) -> Result<Option<ServerProcess>, Stop>,
) -> Result<String, Stop> {
    let backing = Backing::new(recovery)?;
    let reference = Reference::zeros(recovery, SIZE_BYTES)?;
    let mut server = backing.serve(context, recovery, &["--keep"])?;
    let (id, path) = (server.live.id, server.live.block_device.clone());
    let writers = Writers::start(context, &path)?;
    for _ in 0..2 {
        server = match leave(context, &backing, server)? {
            Some(server) => server,
            None => {
                writers.check_held(context, false)?;
                backing.recover(context, id, &["--wait", "5"], &["--keep"])?
            }
        };
        kit::check_state(context, id, DevState::Live)?;
        writers.check_progress(context, "after the change")?;
    }
    let acknowledged = writers.acknowledged();
    let errors = writers.finish(context, &reference)?;
    context.check_eq(FailureKind::Errno, "errors that users saw", &errors.len(), &0)?;
    let device = BlockDevice::open(&path, context.command_timeout())?;
    reference.check_device(context, &device, "after two changes")?;
    drop(device);
    // Told to stop, it would leave the device once more.
    kit::ublk(context, &["del", &id.to_string()])?.check_done(context, "ublk del")?;
    let timeout = context.command_timeout();
    server.check_clean_end(context, timeout)?;
    check_no_nodes(context, id)?;
    Ok(format!("{recovery}: 2 changes, {acknowledged} writes acknowledged, no error"))
}

/// Checks that the old server ends by itself, cleanly, and says how it left.
fn check_left(
    context: &mut Context,
    mut server: ServerProcess,
    quiesced: bool,
) -> Result<(), Stop> {
    let timeout = context.command_timeout();
    server.check_clean_end(context, timeout)?;
    let last = server.last_line(timeout);
    let wanted = format!(r#""quiesced":{quiesced}"#);
    let said = last.as_deref().unwrap_or("nothing");
    let right = said.starts_with(DETACHED) && said.contains(&wanted);
    let what = format!("the old server says that it left, {wanted} (it said {said})");
    context.check(FailureKind::State, what, right)?;
    server.give_up(timeout)?;
    Ok(())
}
