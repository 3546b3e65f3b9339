//! One round: a machine is booted, does some scenarios with one input, and ends well, with differences, or lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reports::event::{GuestEvent, GuestLine, Record, Seen};
use reports::plan::DebugOptions;
use reports::report::{Report, Verdict};
use scenarios::fuzz::Act;
use scenarios::model::{Input, Reproducer, Step};
use scenarios::{Scenario, catalogue};

use crate::cli::{MachineArgs, SourceArgs};
use crate::environment;
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::run::{Done, Request, run_in};
use crate::servers::{Server, Typed};
use crate::workspace;

/// A workshop that stays open for many rounds.
pub(crate) struct Bench<'a> {
    workshop: Workshop,
    machine: &'a MachineArgs,
    sources: &'a SourceArgs,
    /// Shows what goes on.
    pub(crate) progress: Arc<Terminal>,
    /// Folder of everything.
    pub(crate) folder: PathBuf,
    server: Option<Server>,
    rounds: u32,
}

/// What a machine did last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LastCase {
    /// A sequence of the model's.
    Steps(Vec<Step>),
    /// A case of the fuzzer's.
    Acts(Vec<Act>),
}

impl LastCase {
    /// The last of what was told before it was done; of the model's steps those that were begun, where that was told.
    fn of(told: &[String]) -> Option<Self> {
        let is_case = |text: &String| text.starts_with("case ") || text.starts_with("fuzz-case ");
        let at = told.iter().rposition(is_case)?;
        if let Some(acts) = told[at].strip_prefix("fuzz-case ") {
            return serde_json::from_str(acts).ok().map(Self::Acts);
        }
        let mut steps: Vec<Step> = serde_json::from_str(told[at].strip_prefix("case ")?).ok()?;
        let later = told[at..].iter().rev();
        let reached = later.filter_map(|text| text.strip_prefix("at ")?.parse().ok()).next();
        steps.truncate(reached.unwrap_or(usize::MAX));
        Some(Self::Steps(steps))
    }

    /// How many steps it has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Steps(steps) => steps.len(),
            Self::Acts(acts) => acts.len(),
        }
    }
}

/// How a round ended.
#[derive(Debug, Default)]
pub(crate) struct RoundEnd {
    /// Every scenario passed.
    pub(crate) passed: bool,
    /// Nothing can be said of the kernel: the machine was not there.
    pub(crate) infrastructure: Option<String>,
    /// Title of the splat, where the kernel printed one or was lost.
    pub(crate) crash: Option<String>,
    /// What was being done last.
    pub(crate) last: Option<LastCase>,
    /// Cases that showed something new, with their scenario.
    pub(crate) cases: Vec<(String, Vec<Act>)>,
    /// What the guest had shrunk itself.
    pub(crate) reproducers: Vec<Reproducer>,
    /// Scenarios that were red and left no reproducer, each with its message: nobody may take them for green.
    pub(crate) unexplained: Vec<(String, String)>,
    /// Verdicts and summaries, one line each.
    pub(crate) told: Vec<String>,
    /// Everything that was said in steps.
    pub(crate) steps: Vec<String>,
}

impl<'a> Bench<'a> {
    pub(crate) fn open(
        machine: &'a MachineArgs,
        sources: &'a SourceArgs,
        output: Option<&Path>,
        name: &str,
    ) -> Result<Self, Error> {
        let progress = Arc::new(Terminal::new());
        let workshop = Workshop::open(sources, machine.arch, &progress)?;
        let folder = output.map_or_else(
            || {
                workspace::root()
                    .join("artifacts")
                    .join(format!("{name}-{}", environment::unix_ms()))
            },
            Path::to_owned,
        );
        Ok(Self { workshop, machine, sources, progress, folder, server: None, rounds: 0 })
    }

    /// Has the scenarios of a server asked of this one.
    pub(crate) fn name_server(&mut self, argument: &str) -> Result<(), Error> {
        let typed = Typed::read(argument)?;
        self.server = Some(typed.provide(&mut self.workshop, &self.progress)?);
        Ok(())
    }

    /// Boots `kernel` and does the scenarios called `ids`.
    pub(crate) fn round(
        &mut self,
        kernel: &str,
        ids: &[&str],
        seed: u64,
        input: &Input,
    ) -> Result<RoundEnd, Error> {
        self.rounds += 1;
        let folder = self.folder.join(format!("round-{}", self.rounds));
        let scenarios: Option<Vec<&'static Scenario>> =
            ids.iter().map(|id| catalogue::find(id)).collect();
        let scenarios =
            scenarios.ok_or_else(|| Error::usage(format!("no such scenario among {ids:?}")))?;
        let request = Request {
            kernels: vec![kernel.to_owned()],
            scenarios,
            selftests: &[],
            seed: Some(seed),
            partition: None,
            debug: DebugOptions::default(),
            server: self.server.as_ref(),
            model_input: Some(serde_json::to_string(input).map_err(Error::infrastructure)?),
            output: Some(&folder),
            jobs: Some(1),
            until_red: false,
            machine: self.machine,
            sources: self.sources,
        };
        let done = run_in(&mut self.workshop, &request, &self.progress)?;
        end_of(&done, seed)
    }
}

fn end_of(done: &Done, seed: u64) -> Result<RoundEnd, Error> {
    let report = &done.report;
    let mut end = RoundEnd {
        passed: report.scenarios().all(|(_, one)| one.verdict == Verdict::Pass),
        crash: crash_title(report),
        ..RoundEnd::default()
    };
    if report.kernels.iter().all(|kernel| kernel.guest.is_none()) {
        end.infrastructure = Some(report.status_reason.clone());
    }
    let commit = report.run.commit.clone();
    for (kernel, scenario) in report.scenarios() {
        end.told.push(format!("{}: {:?}: {}", scenario.id, scenario.verdict, scenario.message));
        let shrunk = scenario.evidence.iter().any(|one| one.name.starts_with("reproducer"));
        if scenario.verdict.is_red() && !shrunk {
            end.unexplained.push((scenario.id.clone(), scenario.message.clone()));
        }
        for evidence in &scenario.evidence {
            if evidence.name.starts_with("corpus-") {
                let case = serde_json::from_str(&evidence.text).ok();
                end.cases.extend(case.map(|case| (scenario.id.clone(), case)));
                continue;
            }
            let parsed = serde_json::from_str::<Reproducer>(&evidence.text);
            if let (true, Ok(found)) = (evidence.name.starts_with("reproducer"), parsed) {
                let release = kernel.kernel.release.clone().unwrap_or_default();
                end.reproducers.push(Reproducer {
                    commit: commit.clone(),
                    kernel: release,
                    seed,
                    ..found
                });
            }
        }
    }
    let path = done.folder.join("events.jsonl");
    let text = std::fs::read_to_string(&path).map_err(Error::infrastructure)?;
    end.steps = text.lines().filter_map(step_text).collect();
    end.last = LastCase::of(&end.steps);
    Ok(end)
}

fn step_text(line: &str) -> Option<String> {
    let record: Record = serde_json::from_str(line).ok()?;
    let Seen::Line { text } = record.seen else { return None };
    match serde_json::from_str::<GuestLine>(&text).ok()?.event {
        GuestEvent::Step { text, .. } => Some(text),
        _ => None,
    }
}

/// The first line of what the kernel printed, without what differs from one boot to the next.
fn crash_title(report: &Report) -> Option<String> {
    let health = report.scenarios().flat_map(|(_, one)| &one.health).map(|f| f.text.clone());
    let boots = report.kernels.iter().flat_map(|kernel| &kernel.boots);
    let consoles = boots.filter(|boot| boot.console_splat).filter_map(|boot| {
        let console = boot.console.as_deref().unwrap_or_default();
        let splat = reports::splat::scan(console).into_iter().next();
        splat.map(|finding| format!("{}\n{console}", finding.text))
    });
    let text = health.chain(consoles).next()?;
    Some(title(&text))
}

/// What a message says, without what differs from one time to the next; the case that it may begin with has its own place.
pub(crate) fn plain(message: &str) -> String {
    let at = message.find("expected").unwrap_or(0);
    let words = message[at..].split_whitespace().take(40);
    words.map(numberless).collect::<Vec<_>>().join(" ")
}

fn numberless(word: &str) -> String {
    let mut kept = String::new();
    for c in word.chars() {
        let number = c.is_ascii_digit();
        if !number || !kept.ends_with('N') {
            kept.push(if number { 'N' } else { c });
        }
    }
    kept
}

/// The function that the first splat of `text` is in: two NULL dereferences are not the same for being that.
fn function(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("RIP: 0010:")?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_.".contains(c))?;
    Some(&rest[..end])
}

/// Numbers go: addresses, times, pids.
fn title(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    // A console has the time in front.
    let first = match first.split_once(']') {
        Some((time, rest)) if time.starts_with('[') => rest,
        _ => first,
    };
    let mut title = String::new();
    let mut last = "";
    for word in first.split_whitespace() {
        let number = word.trim_end_matches([':', ',']);
        let digits = number.strip_prefix("0x").unwrap_or(number);
        let is_number = digits.len() > 3 && digits.chars().all(|c| c.is_ascii_hexdigit());
        let is_pid = last == "process" && digits.chars().all(|c| c.is_ascii_digit());
        title.push_str(if is_number || is_pid { "N" } else { word });
        title.push(' ');
        last = word;
    }
    if let Some(function) = function(text) {
        title.push_str(&format!("in {function}"));
    }
    title.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_lost_machine_has_told_how_far_it_came() {
        let case = r#"case [{"do":"stop","dev":0},{"do":"del","dev":0},{"do":"del","dev":1}]"#;
        let steps = |lines: &[&str]| match LastCase::of(&told(lines)) {
            Some(LastCase::Steps(steps)) => steps.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(steps(&["at 1", case]), 3);
        assert_eq!(steps(&[case, "replay 1, failed 0", "at 1", "at 2"]), 2);
        assert_eq!(LastCase::of(&[]), None);
    }

    #[test]
    fn the_last_case_is_of_either_sort() {
        let acts = told(&["case []", "fuzz-case [{\"do\":\"serve\"}]", "replay 1, failed 0"]);
        assert_eq!(LastCase::of(&acts), Some(LastCase::Acts(vec![Act::Serve])));
        let steps = told(&["fuzz-case []", "case []"]);
        assert_eq!(LastCase::of(&steps), Some(LastCase::Steps(Vec::new())));
    }

    #[test]
    fn a_message_without_its_numbers_is_a_title() {
        let one = plain("  1. ADD_DEV of 3\nexpected: 0\nobserved: -22 (EINVAL)\n");
        assert_eq!(one, "expected: N observed: -N (EINVAL)");
        assert_eq!(plain("no reply in 40 s"), "no reply in N s");
    }

    #[test]
    fn titles_of_the_same_crash_are_the_same() {
        let one = title("BUG: kernel NULL pointer dereference, address: 0000000000000010\n #PF");
        let there = title("BUG: x\n[ 5.6] RIP: 0010:ublk_queue_rq+0x5d/0xe0 [ublk_drv]\n");
        assert_eq!(there, "BUG: x in ublk_queue_rq");
        let two =
            title("[    6.663] BUG: kernel NULL pointer dereference, address: 0000000000000018");
        assert_eq!(one, "BUG: kernel NULL pointer dereference, address: N");
        assert_eq!(one, two);
        assert_eq!(title("process 115 exe in state D"), "process N exe in state D");
    }
}
