//! Each way in which a server ends, and what is left of it: nothing. And each way in which it must not begin.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::uapi::DevState;

use super::command::Started;
use super::input::ServerInput;
use super::processes::{Before, named};
use super::served::{Served, Wish, limit, values};
use super::subject::Subject;
use super::words::Word;
use crate::block::{self, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::lifecycle::load::Load;
use crate::process::{check_no_nodes, remove_device};
use crate::recovery::kit::{self, Backing};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "server/keeps-bytes-over-a-restart",
        title: "a device serves what its file holds, and the next device of that file what was written to the first",
        covers: &["server.persistence"],
        budget: BudgetClass::Long,
        run: restart,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/five-lives-leave-nothing",
        title: "five devices one after another leave no node and no process",
        covers: &["server.stop", "S7"],
        budget: BudgetClass::Long,
        run: five_lives,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/stopped-under-load",
        title: "stopped while requests are in flight, every request ends, and nothing is left",
        covers: &["server.stop", "S7", "S8"],
        budget: BudgetClass::Long,
        run: stopped_under_load,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/killed-under-load",
        title: "killed while requests are in flight, every request fails, and the device can be deleted",
        covers: &["server.kill", "S8", "rq.server.died"],
        budget: BudgetClass::Long,
        run: killed_under_load,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/deleted-by-somebody-else",
        title: "when somebody else stops and deletes its device, the server ends by itself",
        covers: &["server.stop", "cqe.abort.stop"],
        budget: BudgetClass::Long,
        run: deleted,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/number-that-is-taken",
        title: "a second device of the same number is refused in time, and the first is unharmed",
        covers: &["server.start", "S10"],
        budget: BudgetClass::Long,
        run: taken,
        ..Scenario::SERVER
    },
    Scenario {
        id: "server/file-that-is-not-there",
        title: "a start with a file that cannot be opened is refused in time and leaves nothing",
        covers: &["server.start", "S10"],
        run: no_file,
        ..Scenario::SERVER
    },
];

fn restart(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    input.need_word(Word::File)?;
    let wish = Wish::usual(&input).queues(2);
    let mut subject = Subject::start(context, &input, &wish)?;
    subject.fill(context)?;
    subject.check_file(context, "before the stop")?;
    let Subject { device, served, reference, backing, mut generation } = subject;
    drop(device);
    served.stop(context)?;
    super::subject::check_file(context, &backing, &reference, "between two servers")?;
    // Changed by nobody's server: the next one may not remember what was there.
    let bytes = [0x5a; 8192];
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::OpenOptions::new().write(true).open(backing.path())?,
        &bytes,
        1 << 20,
    )?;
    reference.write(1 << 20, &bytes)?;
    let served = Served::start(context, &input, &wish, &backing)?;
    let device = BlockDevice::open(&served.block_device(), context.command_timeout())?;
    let first = reference.check_device(context, &device, "after the restart")?;
    generation += 1;
    let mut subject = Subject { device, served, reference, backing, generation };
    subject.write(context, 2 << 20, 64 << 10)?;
    let second = subject.finish(context)?;
    Ok(format!("MD5 {first}, then {second}"))
}

fn five_lives(context: &mut Context) -> Result<String, Stop> {
    const LIVES: u64 = 5;
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input).queues(2);
    let backing = Backing::new("server")?;
    let nodes = block::all_nodes()?;
    let mut took = Vec::new();
    for life in 1..=LIVES {
        let served = Served::start(context, &input, &wish, &backing)?;
        let device = BlockDevice::open(&served.block_device(), context.command_timeout())?;
        device.write_at(life * 4096, &block::AlignedBuffer::zeroed(4096)).during("write")?;
        drop(device);
        took.push(served.stop(context)?.as_millis().to_string());
        let left = block::all_nodes()?;
        context.check_eq(FailureKind::Leak, format!("nodes after life {life}"), &left, &nodes)?;
    }
    Ok(format!("stopped in {} ms", took.join(", ")))
}

fn stopped_under_load(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input).queues(2);
    let backing = Backing::new("server")?;
    let mut served = Served::start(context, &input, &wish, &backing)?;
    let load = Load::start(&served.block_device(), 8, context.command_timeout())?;
    let requests = Arc::clone(&load.requests);
    served.ask_to_stop(context)?;
    let ends = load.wait(context, limit(context))?;
    served.check_gone(context, "stop")?;
    let count = requests.load(Ordering::Relaxed);
    Ok(format!("{count} requests, then {}", Vec::from_iter(ends).join(" / ")))
}

fn killed_under_load(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input).queues(2);
    let backing = Backing::new("server")?;
    let mut served = Served::start(context, &input, &wish, &backing)?;
    let load = Load::start(&served.block_device(), 8, context.command_timeout())?;
    let begin = Instant::now();
    served.kill(context)?;
    let ends = load.wait(context, limit(context))?;
    let took = begin.elapsed();
    let what = format!("every client got an error ({ends:?})");
    context.check(FailureKind::Completion, what, !ends.is_empty() && !ends.contains("stopped"))?;
    kit::check_state(context, served.id, DevState::Dead)?;
    Control::open().during("open the control device")?.del_dev(served.id)?;
    check_no_nodes(context, served.id)?;
    Ok(format!("errors after {} ms: {}", took.as_millis(), Vec::from_iter(ends).join(" / ")))
}

fn deleted(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    let wish = Wish::usual(&input).queues(2);
    let backing = Backing::new("server")?;
    let mut served = Served::start(context, &input, &wish, &backing)?;
    let begin = Instant::now();
    let mut control = Control::open().during("open the control device")?;
    control.address(served.id)?;
    control.stop_dev(served.id)?;
    // The server may have deleted it by then.
    match control.del_dev(served.id) {
        Err(error) if error.errno() != Some(nix::libc::ENODEV) => return Err(error.into()),
        _ => {}
    }
    drop(control);
    served.check_gone(context, "deleted by somebody else")?;
    Ok(format!("gone after {} ms", begin.elapsed().as_millis()))
}

fn taken(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    input.need_word(Word::Id)?;
    let wish = Wish::usual(&input);
    let mut subject = Subject::start(context, &input, &wish)?;
    subject.fill(context)?;
    let was = subject.served.info()?;
    let other = Backing::new("other")?;
    let told = refused(context, &input, &wish, other.path(), "a taken number")?;
    let now = subject.served.info()?;
    context.check_eq(
        FailureKind::State,
        "process that serves the first device",
        &now.ublksrv_pid,
        &was.ublksrv_pid,
    )?;
    subject.write(context, 0, 64 << 10)?;
    subject.finish(context)?;
    Ok(told)
}

fn no_file(context: &mut Context) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    input.need_word(Word::File)?;
    let wish = Wish::usual(&input);
    let nodes = block::all_nodes()?;
    let told = refused(context, &input, &wish, "/nonexistent/file", "a file that is not there")?;
    let left = block::all_nodes()?;
    for name in left.iter().filter(|name| !nodes.contains(name)) {
        if let Some(Ok(id)) = name.strip_prefix("ublkb").map(str::parse) {
            remove_device(id);
        }
    }
    context.check_eq(FailureKind::Leak, "nodes after it", &left, &nodes)?;
    Ok(told)
}

/// Starts the server once more with something that it cannot have: it has to end, say so, and leave no process.
fn refused(
    context: &mut Context,
    input: &ServerInput,
    wish: &Wish,
    file: &str,
    what: &str,
) -> Result<String, Stop> {
    let before = Before::now();
    let argv = values(input, wish, file).fill(&input.adapter.start.argv);
    let words = input.adapter.can.get(&wish.mode).cloned().unwrap_or_default();
    let mut started = Started::start(context, &[argv, words].concat())?;
    let status = started.wait(limit(context))?;
    let left = before.wait_for_end(context.command_timeout());
    before.kill_since(context.command_timeout());
    let told = format!("{what}: the start ends within {:?} ({})", limit(context), started.told());
    context.check(FailureKind::Completion, told, status.is_some())?;
    let told = format!("{what}: no process is left ({})", named(&left));
    context.check(FailureKind::Leak, told, left.is_empty())?;
    let crashed = started.crashed()?;
    let told = format!("{what}: the server does not crash ({})", started.told());
    context.check(FailureKind::State, told, !crashed)?;
    // A parent whose daemon fails may have nothing but words for it.
    let said = status.is_some_and(|status| !status.success()) || started.complained();
    let told = format!("{what}: the start says that it failed ({})", started.told());
    context.check(FailureKind::Operation, told, said)?;
    Ok(started.told())
}
