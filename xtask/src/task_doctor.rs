//! `doctor`: what was found on this machine, what is missing, and the remedy for each. Changes nothing but
//! the cache of package lists.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use reports::report::ExitCode;
use serde::Serialize;
use vmimage::arch::Arch;
use vmimage::kernel;
use vmimage::machine::MIN_QEMU;

use crate::cli::DoctorArgs;
use crate::error::Error;
use crate::prepare::{Workshop, cache_dir};
use crate::progress::Terminal;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    /// `ok`, `fetched` (vm-e2e gets it by itself) or `missing`.
    state: State,
    found: String,
    /// What to do; empty where nothing has to be done.
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Fetched,
    Missing,
}

impl Finding {
    fn new(what: &'static str, state: State, found: impl Into<String>, remedy: &str) -> Self {
        Self { what, state, found: found.into(), remedy: remedy.into() }
    }
}

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Error> {
    let progress = Arc::new(Terminal::new());
    let mut findings = vec![rust(), c_library(), apt(), pdeathsig(), qemu(), fio(args), kvm()];
    findings.push(kernel_build());
    findings.push(disk(&cache_dir(&args.sources)));
    findings.push(kernels(args, &progress));
    progress.clear();
    if args.json {
        let text = serde_json::to_string_pretty(&findings).map_err(Error::infrastructure)?;
        anstream::println!("{text}");
    } else {
        findings.iter().for_each(print);
    }
    let missing = findings.iter().any(|finding| finding.state == State::Missing);
    Ok(if missing { ExitCode::Infrastructure } else { ExitCode::Passed })
}

fn print(finding: &Finding) {
    let word = match finding.state {
        State::Ok => "ok",
        State::Fetched => "fetched",
        State::Missing => "MISSING",
    };
    anstream::println!("{word:<8} {:<12} {}", finding.what, finding.found);
    if !finding.remedy.is_empty() {
        anstream::println!("{:<8} {:<12} -> {}", "", "", finding.remedy);
    }
}

/// First line of what a program prints, if it runs.
fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned();
    output.status.success().then_some(text)
}

fn rust() -> Finding {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    match says(&cargo, &["--version"]) {
        Some(version) => Finding::new("rust", State::Ok, version, ""),
        None => Finding::new("rust", State::Missing, "cargo does not run", "install rustup"),
    }
}

/// The guest programs are linked statically against the C library that `cc` finds.
fn c_library() -> Finding {
    match says("cc", &["-print-file-name=libc.a"]) {
        Some(path) if Path::new(&path).is_absolute() => {
            Finding::new("static libc", State::Ok, "libc.a", "")
        }
        _ => Finding::new(
            "static libc",
            State::Missing,
            "cc with libc.a is not there",
            "apt-get install gcc libc6-dev",
        ),
    }
}

fn apt() -> Finding {
    let found = says("apt-get", &["--version"]).zip(says("dpkg-deb", &["--version"]));
    match found {
        Some((apt, _)) => Finding::new("apt", State::Ok, apt, ""),
        None => Finding::new(
            "apt",
            State::Missing,
            "apt-get and dpkg-deb are not there",
            "bring your own: --qemu PROGRAM --kernel BZIMAGE --modules DIR --fio PROGRAM",
        ),
    }
}

fn pdeathsig() -> Finding {
    if vmimage::machine::dies_with_owner() {
        return Finding::new("setpriv", State::Ok, "a machine dies with its owner", "");
    }
    Finding::new(
        "setpriv",
        State::Missing,
        "not there: after kill -9 of xtask a QEMU would stay",
        "apt-get install util-linux",
    )
}

fn qemu() -> Finding {
    let on_path = says(Arch::X86_64.facts().emulator, &["--version"]);
    let version = on_path.as_deref().and_then(vmimage::machine::QemuVersion::parse);
    match version {
        Some(version) if version >= MIN_QEMU => {
            Finding::new("qemu", State::Ok, format!("{version} on PATH"), "")
        }
        Some(version) => Finding::new(
            "qemu",
            State::Fetched,
            format!("{version} on PATH is older than {MIN_QEMU}"),
            "vm-e2e fetches a newer one into its cache; or --qemu PROGRAM",
        ),
        None => Finding::new(
            "qemu",
            State::Fetched,
            "not on PATH",
            "vm-e2e fetches one into its cache; or --qemu PROGRAM",
        ),
    }
}

fn fio(args: &DoctorArgs) -> Finding {
    match &args.sources.fio {
        Some(path) => match says(&path.display().to_string(), &["--version"]) {
            Some(version) => Finding::new("fio", State::Ok, version, ""),
            None => Finding::new("fio", State::Missing, "--fio does not run", "name another"),
        },
        None => Finding::new("fio", State::Fetched, "comes with the guest's tools", ""),
    }
}

fn kvm() -> Finding {
    let open = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    match open {
        Ok(_) => Finding::new(
            "kvm",
            State::Ok,
            "/dev/kvm opens; whether it works is seen by booting a boot sector",
            "",
        ),
        Err(error) => Finding::new(
            "kvm",
            State::Ok,
            format!("not usable ({error}): emulation is used, about three times slower"),
            "",
        ),
    }
}

/// What `kernel build` and `--kernel 7.3+kasan` need of this machine; no other command does.
fn kernel_build() -> Finding {
    let (tools, packages): (Vec<_>, Vec<_>) = kernel::missing_tools().into_iter().unzip();
    if tools.is_empty() {
        let found =
            "gcc and make are here; flex, bison, bc and libelf are fetched where they are not";
        return Finding::new("kernel build", State::Ok, found, "");
    }
    // Nothing else needs them, so their absence alone is no failure.
    let found = format!("no kernel can be built here: {} not there", tools.join(", "));
    let remedy = format!("for --kernel 7.3+kasan: apt-get install {}", packages.join(" "));
    Finding::new("kernel build", State::Ok, found, &remedy)
}

fn disk(cache: &Path) -> Finding {
    let near = cache.ancestors().find(|path| path.exists()).unwrap_or(cache);
    match vmimage::fsio::free_bytes(near) {
        Some(free) if free < 3 << 30 => Finding::new(
            "disk",
            State::Missing,
            format!("{} MiB free for the cache", free >> 20),
            "free 3 GiB, or name another folder with --cache",
        ),
        Some(free) => Finding::new("disk", State::Ok, format!("{} GiB free", free >> 30), ""),
        None => Finding::new("disk", State::Ok, "free space unknown", ""),
    }
}

fn kernels(args: &DoctorArgs, progress: &Arc<Terminal>) -> Finding {
    let listed = Workshop::open(&args.sources, Arch::X86_64, progress)
        .and_then(|shop| kernel::list_series(shop.archive()).map_err(Error::infrastructure));
    match listed {
        Ok(series) => {
            let whole: Vec<String> = series
                .iter()
                .filter_map(|s| Some(format!("{} ({})", s.name, s.newest_whole.as_ref()?)))
                .collect();
            let broken: Vec<&str> = series
                .iter()
                .filter(|s| s.newest_whole.is_none())
                .map(|s| s.name.as_str())
                .collect();
            let note = if broken.is_empty() {
                String::new()
            } else {
                format!("no longer whole in the archive: {}", broken.join(", "))
            };
            Finding { what: "kernels", state: State::Ok, found: whole.join(", "), remedy: note }
        }
        Err(error) => Finding::new(
            "kernels",
            State::Missing,
            error.to_string(),
            "check the network, or name an archive with --archive URI --suite S --keyring FILE",
        ),
    }
}
