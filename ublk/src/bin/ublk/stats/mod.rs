//! `ublk stats`: what live servers have done, asked of the servers themselves. Needs no driver's leave, and
//! so works for whoever may open the socket.

mod sample;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ublk::server::{SOCKET_DIR, Status, prometheus, read_status, socket_path};

use self::sample::Sample;
use crate::cli::seconds;
use crate::exit::{Exit, Failure};
use crate::out;

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Numbers of the devices; all whose servers answer unless given.
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    ids: Vec<u32>,
    /// Ask the server behind this socket. Repeatable.
    #[arg(long = "socket", value_name = "PATH")]
    sockets: Vec<PathBuf>,
    /// JSON: a list of devices, one line each time.
    #[arg(long)]
    json: bool,
    /// Prometheus text format, for a textfile collector or a scrape.
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    prometheus: bool,
    /// Show what happens, each time after so many seconds, until the servers have gone.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    watch: Option<Duration>,
    /// Watch that many times.
    #[arg(long, value_name = "COUNT", requires = "watch",
          value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
}

/// Asks each server once, or again and again.
pub(crate) fn run(args: &StatsArgs) -> Result<(), Failure> {
    let windows = windows(args);
    let (servers, failure) = ask(&windows)?;
    if args.prometheus {
        out::text(&prometheus(&servers))?;
    } else if let Some(interval) = args.watch {
        return watch(args, &windows, interval, servers).and(failure.map_or(Ok(()), Err));
    } else {
        let samples: Vec<Sample> = servers.iter().map(Sample::total).collect();
        show(args, &samples)?;
    }
    failure.map_or(Ok(()), Err)
}

/// A server to ask.
struct Window {
    path: PathBuf,
    /// It was named, so that its silence is an error.
    named: bool,
}

fn windows(args: &StatsArgs) -> Vec<Window> {
    let ids = args.ids.iter().map(|&id| socket_path(id));
    let named: Vec<Window> =
        ids.chain(args.sockets.iter().cloned()).map(|path| Window { path, named: true }).collect();
    if named.is_empty() { found(Path::new(SOCKET_DIR)) } else { named }
}

/// The sockets of devices in a folder, by number.
fn found(dir: &Path) -> Vec<Window> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let id = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".sock")?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> =
        entries.flatten().filter_map(|entry| Some((id(&entry.path())?, entry.path()))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, path)| Window { path, named: false }).collect()
}

/// The answers, and the failure of the first named server that gave none. A socket that nobody listens on
/// is what a killed server leaves; `ublk doctor` tells of it.
fn ask(windows: &[Window]) -> Result<(Vec<Status>, Option<Failure>), Failure> {
    let (mut servers, mut first) = (Vec::new(), None);
    for window in windows {
        match read_status(&window.path) {
            Ok(status) => servers.push(status),
            Err(error) if window.named || !is_gone(&error) => {
                let failure = silent(&window.path, &error);
                if let (true, Failure::Failed { message, .. }) = (first.is_some(), &failure) {
                    out::warn(message);
                }
                first.get_or_insert(failure);
            }
            Err(_) => {}
        }
    }
    match first {
        Some(failure) if servers.is_empty() => Err(failure),
        first => Ok((servers, first)),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn silent(path: &Path, error: &io::Error) -> Failure {
    let message = format!("no server answers at {}: {error}", path.display());
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Failure::Failed { exit: Exit::NoDriver, message, hint: Some("run as root".into()) };
    }
    Failure::failed(message).with_hint(
        "see `ublk list`; a server with --no-socket answers nobody, --socket names another",
    )
}

/// Shows each interval's difference. A server that goes is left out, and when all have gone it is over.
fn watch(
    args: &StatsArgs,
    windows: &[Window],
    interval: Duration,
    mut before: Vec<Status>,
) -> Result<(), Failure> {
    let mut since = Instant::now();
    let mut rounds = 0;
    while !before.is_empty() && args.count.is_none_or(|count| rounds < count) {
        rounds += 1;
        std::thread::sleep(interval);
        let answers = windows.iter().filter_map(|window| read_status(&window.path).ok());
        let now: Vec<Status> = answers.collect();
        let elapsed = since.elapsed();
        since = Instant::now();
        let sample = |server: &Status| {
            let mut earlier = before.iter();
            // Another process behind the same number has counters of its own.
            let earlier = earlier.find(|b| b.info.id == server.info.id && b.pid == server.pid)?;
            Some(Sample::between(earlier, server, elapsed))
        };
        let samples: Vec<Sample> = now.iter().filter_map(sample).collect();
        show(args, &samples)?;
        before = now;
    }
    Ok(())
}

fn show(args: &StatsArgs, samples: &[Sample]) -> Result<(), Failure> {
    if args.json {
        return out::json(&samples);
    }
    samples.iter().try_for_each(|sample| out::text(&table::render(sample)))
}
