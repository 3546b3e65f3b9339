//! `runner --here` on a machine with a driver, which a guest is: it asks before it does anything, leaves the devices of
//! others alone, says how each scenario ended, and leaves nothing, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use reports::report::{ScenarioReport, Verdict};
use reports::{Report, Status};
use ublk::ctrl::{CONTROL_PATH, Control};
use ublk::uapi::DevState;

use super::ran::{Daemon, Ran, Running, Scratch};
use crate::block::{self, AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::devices;
use crate::hazard;
use crate::process::UBLK_VARIABLE;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "command/here-asks-first",
        title: "a run on this machine begins only where it is allowed, possible and alone, and says why not in one line",
        covers: &["here.guard"],
        run: asks_first,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/here-runs-the-plan",
        title: "a run on this machine reports passes, a caught canary and what it leaves out, and leaves nothing",
        covers: &["here.run"],
        budget: BudgetClass::Long,
        run: runs_the_plan,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/here-ends-when-told",
        title: "Ctrl-C ends a run on this machine after its scenario, a second one in it, and a stranger's device before the next",
        covers: &["here.interrupt", "here.guard"],
        budget: BudgetClass::Long,
        run: ends_when_told,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/here-is-red",
        title: "a server that loses data and one that is not there make a run on this machine red, and leave nothing",
        covers: &["here.red"],
        budget: BudgetClass::Long,
        run: is_red,
        ..Scenario::SERVER
    },
];

const ALLOWED: [&str; 2] = ["--here", "--allow-device-creation"];
const HARMLESS: &str = "lifecycle/fresh-state";
/// It has a device for some seconds.
const SLOW: &str = "lifecycle/idle-server-does-not-wake";
/// The catalogue has it later.
const AFTER_SLOW: &str = "recovery/killed-plain";
const DATA: &str = "data/request-sizes-around-the-buffer-limit";

/// The agent's own program, which is this one.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).env_remove(UBLK_VARIABLE);
    command
}

/// How long a run may take; a scenario in it has the limits of this machine.
fn limit(context: &Context) -> Duration {
    Duration::from_millis(context.budgets.class_ms(BudgetClass::Normal))
}

fn start(context: &mut Context, command: Command) -> Result<Running, Stop> {
    Running::start_command(context, command)
}

/// Checks the exit code; the last line on standard error is told with another one.
fn check_code(context: &mut Context, ran: &Ran, code: i32) -> Result<(), Stop> {
    let said = ran.stderr.lines().last().unwrap_or_default();
    let what = format!("exit code ({said})");
    context.check_eq(FailureKind::State, what, &ran.code, &Some(code))
}

/// Runs to its end, and checks that it refuses in one line of standard error.
fn check_refused(
    context: &mut Context,
    command: Command,
    code: i32,
    words: &str,
) -> Result<(), Stop> {
    let ran = start(context, command)?.wait(limit(context))?;
    check_code(context, &ran, code)?;
    context.check(
        FailureKind::Operation,
        format_args!("one line with {words:?}: {:?}", ran.stderr),
        ran.stderr.contains(words) && ran.stderr.lines().count() == 1 && ran.stdout.is_empty(),
    )
}

fn asks_first(context: &mut Context) -> Result<String, Stop> {
    let folder = Scratch::new("here");
    let path = folder.text();
    let allowed = [&ALLOWED[..], &["--filter", HARMLESS, "--output", &path]].concat();
    check_refused(context, command(&["--here", "--filter", HARMLESS]), 2, ALLOWED[1])?;
    check_refused(context, command(&[]), 2, "--here")?;
    let idle = [&ALLOWED[..], &["--filter", "no/such"]].concat();
    check_refused(context, command(&idle), 2, "no/such")?;
    let mut somebody = command(&allowed);
    somebody.uid(1000).gid(1000);
    check_refused(context, somebody, 3, "root")?;
    {
        let _hidden = Hidden::of(CONTROL_PATH)?;
        check_refused(context, command(&allowed), 3, "mknod")?;
    }
    let mut without = command(&allowed);
    without.env(UBLK_VARIABLE, "/nonexistent/ublk");
    check_refused(context, without, 3, "/nonexistent/ublk")?;
    let daemon = Daemon::start(context, &["ram", "--size", "8M"])?;
    let words = format!("device {},", daemon.live.id);
    check_refused(context, command(&allowed), 3, &words)?;
    check_unharmed(context, &daemon)?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.check_ended(context)?;
    check_nothing_left(context)?;
    context.check(FailureKind::Leak, "no report was begun", !folder.0.exists())?;
    let listed = start(context, command(&["--here", "--list", "--filter", "canary/*"]))?;
    let listed = listed.wait(limit(context))?;
    context.check(
        FailureKind::State,
        format_args!("the list names what is left out: {listed:?}"),
        listed.code == Some(0) && listed.stdout.ends_with("5 scenarios, 4 left out\n"),
    )?;
    Ok("seven refusals, each with its remedy".into())
}

/// A node that is not in its place for a while.
struct Hidden {
    path: &'static str,
    beside: String,
}

impl Hidden {
    fn of(path: &'static str) -> Result<Self, Stop> {
        let beside = format!("{path}-hidden");
        fs::rename(path, &beside).during(format_args!("hide {path}"))?;
        Ok(Self { path, beside })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = fs::rename(&self.beside, self.path);
    }
}

/// The stranger's device serves as it did.
fn check_unharmed(context: &mut Context, daemon: &Daemon) -> Result<(), Stop> {
    let mut control = Control::open().during("open the control device")?;
    let info = control.get_dev_info(daemon.live.id)?;
    context.check_eq(FailureKind::State, "its state", &info.state(), &DevState::Live)?;
    context.check_eq(FailureKind::State, "its server", &info.ublksrv_pid, &daemon.live.pid)?;
    let device = BlockDevice::open(&daemon.live.block_device, context.command_timeout())?;
    let mut read = AlignedBuffer::zeroed(4096);
    device.write_at(4096, &AlignedBuffer::zeroed(4096))?;
    device.read_at(4096, &mut read)?;
    Ok(())
}

/// No device, no process and no mount of a run.
fn check_nothing_left(context: &mut Context) -> Result<(), Stop> {
    let ids = devices::ids()?;
    context.check_eq(FailureKind::Leak, "ublk devices", &ids, &BTreeSet::new())?;
    let left = agents_and_sleepers()?;
    context.check_eq(FailureKind::Leak, "processes of the run", &left, &Vec::new())?;
    let mounts = fs::read_to_string("/proc/self/mounts").during("read the mounts")?;
    let count = mounts.lines().filter(|line| line.split(' ').nth(1) == Some("/tmp")).count();
    context.check(
        FailureKind::Leak,
        format_args!("{count} mounts on /tmp, one at most"),
        count <= 1,
    )
}

/// Longer than a run takes to see that it is interrupted, shorter than [`SLOW`].
const BETWEEN_INTERRUPTS: Duration = Duration::from_millis(500);
/// How long the process sleeps that a bad server leaves; nobody else asks for just this.
const SLEEP: &str = "86399";

fn agents_and_sleepers() -> Result<Vec<String>, Stop> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").during("list processes")?.flatten() {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.split('\0').any(|word| word == "here-agent" || word == SLEEP) {
            left.push(line.replace('\0', " "));
        }
    }
    Ok(left)
}

/// The report that a run printed.
fn report(ran: &Ran) -> Result<Report, Stop> {
    serde_json::from_str(&ran.stdout).during(format_args!("read the report of {ran:?}"))
}

fn of<'a>(report: &'a Report, id: &str) -> Result<&'a ScenarioReport, Stop> {
    let found = report.scenarios().map(|(_, scenario)| scenario).find(|one| one.id == id);
    found.ok_or_else(|| Stop::fail(FailureKind::State, format_args!("{id} is not reported")))
}

fn check_verdict(
    context: &mut Context,
    report: &Report,
    id: &str,
    verdict: Verdict,
) -> Result<(), Stop> {
    let seen = of(report, id)?;
    let what = format!("verdict of {id} ({})", seen.message);
    context.check_eq(FailureKind::State, what, &seen.verdict, &verdict)
}

fn runs_the_plan(context: &mut Context) -> Result<String, Stop> {
    const PASSING: &[&str] =
        &[HARMLESS, "lifecycle/info-of-a-live-device", "startup/fetch-twice", DATA];
    let folder = Scratch::new("here");
    let (path, slow) = (folder.text(), context.budgets.scale.to_string());
    let options = ["--seed", "7", "--slow", &slow, "--output", &path, "--json"];
    let filters = PASSING.iter().chain(&["canary/*"]).flat_map(|id| ["--filter", *id]);
    let arguments: Vec<&str> = ALLOWED.into_iter().chain(options).chain(filters).collect();
    let ran = start(context, command(&arguments))?.wait(limit(context) * 2)?;
    context.evidence("here-stderr", &ran.stderr);
    check_code(context, &ran, 0)?;
    let report = report(&ran)?;
    context.check_eq(FailureKind::State, "status", &report.status, &Status::Passed)?;
    for id in PASSING {
        check_verdict(context, &report, id, Verdict::Pass)?;
        context.check(
            FailureKind::State,
            format_args!("{id} has checked"),
            of(&report, id)?.checks > 0,
        )?;
    }
    check_verdict(context, &report, "canary/corrupt-byte", Verdict::Caught)?;
    for id in ["canary/panic", "canary/hang", "canary/warn", "canary/segfault"] {
        check_verdict(context, &report, id, Verdict::Skip)?;
        let probe = of(&report, id)?.skip.as_ref().map(|skip| skip.probe.clone());
        context.check_eq(
            FailureKind::State,
            "its probe",
            &probe.as_deref(),
            &Some(hazard::PROBE),
        )?;
    }
    for file in ["report.json", "report.html", "junit.xml", "ktap.txt", "events.jsonl"] {
        let size = fs::metadata(folder.0.join(file)).map_or(0, |found| found.len());
        context.check(FailureKind::State, format_args!("{file} is written"), size > 0)?;
    }
    check_nothing_left(context)?;
    check_without_log(context, &path)?;
    let _ = fs::remove_dir_all(&folder.0);
    Ok(format!("{} passed, {} left out", report.counts.passed, report.counts.skipped))
}

/// A kernel log that cannot be read is told, and no reason not to run.
fn check_without_log(context: &mut Context, path: &str) -> Result<(), Stop> {
    let _hidden = Hidden::of("/dev/kmsg")?;
    let arguments = [&ALLOWED[..], &["--filter", HARMLESS, "--output", path, "--json"]].concat();
    let ran = start(context, command(&arguments))?.wait(limit(context))?;
    check_code(context, &ran, 0)?;
    let reason = report(&ran)?.run.accelerator.reason;
    let told = reason.contains("what its kernel logs is not seen");
    context.check(FailureKind::State, format_args!("it is told: {reason}"), told)
}

/// Starts a run, and waits until it has a device.
fn begun(context: &mut Context, arguments: &[&str]) -> Result<Running, Stop> {
    let running = start(context, command(arguments))?;
    let seen =
        block::wait_until(limit(context), || devices::ids().is_ok_and(|ids| !ids.is_empty()));
    context.check(FailureKind::State, "it adds a device", seen)?;
    Ok(running)
}

/// The agent below `run` has mounts and a group that nobody else has.
fn check_apart(context: &mut Context, run: Pid) -> Result<(), Stop> {
    let path = format!("/proc/{run}/task/{run}/children");
    let children = fs::read_to_string(&path).during(format_args!("read {path}"))?;
    let agent = children.split_whitespace().next().unwrap_or_default();
    let mounts = |pid: &str| {
        let path = format!("/proc/{pid}/ns/mnt");
        fs::read_link(&path).during(format_args!("read {path}"))
    };
    let (its, ours) = (mounts(agent)?, mounts("self")?);
    context.check(FailureKind::State, format_args!("{its:?} is not {ours:?}"), its != ours)?;
    let group = fs::metadata(format!("/proc/{agent}")).during("look at the agent")?.gid();
    context.check(
        FailureKind::State,
        format_args!("its group {group} is its own"),
        group > u32::from(u16::MAX),
    )
}

fn ends_when_told(context: &mut Context) -> Result<String, Stop> {
    let folder = Scratch::new("here");
    let (path, slow) = (folder.text(), context.budgets.scale.to_string());
    let more = ["--slow", &slow, "--output", &path, "--json"];
    let with = |filters: &[&'static str]| [&ALLOWED[..], &more, filters].concat();
    let running = begun(context, &with(&["--filter", SLOW, "--filter", AFTER_SLOW]))?;
    check_apart(context, running.pid())?;
    kill(running.pid(), Signal::SIGINT).during("interrupt the run")?;
    let told = interrupted(context, &running.wait(limit(context))?)?;
    check_verdict(context, &told, SLOW, Verdict::Pass)?;
    check_verdict(context, &told, AFTER_SLOW, Verdict::NotRun)?;
    ends_at_once(context, &with(&["--filter", SLOW]))?;

    let running = begun(context, &with(&["--filter", "lifecycle/*"]))?;
    let daemon = Daemon::start(context, &["ram", "--size", "8M"])?;
    let ran = running.wait(limit(context) * 2)?;
    check_code(context, &ran, 3)?;
    let words = format!("somebody else has added ublk device {}", daemon.live.id);
    let told = report(&ran)?;
    context.check(
        FailureKind::State,
        format_args!("{words:?} is told: {:?}", told.errors),
        told.errors.iter().any(|error| error.message.contains(&words)),
    )?;
    check_unharmed(context, &daemon)?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.check_ended(context)?;
    check_nothing_left(context)?;
    let _ = fs::remove_dir_all(&folder.0);
    Ok("after its scenario, in it, and before the next; a stranger's device was not touched".into())
}

/// The report of a run that says it was interrupted, and has left nothing.
fn interrupted(context: &mut Context, ran: &Ran) -> Result<Report, Stop> {
    check_code(context, ran, 130)?;
    let told = report(ran)?;
    context.check_eq(FailureKind::State, "status", &told.status, &Status::Interrupted)?;
    check_nothing_left(context)?;
    Ok(told)
}

/// Two of them end it in its scenario.
fn ends_at_once(context: &mut Context, arguments: &[&str]) -> Result<(), Stop> {
    let running = begun(context, arguments)?;
    for _ in 0..2 {
        kill(running.pid(), Signal::SIGINT).during("interrupt the run")?;
        std::thread::sleep(BETWEEN_INTERRUPTS);
    }
    let told = interrupted(context, &running.wait(limit(context))?)?;
    check_verdict(context, &told, SLOW, Verdict::NotRun)
}

/// A server that inverts a byte of each read, behind a shell that leaves a process.
fn bad_server() -> Result<Scratch, Stop> {
    let script = Scratch::new("bad-server");
    let text = format!(
        "#!/bin/busybox sh\n/bin/busybox sleep {SLEEP} </dev/null >/dev/null 2>&1 &\n\
         verb=$1\nshift\n\
         [ \"$verb\" = add ] && exec /bin/ublk add \"$@\" --fault op=read,flip\n\
         exec /bin/ublk \"$verb\" \"$@\"\n"
    );
    let mut file = fs::File::create(&script.0).during("write a server")?;
    file.write_all(text.as_bytes()).during("write a server")?;
    file.set_permissions(fs::Permissions::from_mode(0o755)).during("make it a program")?;
    Ok(script)
}

fn is_red(context: &mut Context) -> Result<String, Stop> {
    crate::probe::program("/bin/busybox")?;
    let (folder, server) = (Scratch::new("here"), bad_server()?);
    let (path, slow) = (folder.text(), context.budgets.scale.to_string());
    let more = ["--filter", HARMLESS, "--filter", DATA, "--slow", &slow, "--output", &path];
    let arguments = [&ALLOWED[..], &more, &["--json"]].concat();
    let mut bad = command(&arguments);
    bad.env(UBLK_VARIABLE, &server.0);
    let ran = start(context, bad)?.wait(limit(context) * 2)?;
    check_code(context, &ran, 1)?;
    let told = report(&ran)?;
    context.check_eq(FailureKind::State, "status", &told.status, &Status::Failed)?;
    check_verdict(context, &told, HARMLESS, Verdict::Pass)?;
    check_verdict(context, &told, DATA, Verdict::Fail)?;
    let failure = of(&told, DATA)?.failure;
    context.check_eq(
        FailureKind::State,
        "what failed",
        &failure,
        &Some(FailureKind::DataMismatch),
    )?;
    check_nothing_left(context)?;

    let unbegun = Path::new("/proc/none").display().to_string();
    let arguments = [&ALLOWED[..], &["--filter", HARMLESS, "--output", &unbegun]].concat();
    check_refused(context, command(&arguments), 3, &unbegun)?;
    check_nothing_left(context)?;
    let _ = fs::remove_dir_all(&folder.0);
    Ok("a flipped byte is a failure; its shell's process is gone".into())
}
