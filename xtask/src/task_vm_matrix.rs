//! `vm-matrix`: every scenario on every kernel, kept kernel by kernel, so that an interruption costs one of them and not
//! all; and `report matrix`, which shows one that was saved.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;
use reports::matrix::{Changes, Matrix, to_json};
use reports::plan::DebugOptions;
use reports::report::{ExitCode, Report};
use scenarios::{Scenario, catalogue};
use vmimage::kernel::KernelSource;

use crate::cli::{MatrixArgs, MatrixPageArgs, ReportMatrixArgs};
use crate::error::Error;
use crate::matrix::{self, Course, Kernel, Parts};
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::run::{Many, Request, run_many};
use crate::servers::{Server, Typed};
use crate::task_report::{Loaded, load};
use crate::task_vm_e2e::choose;
use crate::{environment, workspace};

pub(crate) fn run(args: &MatrixArgs) -> Result<ExitCode, Error> {
    matrix::check(&args.pages)?;
    let progress = Arc::new(Terminal::new());
    let folder = args.resume.clone().or_else(|| args.run.output.clone()).unwrap_or_else(|| {
        workspace::root().join("artifacts").join(format!("matrix-{}", environment::unix_ms()))
    });
    let mut workshop = Workshop::open(&args.run.sources, args.run.machine.arch, &progress)?;
    let (course, scenarios) = begin(args, &folder, &mut workshop, &progress)?;
    let before = matrix::previous(&args.pages, course.server.is_some())?;
    let typed = course.server.as_deref().map(Typed::read).transpose()?;
    let server = typed.map(|typed| typed.provide(&mut workshop, &progress)).transpose()?;
    let subject = Subject { course: &course, scenarios, server: server.as_ref() };
    let report = fill(args, &folder, subject, &mut workshop, &progress)?;
    progress.clear();
    reports::write_report(&folder, &report).map_err(Error::infrastructure)?;
    let made = Matrix::of(&report);
    let red = matrix::write_reproducers(&made, &report, &folder)?;
    let shown = show(&made, before.as_ref(), &red, &folder, &args.pages, args.run.json);
    if !Parts::is_done(&report) {
        anstream::eprintln!("go on with: cargo xtask vm-matrix --resume {}", folder.display());
    }
    shown.map(|()| report.exit_code())
}

/// `report matrix`: renders again, and runs nothing.
pub(crate) fn render(args: &ReportMatrixArgs) -> Result<ExitCode, Error> {
    matrix::check(&args.pages)?;
    let (folders, report) = whole(load(&args.inputs)?)?;
    let before = matrix::previous(&args.pages, report.run.server.is_some())?;
    let folder = match (&args.output, &folders[..]) {
        (Some(folder), _) | (None, [folder]) => folder.clone(),
        (None, _) => PathBuf::from("."),
    };
    vmimage::fsio::create_dir_all(&folder).map_err(Error::infrastructure)?;
    let made = Matrix::of(&report);
    show(&made, before.as_ref(), &[], &folder, &args.pages, false)?;
    Ok(ExitCode::Passed)
}

/// The page of the matrix of what was loaded, with itself as the one before: every part of it is there.
pub(crate) fn page(loaded: Vec<Loaded>) -> Result<String, Error> {
    let made = Matrix::of(&whole(loaded)?.1);
    Ok(reports::html::matrix_page(&made, Some(&Changes::between(&made, &made)), None))
}

/// The report of all kernels that were loaded, and the folders it was in.
fn whole(loaded: Vec<Loaded>) -> Result<(Vec<PathBuf>, Report), Error> {
    let (folders, reports): (Vec<PathBuf>, Vec<Report>) =
        loaded.into_iter().filter_map(Loaded::into_run).unzip();
    let report = match &reports[..] {
        [one] => one.clone(),
        several => reports::join(several, &[]).map_err(Error::usage)?,
    };
    Ok((folders, report))
}

/// What this matrix is, and whether what is in its folder is of the same one.
fn begin(
    args: &MatrixArgs,
    folder: &Path,
    workshop: &mut Workshop,
    progress: &Terminal,
) -> Result<(Course, Vec<&'static Scenario>), Error> {
    let begun = Course::load(folder)?;
    let server = match (&args.resume, &begun) {
        (Some(_), Some(begun)) => begun.server.clone(),
        _ => args.server.clone(),
    };
    let (kernels, chosen) = match (&args.resume, &begun) {
        (Some(_), None) => {
            let message = format!("{} holds no matrix that was begun", folder.display());
            return Err(Error::usage(message));
        }
        (Some(_), Some(begun)) => {
            (begun.kernels.iter().map(|kernel| kernel.spec.clone()).collect(), again(begun)?)
        }
        (None, _) => {
            let kernels = matrix::chosen(workshop, &args.kernels, args.point_releases)?;
            (kernels, choose(&args.filters, args.server.as_deref())?)
        }
    };
    let kernels =
        kernels.into_iter().map(|spec| identified(workshop, spec)).collect::<Result<_, _>>()?;
    let seed = args.run.seed.or_else(|| begun.as_ref().map(|begun| begun.seed));
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    let ids = chosen.iter().map(|scenario| scenario.id.to_owned()).collect();
    let course = Course::new(seed, kernels, server, ids);
    match begun {
        Some(begun) => begun.agrees(&course, folder)?,
        None => {
            vmimage::fsio::create_dir_all(folder).map_err(Error::infrastructure)?;
            course.save(folder)?;
            if course.dirty {
                progress.line("note: the tree has local changes, so an interrupted matrix of it cannot be gone on with");
            }
        }
    }
    Ok((course, chosen))
}

/// The scenarios of a matrix that was begun.
fn again(begun: &Course) -> Result<Vec<&'static Scenario>, Error> {
    let known: Vec<&'static Scenario> = match begun.server {
        Some(_) => catalogue::of_a_server().collect(),
        None => catalogue::all().collect(),
    };
    let find = |id: &String| {
        let found = known.iter().find(|scenario| scenario.id == *id).copied();
        found
            .ok_or_else(|| Error::usage(format!("that matrix has {id}, which is no scenario here")))
    };
    begun.scenarios.iter().map(find).collect()
}

/// What a kernel's name means now. One that cannot be had is a column all the same, and no reason to stop.
fn identified(workshop: &mut Workshop, spec: String) -> Result<Kernel, Error> {
    let identity = match workshop.resolve(&spec) {
        Ok(resolved) => match &resolved.source {
            KernelSource::Files { bzimage, .. } => {
                Some(vmimage::fsio::sha256_file(bzimage).map_err(Error::infrastructure)?)
            }
            _ => Some(resolved.release),
        },
        Err(error) if error.code == ExitCode::Usage => return Err(error),
        Err(_) => None,
    };
    Ok(Kernel { spec, identity })
}

/// What is asked of whom.
struct Subject<'a> {
    course: &'a Course,
    scenarios: Vec<&'static Scenario>,
    server: Option<&'a Server>,
}

/// Runs the kernels that are not done yet; the report of all.
fn fill(
    args: &MatrixArgs,
    folder: &Path,
    subject: Subject<'_>,
    workshop: &mut Workshop,
    progress: &Arc<Terminal>,
) -> Result<Report, Error> {
    let Subject { course, scenarios, server } = subject;
    let parts = Parts::in_folder(folder);
    let order: Vec<String> = course.kernels.iter().map(|kernel| kernel.spec.clone()).collect();
    let (mut reports, mut left) = (Vec::new(), Vec::new());
    for kernel in &course.kernels {
        match parts.find(course, kernel)? {
            Some(report) => {
                progress.line(&format!("{}: done before, kept", kernel.spec));
                reports.push(report);
            }
            None => left.push(kernel.spec.clone()),
        }
    }
    if !left.is_empty() {
        let finished = |report: &Report| keep(&parts, report, progress);
        let request = Request {
            kernels: left,
            scenarios,
            selftests: &[],
            seed: Some(course.seed),
            partition: None,
            debug: DebugOptions::default(),
            model_input: None,
            server,
            output: Some(&attempt(folder)),
            jobs: args.run.jobs,
            until_red: false,
            machine: &args.run.machine,
            sources: &args.run.sources,
        };
        let many = Many { goes_on: true, finished: Some(&finished) };
        reports.push(run_many(workshop, &request, many, progress)?.report);
    }
    reports::join(&reports, &order).map_err(Error::infrastructure)
}

/// Keeps what is done of a matrix, and says so.
fn keep(parts: &Parts, report: &Report, progress: &Terminal) {
    let name = report.kernels.first().map_or("", |kernel| kernel.kernel.spec.as_str());
    if !Parts::is_done(report) {
        return;
    }
    match parts.keep(report) {
        Ok(()) => progress.line(&format!("{name}: done, {}", report.status.as_str())),
        // The matrix has it all the same; only an interruption would cost it.
        Err(error) => progress.line(&format!("note: {name} cannot be kept: {error}")),
    }
}

/// A folder of its own for the machines and records of each attempt.
fn attempt(folder: &Path) -> PathBuf {
    let free = |number: &u32| !folder.join(format!("attempt-{number}")).exists();
    let number = (1..).find(free).unwrap_or(u32::MAX);
    folder.join(format!("attempt-{number}"))
}

fn show(
    made: &Matrix,
    before: Option<&Matrix>,
    red: &[String],
    folder: &Path,
    pages: &MatrixPageArgs,
    json: bool,
) -> Result<(), Error> {
    let changes = before.map(|before| Changes::between(before, made));
    let delivered = matrix::deliver(made, changes.as_ref(), folder, pages);
    if json {
        anstream::print!("{}", to_json(made).map_err(Error::infrastructure)?);
    } else {
        anstream::println!("{}", matrix::summary(made, changes.as_ref(), red));
        for name in ["matrix.html", "matrix.md", "matrix.json"] {
            anstream::println!("  {}", folder.join(name).display());
        }
    }
    delivered
}
