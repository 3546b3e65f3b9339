//! `ublk doctor`: what stands between this machine and a ublk device, and the remedy for each. It changes
//! nothing: no device is added, no module loaded.

mod access;
mod kernel;
mod known_bugs;
mod leftovers;

use clap::Args;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::out;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

/// How a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Works, and yet somebody should look.
    Warning,
    /// Something does not work.
    Problem,
    /// No device can be served at all.
    Unusable,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    /// What to do; none where nothing has to be done.
    remedy: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Ok, found: found.into(), remedy: None }
    }

    fn new(
        what: &'static str,
        state: State,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { what, state, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything. The exit code is 0 with warnings or without, 1 with a problem, and 3 where no
/// device can be served.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let mut findings = kernel::look();
    findings.extend(access::look());
    findings.extend(leftovers::look());
    if args.json {
        out::json(&findings)?;
    } else {
        for finding in &findings {
            out::text(&describe(finding))?;
        }
    }
    verdict(&findings)
}

fn verdict(findings: &[Finding]) -> Result<(), Failure> {
    let troubles = findings.iter().filter(|finding| finding.state > State::Warning);
    let what: Vec<&str> = troubles.map(|finding| finding.what).collect();
    let Some(worst) = findings.iter().map(|finding| finding.state).max() else { return Ok(()) };
    let exit = match worst {
        State::Ok | State::Warning => return Ok(()),
        State::Problem => Exit::Failed,
        State::Unusable => Exit::NoDriver,
    };
    let hint = Some("the remedies are above".into());
    Err(Failure::Failed { exit, message: format!("trouble with {}", what.join(", ")), hint })
}

fn describe(finding: &Finding) -> String {
    let word = match finding.state {
        State::Ok => out::good("ok       "),
        State::Warning => out::caution("warning  "),
        State::Problem => out::bad("PROBLEM  "),
        State::Unusable => out::bad("UNUSABLE "),
    };
    let mut text = format!("{word} {:<10} {}\n", finding.what, finding.found);
    if let Some(remedy) = &finding.remedy {
        text += &format!("{:21}-> {remedy}\n", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_and_every_trouble_is_named() {
        let finding = |what, state| Finding::new(what, state, "", "do this");
        let warned = [Finding::ok("kernel", "x"), finding("udev", State::Warning)];
        assert!(verdict(&warned).is_ok());
        let problem = [finding("kernel", State::Problem), finding("udev", State::Warning)];
        assert!(matches!(verdict(&problem), Err(Failure::Failed { exit: Exit::Failed, .. })));
        let both = [finding("driver", State::Unusable), finding("kernel", State::Problem)];
        let Err(Failure::Failed { exit: Exit::NoDriver, message, .. }) = verdict(&both) else {
            panic!("{both:?}");
        };
        assert_eq!(message, "trouble with driver, kernel");
    }
}
