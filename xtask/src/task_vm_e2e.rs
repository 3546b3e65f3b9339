//! `vm-e2e` and `vm-simple-e2e`: the main job, whole and as a smoke.

use std::sync::Arc;

use reports::plan::DebugOptions;
use reports::render;
use reports::report::{ExitCode, Report};
use scenarios::{Scenario, catalogue};

use crate::cli::{E2eArgs, SimpleArgs};
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::run::{Done, Request, run as run_request, run_in};
use crate::servers::Typed;

/// What `vm-simple-e2e` runs: add, write, read, compare, delete.
const SMOKE: &[&str] = &[
    "lifecycle/fresh-state",
    "data/request-sizes-around-the-buffer-limit",
    "lifecycle/stop-idle-by-sigterm",
];

pub(crate) fn run(args: &E2eArgs) -> Result<ExitCode, Error> {
    let adapter = args.server.as_deref().map(Typed::read).transpose()?;
    let chosen = choose(&args.filters, args.server.as_deref())?;
    if args.list {
        list(&chosen);
        return Ok(ExitCode::Passed);
    }
    let progress = Arc::new(Terminal::new());
    let mut workshop = Workshop::open(&args.run.sources, args.run.machine.arch, &progress)?;
    let server = adapter.map(|typed| typed.provide(&mut workshop, &progress)).transpose()?;
    let kernels =
        if args.kernels.is_empty() { vec!["newest".to_owned()] } else { args.kernels.clone() };
    let request = Request {
        kernels,
        scenarios: chosen,
        selftests: &[],
        seed: args.run.seed,
        partition: args.partition,
        debug: DebugOptions::default(),
        model_input: None,
        server: server.as_ref(),
        output: args.run.output.as_deref(),
        jobs: args.run.jobs,
        until_red: false,
        machine: &args.run.machine,
        sources: &args.run.sources,
    };
    let done = run_in(&mut workshop, &request, &progress)?;
    show(&done, args.run.json)?;
    Ok(done.report.exit_code())
}

pub(crate) fn simple(args: &SimpleArgs) -> Result<ExitCode, Error> {
    let request = Request {
        kernels: vec![args.kernel.clone()],
        scenarios: SMOKE.iter().filter_map(|id| catalogue::find(id)).collect(),
        selftests: &[],
        seed: None,
        partition: None,
        debug: DebugOptions::default(),
        model_input: None,
        server: None,
        output: args.output.as_deref(),
        jobs: Some(1),
        until_red: false,
        machine: &args.machine,
        sources: &args.sources,
    };
    let done = run_request(&request, &Arc::new(Terminal::new()))?;
    show(&done, false)?;
    Ok(done.report.exit_code())
}

/// The table and where the reports are, or the report itself.
pub(crate) fn show(done: &Done, json: bool) -> Result<(), Error> {
    if json {
        let text = serde_json::to_string_pretty(&done.report).map_err(Error::infrastructure)?;
        anstream::println!("{text}");
        return Ok(());
    }
    // anstream takes the colours out again where the output is no terminal.
    anstream::println!("{}", render::terminal(&done.report, render::Palette::ansi()));
    anstream::println!("reports: {}", done.folder.display());
    // A merged report has no record of its own.
    for (file, what) in FILES.iter().filter(|(file, _)| done.folder.join(file).is_file()) {
        anstream::println!("  {file:<13} {what}");
    }
    Ok(())
}

const FILES: [(&str, &str); 5] = [
    ("report.html", "for a browser: one page, complete"),
    ("report.json", "everything, with a schema"),
    ("junit.xml", "for CI"),
    ("ktap.txt", "for kernel people"),
    ("events.jsonl", "what was seen, line by line"),
];

/// The scenarios that any filter names, in run order; all of them without one. With a server that was named, of those
/// that are asked of one.
pub(crate) fn choose(
    filters: &[String],
    server: Option<&str>,
) -> Result<Vec<&'static Scenario>, Error> {
    let chosen = match server {
        Some(_) => catalogue::choose(catalogue::of_a_server(), filters),
        None => catalogue::choose(catalogue::all(), filters),
    };
    chosen.map_err(|filter| {
        let of_a_server = catalogue::choose(catalogue::of_a_server(), &[filter.to_owned()]).is_ok();
        let more = match server {
            None if of_a_server => {
                " without --server NAME|FILE, which it is asked of; `--server ublk` is ours"
            }
            None => "; `vm-e2e --list` shows them",
            Some(_) => "; `vm-e2e --list --server NAME|FILE` shows them",
        };
        Error::usage(format!("no scenario matches `{filter}`{more}"))
    })
}

fn list(scenarios: &[&Scenario]) {
    for scenario in scenarios {
        anstream::println!("{:<44} {}", scenario.id, scenario.title);
        anstream::println!("{:<44}   covers {}", "", scenario.covers.join(", "));
    }
    anstream::println!("{} scenarios", scenarios.len());
}

/// Whether any red scenario's evidence holds a crash of the kernel.
pub(crate) fn shows_crash(report: &Report) -> bool {
    report.scenarios().any(|(_, scenario)| {
        scenario.evidence.iter().any(|evidence| reports::splat::contains_crash(&evidence.text))
    }) || report.kernels.iter().flat_map(|kernel| &kernel.boots).any(|boot| boot.console_splat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smoke_exists() {
        assert!(SMOKE.iter().all(|id| catalogue::find(id).is_some()));
    }

    #[test]
    fn an_unknown_filter_is_a_usage_error() {
        let error = choose(&["nothing-like-this".into()], None).unwrap_err();
        assert_eq!(error.code, ExitCode::Usage);
    }

    #[test]
    fn with_a_server_only_its_family_and_the_canaries_are_chosen() {
        let all = choose(&[], Some("ublk")).unwrap();
        assert!(all.iter().all(|one| one.id.starts_with("server/") || one.canary.is_some()));
        assert_eq!(all.iter().filter(|one| one.canary.is_some()).count(), 5);
        assert!(choose(&[], None).unwrap().iter().all(|one| !one.id.starts_with("server/")));
        let line = choose(&["server/*".into()], None).unwrap_err().to_string();
        assert!(line.contains("--server"), "{line}");
    }
}
