//! Whatever becomes of a daemon that starts, who started it hears of it, with the reason, in bounded time.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use rand::Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::Features;

use super::ran::{Daemon, Ran, Running, Scratch, run, run_to, runs};
use crate::block;
use crate::context::{Context, During, Stop};
use crate::process::{Live, check_no_nodes, remove_device};
use crate::rig;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "command/daemon-failure-is-the-parents",
        title: "a taken id, a size too small and a missing file end the parent with the child's reason and code",
        covers: &["cli.daemon", "S10", "add.id.exists"],
        run: failures,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/daemon-interrupted-while-starting",
        title: "a daemon that hangs while it starts ends with its parent's Ctrl-C, or with its own death",
        covers: &["cli.daemon", "S10"],
        run: interrupted,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/daemon-killed-at-any-moment",
        title: "a daemon killed at a random moment of its start leaves no parent that waits, and no device for good",
        covers: &["cli.daemon", "S8", "S10"],
        budget: BudgetClass::Long,
        run: killed_at_any_moment,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/daemon-killed-while-partitions-are-read",
        title: "a daemon killed with the partition table's read in its hands goes, and its device can be deleted",
        covers: &["cli.daemon", "S8", "S10"],
        run: killed_in_the_scan,
        ..Scenario::SERVER
    },
];

fn failures(context: &mut Context) -> Result<String, Stop> {
    let taken = Daemon::start(context, &["null", "--size", "1M"])?;
    let before = block::all_nodes()?;
    let id = taken.id();
    let cases: [(&[&str], i32, &str); 3] = [
        (&["null", "--size", "1M", "--id", &id], 1, "EEXIST"),
        (&["ram", "--size", "100"], 2, "do not fill one logical block"),
        (&["file", "--path", "/nonexistent/backing"], 1, "/nonexistent/backing"),
    ];
    let mut longest = Duration::ZERO;
    for (arguments, code, reason) in cases {
        for json in [&[][..], &["--json"]] {
            let arguments = [&["add"], arguments, &["--daemon"], json].concat();
            let ran = run_to(context, code, &arguments)?;
            context.check(
                FailureKind::Operation,
                format_args!("one line with {reason:?}: {:?}", ran.stderr),
                ran.stderr.contains(reason) && ran.stderr.lines().count() == 1,
            )?;
            context.check_eq(FailureKind::State, "its output", &ran.stdout.as_str(), &"")?;
            longest = longest.max(ran.took);
        }
    }
    let after = block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "nodes after the failures", &after, &before)?;
    taken.signal(Signal::SIGTERM)?;
    taken.check_ended(context)?;
    check_no_nodes(context, taken.live.id)?;
    Ok(format!("each told in {} ms at most", longest.as_millis()))
}

/// Waits for the child of a command, which has come as far as its own session.
fn child_of(context: &Context, parent: Pid) -> Result<Pid, Stop> {
    let mut found = None;
    block::wait_until(context.command_timeout(), || {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let child = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        found = child.map(Pid::from_raw).filter(|&pid| nix::unistd::getsid(Some(pid)) == Ok(pid));
        found.is_some()
    });
    found.ok_or_else(|| Stop::error("no daemon appeared below the command"))
}

/// Opening a FIFO to read waits for a writer for ever: a target that never gets ready.
fn interrupted(context: &mut Context) -> Result<String, Stop> {
    let fifo = Scratch::new("fifo");
    nix::unistd::mkfifo(&fifo.0, Mode::S_IRWXU).during("make a FIFO")?;
    let path = fifo.text();
    let arguments = ["add", "file", "--path", &path, "--size", "1M", "--read-only", "--daemon"];
    let mut said = Vec::new();
    for (signal, to_parent, words) in [
        (Signal::SIGINT, true, "interrupted before the device was live"),
        (Signal::SIGTERM, true, "interrupted before the device was live"),
        (Signal::SIGKILL, false, "ended without a word"),
    ] {
        let parent = Running::start(context, &arguments)?;
        let daemon = child_of(context, parent.pid())?;
        let whom = if to_parent { parent.pid() } else { daemon };
        kill(whom, signal).during(format_args!("send {signal}"))?;
        let ran = parent.wait(context.command_timeout() * 4)?;
        context.check_eq(FailureKind::State, "exit code", &ran.code, &Some(1))?;
        context.check(
            FailureKind::Operation,
            format_args!("it says {words:?}: {:?}", ran.stderr),
            ran.stderr.contains(words) && ran.stderr.lines().count() == 1,
        )?;
        context.check(FailureKind::Leak, "the daemon is gone", !runs(daemon))?;
        said.push(format!("{signal} {} ms", ran.took.as_millis()));
    }
    let nodes = block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "ublk nodes", &nodes, &Vec::new())?;
    Ok(said.join(", "))
}

fn killed_at_any_moment(context: &mut Context) -> Result<String, Stop> {
    const ROUNDS: u32 = 12;
    // Drivers that can leave the partition scan out are those that do not scan inside of START_DEV. With the others a server
    // that dies just before its disk is there can leave that scan without an answer: docs/kernel-facts.md.
    if !rig::offers(Features::NO_AUTO_PART_SCAN)? {
        return Err(Stop::skip(
            "NO_AUTO_PART_SCAN in GET_FEATURES",
            "START_DEV scans partitions, and can wait for a server that is gone",
        ));
    }
    let mut rng = context.rng("moment");
    let (mut lived, mut died) = (0, 0);
    for round in 0..ROUNDS {
        let arguments = ["add", "ram", "--size", "8M", "--queues", "2", "--daemon", "--json"];
        let parent = Running::start(context, &arguments)?;
        let daemon = child_of(context, parent.pid())?;
        // Up to what a start takes under emulation; the first round dies at once.
        std::thread::sleep(Duration::from_millis(rng.random_range(0..=16 * u64::from(round))));
        let _ = kill(daemon, Signal::SIGKILL);
        if check_killed(context, parent, daemon)? {
            lived += 1;
        } else {
            died += 1;
        }
    }
    Ok(format!("{died} died while they started, {lived} were live already; nothing is left"))
}

/// The server never answers a read, so the scan is surely waiting for it when it is killed. From Linux 7.0 the parent does not
/// wait for the scan, and has said that the device is live.
fn killed_in_the_scan(context: &mut Context) -> Result<String, Stop> {
    const ROUNDS: u32 = 3;
    let arguments =
        ["add", "ram", "--size", "8M", "--fault", "op=read,never", "--daemon", "--json"];
    let mut longest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let parent = Running::start(context, &arguments)?;
        let daemon = child_of(context, parent.pid())?;
        let attached = || Path::new("/sys/block/ublkb0").exists();
        let attached = block::wait_until(context.command_timeout(), attached);
        context.check(FailureKind::State, "the disk comes", attached)?;
        std::thread::sleep(context.quiet());
        kill(daemon, Signal::SIGKILL).during("kill the daemon")?;
        let begin = Instant::now();
        check_killed(context, parent, daemon)?;
        longest = longest.max(begin.elapsed());
    }
    Ok(format!("all is gone {} ms after the kill at most", longest.as_millis()))
}

/// After the kill the parent says how it went, the daemon goes, and so does its device; true when that had been live.
fn check_killed(context: &mut Context, parent: Running, daemon: Pid) -> Result<bool, Stop> {
    let ran = parent.wait(context.command_timeout() * 4)?;
    let live = check_told(context, &ran)?;
    let gone = block::wait_until(context.command_timeout(), || !runs(daemon));
    context.check(FailureKind::Leak, "the daemon is gone", gone)?;
    delete_what_is_left(context)?;
    Ok(live)
}

/// A parent has said one thing or the other; true when the device had been live.
fn check_told(context: &mut Context, ran: &Ran) -> Result<bool, Stop> {
    let live = serde_json::from_str::<Live>(&ran.stdout).is_ok();
    let told = match ran.code {
        Some(0) => live && ran.stderr.is_empty(),
        Some(1) => ran.stdout.is_empty() && ran.stderr.contains("ended without a word"),
        _ => false,
    };
    context.check(
        FailureKind::Operation,
        format_args!("the parent says how it went: {ran:?}"),
        told,
    )?;
    Ok(live)
}

/// What a killed server leaves has to go by `ublk del`, as its parent advises.
fn delete_what_is_left(context: &mut Context) -> Result<(), Stop> {
    let ran = run(context, &["del", "--all"])?;
    let gone = block::wait_until(context.command_timeout(), || {
        block::all_nodes().is_ok_and(|nodes| nodes.is_empty())
    });
    if !gone {
        (0..4).for_each(remove_device);
    }
    context.check(
        FailureKind::Leak,
        format_args!("`ublk del --all` removes what is left ({ran:?})"),
        gone && ran.code == Some(0),
    )
}
