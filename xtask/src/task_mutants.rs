//! `mutants`: puts servers with one deliberate bug each under the suite, and ends well only if it saw every one.

use std::path::Path;
use std::sync::Arc;

use reports::report::{ExitCode, Status};

use crate::cli::MutantsArgs;
use crate::error::Error;
use crate::mutants::{self, Course, Fate, Matrix};
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::{environment, interrupt, section, workspace};

/// The section of a page that holds the matrix.
const SECTION: &str = "mutants";

pub(crate) fn run(args: &MutantsArgs) -> Result<ExitCode, Error> {
    let known = |name: &String| mutants::all().any(|mutant| mutant.name == name);
    if let Some(name) = args.only.iter().find(|name| !known(name)) {
        let message = format!("there is no mutant `{name}`; `mutants --list` shows them");
        return Err(Error::usage(message));
    }
    if args.list {
        for mutant in mutants::all() {
            anstream::println!("{:<32} {}", mutant.name, mutant.what);
        }
        anstream::println!("{} mutants", mutants::all().count());
        return Ok(ExitCode::Passed);
    }
    if let Some(path) = &args.into {
        section::check(path, SECTION)?;
    }
    let progress = Arc::new(Terminal::new());
    let mut workshop = Workshop::open(&args.run.sources, args.run.machine.arch, &progress)?;
    progress.doing("build: runner and ublk with every mutant in them");
    workshop.use_programs(mutants::build(args.run.machine.arch)?);
    let folder = match &args.run.output {
        Some(path) => path.clone(),
        None => {
            let name = format!("mutants-{}", environment::unix_ms());
            workspace::root().join("artifacts").join(name)
        }
    };
    let course = Course { args, workshop, folder, progress, kernel_release: None };
    if args.unmutated > 0 { unmutated(course, args.unmutated) } else { matrix(course) }
}

/// One row for each mutant.
fn matrix(mut course: Course<'_>) -> Result<ExitCode, Error> {
    let args = course.args;
    let (commit, dirty) = workspace::commit();
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let chosen: Vec<_> = mutants::all().filter(|mutant| wanted(mutant.name)).collect();
    let mut rows = Vec::new();
    for (number, mutant) in (1..).zip(&chosen) {
        if interrupt::requested() {
            break;
        }
        let row = course.of_mutant(mutant)?;
        // Of one whose run was cut short nothing is known, unless it was killed before.
        if interrupt::requested() && !matches!(row.fate, Fate::Killed { .. }) {
            break;
        }
        let fate = match &row.fate {
            Fate::Killed { scenario, .. } => format!("killed by {scenario}"),
            Fate::Alive => "ALIVE".to_owned(),
            Fate::Broken { reason } => format!("unknown: {reason}"),
        };
        let (count, ms) = (chosen.len(), row.elapsed_ms);
        course.progress.line(&format!("mutant {number}/{count} {}: {fate} ({ms} ms)", row.name));
        rows.push(row);
    }
    let kernel_release = course.kernel_release.clone();
    let matrix = Matrix { kernel_release, commit, dirty, rows };
    write(&course.folder, &matrix)?;
    // What is not whole is not put where it looks as if it were.
    if let Some(path) = args.into.as_ref().filter(|_| matrix.rows.len() == chosen.len()) {
        section::replace(path, SECTION, &matrix.markdown())?;
    }
    if args.run.json {
        let json = serde_json::to_string_pretty(&matrix).map_err(Error::infrastructure)?;
        anstream::println!("{json}");
    } else {
        anstream::println!("{}", matrix.markdown());
        anstream::println!("reports: {}", course.folder.display());
    }
    Ok(if interrupt::requested() {
        ExitCode::Interrupted
    } else if matrix.not_killed().next().is_some() {
        ExitCode::Failed
    } else {
        ExitCode::Passed
    })
}

/// The same programs with no bug chosen: green every time, or what kills a mutant says nothing.
fn unmutated(mut course: Course<'_>, times: u32) -> Result<ExitCode, Error> {
    for number in 1..=times {
        let report = course.unmutated(number)?;
        if report.status == Status::Interrupted {
            return Ok(ExitCode::Interrupted);
        }
        let red = report.scenarios().find(|(_, scenario)| scenario.verdict.is_red());
        if let Some((_, red)) = red {
            let (id, message) = (&red.id, &red.message);
            anstream::println!("unmutated: run {number} of {times} is red: {id}: {message}");
            return Ok(ExitCode::Failed);
        }
        if let Some(error) = report.errors.first() {
            return Err(Error::infrastructure(&error.message));
        }
        course.progress.line(&format!("unmutated: run {number} of {times} is green"));
    }
    anstream::println!("unmutated: {times} of {times} runs are green");
    Ok(ExitCode::Passed)
}

fn write(folder: &Path, matrix: &Matrix) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(matrix).map_err(Error::infrastructure)?;
    for (name, text) in [("mutants.json", json), ("mutants.md", matrix.markdown())] {
        workspace::write(&folder.join(name), text)?;
    }
    Ok(())
}
