//! Puts one mutant after the other under the suite: first the scenarios that probably see it, then all the others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use reports::plan::DebugOptions;
use reports::report::{Cause, Report, ScenarioReport, Verdict};
use scenarios::{Scenario, catalogue};

use super::matrix::{Fate, Row};
use super::mutant::Mutant;
use crate::cli::MutantsArgs;
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::run::{Done, Request, run_in};

/// What stays the same for all of them.
pub(crate) struct Course<'a> {
    pub(crate) args: &'a MutantsArgs,
    pub(crate) workshop: Workshop,
    pub(crate) folder: PathBuf,
    pub(crate) progress: Arc<Terminal>,
    /// `uname -r` of the guest, once one was there.
    pub(crate) kernel_release: Option<String>,
}

impl Course<'_> {
    /// What becomes of one.
    pub(crate) fn of_mutant(&mut self, mutant: &'static Mutant) -> Result<Row, Error> {
        let begin = Instant::now();
        let first = first(mutant);
        let others =
            subjects().filter(|other| first.iter().all(|one| one.id != other.id)).collect();
        let mut scenarios = 0;
        let mut fate = Fate::Alive;
        for (part, chosen) in [("first", first), ("others", others)] {
            scenarios += chosen.len();
            let name = format!("{}/{part}", mutant.name);
            fate = fate_of(&self.run(&name, chosen, Some(mutant.name))?.report);
            if !matches!(fate, Fate::Alive) {
                break;
            }
        }
        let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Row { name: mutant.name, what: mutant.what, fate, scenarios, elapsed_ms })
    }

    /// The whole suite on the same programs with no bug chosen.
    pub(crate) fn unmutated(&mut self, number: u32) -> Result<Report, Error> {
        let name = format!("unmutated-{number}");
        Ok(self.run(&name, subjects().collect(), None)?.report)
    }

    fn run(
        &mut self,
        name: &str,
        scenarios: Vec<&'static Scenario>,
        mutant: Option<&str>,
    ) -> Result<Done, Error> {
        // One machine is booted sooner than two, and a few scenarios are done before the second is up.
        let jobs = if scenarios.len() < 12 { Some(1) } else { self.args.run.jobs };
        let folder = self.folder.join(name);
        let request = Request {
            kernels: vec![self.args.kernel.clone()],
            scenarios,
            selftests: &[],
            seed: self.args.run.seed,
            partition: None,
            model_input: None,
            server: None,
            debug: DebugOptions { mutant: mutant.map(str::to_owned), ..DebugOptions::default() },
            output: Some(&folder),
            jobs,
            until_red: mutant.is_some(),
            machine: &self.args.run.machine,
            sources: &self.args.run.sources,
        };
        let done = run_in(&mut self.workshop, &request, &self.progress)?;
        if let Some(kernel) = done.report.kernels.first() {
            self.kernel_release.clone_from(&kernel.kernel.release);
        }
        Ok(done)
    }
}

/// All scenarios but the canaries, which are red whatever the server is.
fn subjects() -> impl Iterator<Item = &'static Scenario> {
    catalogue::all().filter(|scenario| !scenario.id.starts_with("canary/"))
}

/// The first scenario of each of a mutant's filters, in their order.
fn first(mutant: &Mutant) -> Vec<&'static Scenario> {
    mutant.first.iter().filter_map(|filter| catalogue::matching(filter).first().copied()).collect()
}

/// Killed by the first scenario that is red for a reason of its own. A run that broke says nothing.
fn fate_of(report: &Report) -> Fate {
    let saw = |scenario: &&ScenarioReport| {
        scenario.verdict == Verdict::Fail
            || (scenario.verdict == Verdict::Error
                && !matches!(scenario.cause, Some(Cause::NotReported | Cause::KnownBugPassed)))
    };
    let mut scenarios = report.scenarios().map(|(_, scenario)| scenario);
    if let Some(red) = scenarios.by_ref().find(saw) {
        return Fate::Killed { scenario: red.id.clone(), message: red.message.clone() };
    }
    let broken = report.errors.first().map(|error| error.message.clone());
    let ran = report.scenarios().any(|(_, scenario)| scenario.verdict == Verdict::Pass);
    match (broken, ran) {
        (Some(reason), _) => Fate::Broken { reason },
        (None, false) => Fate::Broken { reason: "no scenario could run".into() },
        (None, true) => Fate::Alive,
    }
}
