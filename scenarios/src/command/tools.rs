//! `ublk list`, `features` and `doctor` on a machine with a driver: what they say of a server that lives,
//! of one that died, and of none.

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use serde_json::Value;
use ublk::ctrl::Control;
use ublk::uapi::DevState;

use super::ran::{Daemon, json, run_to};
use crate::block;
use crate::context::{Context, During, Stop};
use crate::process::check_no_nodes;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "command/doctor-finds-a-dead-server",
        title: "list and doctor tell a live server from a killed one, name the remedy, and the remedy works",
        covers: &["cli.doctor", "cli.list", "S3", "S8"],
        run: finds_a_dead_server,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/features-are-the-drivers",
        title: "every feature is either there or missing, as the driver says",
        covers: &["cli.features"],
        run: features,
        ..Scenario::SERVER
    },
];

/// The findings about `what`, as JSON.
fn findings(context: &mut Context, what: &str) -> Result<Vec<Value>, Stop> {
    let all: Vec<Value> = json(context, &["doctor", "--json"])?;
    for finding in &all {
        let told = finding["state"] == "ok" || finding["remedy"].is_string();
        context.check(FailureKind::State, format_args!("{finding} has a remedy"), told)?;
    }
    Ok(all.into_iter().filter(|finding| finding["what"] == what).collect())
}

fn check_all_well(context: &mut Context, when: &str) -> Result<(), Stop> {
    for what in ["driver", "control", "io_uring", "features", "nodes", "devices"] {
        let found = findings(context, what)?;
        let well = found.len() == 1 && found.iter().all(|finding| finding["state"] == "ok");
        context.check(
            FailureKind::State,
            format_args!("{what} is well {when}: {found:?}"),
            well,
        )?;
    }
    Ok(())
}

fn listed(context: &mut Context, id: u32) -> Result<Value, Stop> {
    let list: Vec<Value> = json(context, &["list", "--json"])?;
    let found = list.into_iter().find(|entry| entry["id"] == id);
    found.ok_or_else(|| Stop::fail(FailureKind::State, format_args!("device {id} is not listed")))
}

fn finds_a_dead_server(context: &mut Context) -> Result<String, Stop> {
    check_all_well(context, "without a device")?;
    let daemon = Daemon::start(context, &["ram", "--size", "8M"])?;
    let id = daemon.live.id;
    check_all_well(context, "with a live device")?;
    let entry = listed(context, id)?;
    for (key, expected) in [
        ("server_alive", Value::from(true)),
        ("recovery", Value::from("none")),
        ("data_mode", Value::from("copy")),
    ] {
        context.check_eq(FailureKind::State, key, &entry[key], &expected)?;
    }
    let text = run_to(context, 0, &["list"])?.stdout;
    context.check(
        FailureKind::State,
        format_args!("no colour without a terminal: {text:?}"),
        text.contains("live") && !text.contains('\u{1b}'),
    )?;
    daemon.signal(Signal::SIGKILL)?;
    daemon.check_ended(context)?;
    let mut control = Control::open().during("open the control device")?;
    let dead = block::wait_until(context.command_timeout(), || {
        control.get_dev_info(id).is_ok_and(|info| info.state() == DevState::Dead)
    });
    context.check(FailureKind::State, "the device is DEAD", dead)?;
    drop(control);
    let entry = listed(context, id)?;
    let served = entry["server_alive"] == true || !entry["server"].is_null();
    context.check(FailureKind::State, format_args!("{entry} has no live server"), !served)?;
    let found = findings(context, "devices")?;
    let remedy = found.first().and_then(|finding| finding["remedy"].as_str()).unwrap_or_default();
    let del = format!("ublk del {id}");
    context.check(
        FailureKind::State,
        format_args!("doctor names `{del}`: {found:?}"),
        remedy.contains(&del),
    )?;
    let sockets = findings(context, "sockets")?;
    context.check_eq(FailureKind::State, "findings about stale sockets", &sockets.len(), &1)?;
    run_to(context, 0, &["del", &id.to_string()])?;
    check_no_nodes(context, id)?;
    check_all_well(context, "after the remedy")?;
    let _ = std::fs::remove_file(ublk::server::socket_path(id));
    Ok("live, dead and gone are told apart".into())
}

fn features(context: &mut Context) -> Result<String, Stop> {
    let mut control = Control::open().during("open the control device")?;
    let features = control.get_features()?;
    let report: Value = json(context, &["features", "--json"])?;
    let names = |key: &str| -> Vec<String> {
        let list = report[key].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    context.check_eq(
        FailureKind::State,
        "features",
        &names("features"),
        &owned(&features.names()),
    )?;
    let all = names("features").len() + names("missing").len();
    context.check_eq(FailureKind::State, "features and missing ones", &all, &21)?;
    for (arguments, expected) in
        [(&["features"][..], names("features")), (&["features", "--missing"], names("missing"))]
    {
        let text = run_to(context, 0, arguments)?.stdout;
        let lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with("0x")).map(str::to_owned).collect();
        context.check_eq(FailureKind::State, "lines of text", &lines, &expected)?;
    }
    Ok(format!("{} there, {} missing", names("features").len(), names("missing").len()))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
