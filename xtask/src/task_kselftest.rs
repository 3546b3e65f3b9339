//! `kselftest`: the kernel's own selftests of the driver, run on our server, on the kernel's, or on both
//! side by side. What theirs passes, ours has to pass on the same kernel in the same machine.

use std::sync::Arc;

use reports::plan::DebugOptions;
use reports::report::{ExitCode, Report};
use scenarios::kselftest::{Selftest, Server};
use vmimage::arch::Arch;
use vmimage::kernel::KernelSpec;
use vmimage::selftests::{self, Selftests, SelftestsError};
use vmimage::source_package::SourcePackageError;

use crate::cli::{KselftestArgs, SelftestServer};
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::run::{Request, run_in};
use crate::selftest_guest;
use crate::selftest_table::Table;
use crate::task_vm_e2e::show;

pub(crate) fn run(args: &KselftestArgs) -> Result<ExitCode, Error> {
    let progress = Arc::new(Terminal::new());
    let mut workshop = Workshop::open(&args.sources, Arch::X86_64, &progress)?;
    let found = selftests_for(&workshop, &args.kernel)?;
    let tests = choose(&found, args)?;
    if args.list {
        tests.iter().for_each(|test| anstream::println!("{test}"));
        anstream::println!("{} scripts of {}", tests.len(), found.series);
        return Ok(ExitCode::Passed);
    }
    workshop.outfit = Some(selftest_guest::outfit(&workshop, &found, !args.no_bpftrace)?);
    let machine = args.machine();
    let request = Request {
        kernels: vec![args.kernel.clone()],
        scenarios: Vec::new(),
        selftests: &tests,
        seed: None,
        partition: None,
        debug: DebugOptions::default(),
        model_input: None,
        server: None,
        output: args.output.as_deref(),
        jobs: Some(1),
        until_red: false,
        machine: &machine,
        sources: &args.sources,
    };
    let done = run_in(&mut workshop, &request, &progress)?;
    let table = Table::of(&done.report);
    show(&done, args.json)?;
    if !args.json {
        anstream::println!("\n{table}");
    }
    Ok(verdict(&done.report, &table, args.server))
}

/// The scripts of the kernel's own series, else of the newest there are.
fn selftests_for(workshop: &Workshop, kernel: &str) -> Result<Selftests, Error> {
    let series = match KernelSpec::parse(kernel) {
        Ok(
            KernelSpec::Series(major, minor)
            | KernelSpec::Exact(major, minor, _)
            | KernelSpec::Built { series: Some((major, minor)), .. },
        ) => Some(format!("{major}.{minor}")),
        _ => None,
    };
    let archive = workshop.archive();
    let found = match selftests::kublk(archive, series.as_deref()) {
        Err(
            SelftestsError::NoSource(SourcePackageError::Absent { .. })
            | SelftestsError::Layout { .. },
        ) => selftests::kublk(archive, None),
        found => found,
    };
    found.map_err(Error::infrastructure)
}

/// The tests that any filter names, each with each server that was asked for.
fn choose(found: &Selftests, args: &KselftestArgs) -> Result<Vec<Selftest>, Error> {
    for filter in &args.filters {
        if !found.tests.iter().any(|test| test.contains(filter.as_str())) {
            let message = format!("no selftest's name holds `{filter}`; `--list` shows them");
            return Err(Error::usage(message));
        }
    }
    let servers: &[Server] = match args.server {
        SelftestServer::Ours => &[Server::Ours],
        SelftestServer::Kublk => &[Server::Kublk],
        // Theirs first: a kernel that they break is replaced before ours is judged on it.
        SelftestServer::Both => &[Server::Kublk, Server::Ours],
    };
    let wanted = |test: &&String| {
        args.filters.is_empty() || args.filters.iter().any(|f| test.contains(f.as_str()))
    };
    let tests: Vec<&String> = found.tests.iter().filter(wanted).collect();
    let of_server = |server: &Server| {
        let server = *server;
        tests.iter().map(move |test| Selftest { server, test: (*test).clone() })
    };
    Ok(servers.iter().flat_map(of_server).collect())
}

/// With one server the report's own verdict. With both, theirs is the measure and not the subject: only
/// what ours does worse is red. A record that cannot be trusted is never green.
fn verdict(report: &Report, table: &Table, server: SelftestServer) -> ExitCode {
    let own = report.exit_code();
    let judged = matches!(own, ExitCode::Passed | ExitCode::Failed) && report.errors.is_empty();
    if server != SelftestServer::Both || !judged {
        return own;
    }
    match (table.worse().next(), table.passed_by_kublk()) {
        (Some(_), _) => ExitCode::Failed,
        (None, 0) => ExitCode::NothingRan,
        (None, _) => ExitCode::Passed,
    }
}
