//! `vm-debug SCENARIO`: one scenario with everything switched on that shows what happened, in one folder.

use std::path::Path;
use std::sync::Arc;

use reports::plan::DebugOptions;
use reports::report::ExitCode;
use scenarios::catalogue;
use vmimage::fsio;

use crate::cli::DebugArgs;
use crate::error::Error;
use crate::progress::Terminal;
use crate::run::{Done, Request, run as run_request};
use crate::task_vm_e2e::show;

pub(crate) fn run(args: &DebugArgs) -> Result<ExitCode, Error> {
    let Some(scenario) = catalogue::find(&args.scenario) else {
        let message =
            format!("there is no scenario `{}`; `vm-e2e --list` shows them", args.scenario);
        return Err(Error::usage(message));
    };
    let request = Request {
        kernels: vec![args.kernel.clone()],
        scenarios: vec![scenario],
        selftests: &[],
        seed: args.seed,
        partition: None,
        model_input: None,
        server: None,
        debug: DebugOptions {
            dynamic_debug: true,
            function_trace: true,
            sqe_dump: true,
            mutant: None,
            driver_counters: false,
        },
        output: args.output.as_deref(),
        jobs: Some(1),
        until_red: false,
        machine: &args.machine,
        sources: &args.sources,
    };
    let done = run_request(&request, &Arc::new(Terminal::new()))?;
    show(&done, false)?;
    for path in write_evidence(&done)? {
        anstream::println!("  {}", path.display());
    }
    Ok(done.report.exit_code())
}

/// Each piece of evidence as a file of its own, next to the report.
fn write_evidence(done: &Done) -> Result<Vec<std::path::PathBuf>, Error> {
    let mut written = Vec::new();
    for (_, scenario) in done.report.scenarios() {
        for evidence in &scenario.evidence {
            let path = done.folder.join(file_name(&evidence.name));
            fsio::write(&path, evidence.text.as_bytes()).map_err(Error::infrastructure)?;
            written.push(path);
        }
    }
    Ok(written)
}

/// A name that stays in the folder, whatever the guest called its evidence.
fn file_name(evidence: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = evidence.chars().take(64).map(safe).collect();
    Path::new(&name).with_extension("txt").display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_cannot_leave_the_folder() {
        assert_eq!(file_name("sqe-dump"), "sqe-dump.txt");
        assert_eq!(file_name("../../etc/passwd"), "______etc_passwd.txt");
    }
}
