//! On which CPUs the threads of a server run, as the kernel has it: near their queues unless told otherwise, and where
//! they were told to.

use std::collections::BTreeMap;
use std::path::Path;

use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::server::{Affinity, Server, ServerBuilder, StartError};
use ublk::target::NullTarget;
use ublk::uapi::Features;

use crate::context::{Context, During, Stop};
use crate::rig;
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "modes/threads-run-where-their-queues-are",
    title: "a queue's thread may run on the CPUs whose requests the queue gets, or where it was told to, and nowhere else",
    covers: &["GET_QUEUE_AFFINITY", "S4"],
    run: affinity,
    ..Scenario::SERVER
}];

const QUEUES: u16 = 4;

/// `0-1,3` as 0, 1, 3.
fn cpus(list: &str) -> Option<Vec<u32>> {
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        None => part.parse().ok().map(|cpu: u32| (cpu, cpu)),
    };
    let ranges: Option<Vec<(u32, u32)>> = list.trim().split(',').map(range).collect();
    Some(ranges?.into_iter().flat_map(|(first, last)| first..=last).collect())
}

/// The CPUs that a task may run on.
fn allowed(task: &Path) -> Result<Vec<u32>, Stop> {
    let status = std::fs::read_to_string(task.join("status")).during("read a thread's status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(cpus).ok_or_else(|| Stop::error(format_args!("no CPUs in {}", task.display())))
}

/// Of each thread of this process that serves: its name, and where it may run.
fn threads() -> Result<BTreeMap<String, Vec<u32>>, Stop> {
    let mut found = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").during("list the threads")? {
        let task = task.during("list the threads")?.path();
        let name = std::fs::read_to_string(task.join("comm")).during("read a thread's name")?;
        if name.starts_with("ublk-queue-") {
            found.insert(name.trim().to_owned(), allowed(&task)?);
        }
    }
    Ok(found)
}

/// Where threads of that server may run, and what each queue's CPUs are.
type Seen = (BTreeMap<String, Vec<u32>>, Vec<Vec<u32>>);

fn look(
    context: &mut Context,
    choose: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Result<Seen, Stop> {
    let builder = Server::builder(NullTarget::new(4 << 20)).queues(QUEUES).depth(8).no_socket();
    let server = served(context, choose(builder))?;
    let info = server.info();
    context.check_eq(FailureKind::State, "queues", &info.nr_hw_queues, &QUEUES)?;
    let mut control = Control::open().during("open the control device")?;
    let mut queues = Vec::new();
    for queue in 0..QUEUES {
        queues.push(control.get_queue_affinity(info.dev_id, queue)?);
    }
    let seen = threads()?;
    drop(control);
    stop_served(context, server)?;
    Ok((seen, queues))
}

fn affinity(context: &mut Context) -> Result<String, Stop> {
    let everywhere = allowed(Path::new("/proc/self"))?;
    if everywhere.len() < usize::from(QUEUES) {
        return Err(Stop::skip("CPUs this process may run on", format_args!("{everywhere:?}")));
    }
    let (seen, queues) = look(context, |server| server)?;
    let wanted: BTreeMap<_, _> =
        (0..).zip(&queues).map(|(queue, cpus)| (thread_of(queue), cpus.clone())).collect();
    context.check_eq(FailureKind::State, "one thread for each queue", &seen, &wanted)?;
    let apart = queues.iter().all(|cpus| !cpus.is_empty() && cpus.len() < everywhere.len());
    context.check(FailureKind::State, format_args!("queues have CPUs: {queues:?}"), apart)?;

    let (seen, queues) = look(context, |server| server.threads(2))?;
    let both = |first: usize, second: usize| {
        let mut cpus = [queues[first].clone(), queues[second].clone()].concat();
        cpus.sort_unstable();
        cpus
    };
    let wanted = BTreeMap::from([(thread_of(0), both(0, 2)), (thread_of(1), both(1, 3))]);
    context.check_eq(FailureKind::State, "two queues to a thread", &seen, &wanted)?;

    let (seen, _) = look(context, |server| server.affinity(Affinity::Anywhere))?;
    check_all(context, "threads that may run anywhere", &seen, &everywhere)?;
    let told = vec![everywhere[1], everywhere[3]];
    let (seen, _) = look(context, |server| server.affinity(Affinity::Cpus(told.clone())))?;
    check_all(context, "threads with CPUs of their own", &seen, &told)?;
    let shared = rig::offered(Features::PER_IO_DAEMON).is_ok();
    if shared {
        let (seen, _) = look(context, |server| server.threads(2).share_queues(true))?;
        check_all(context, "threads that serve every queue", &seen, &everywhere)?;
    }

    let nowhere = Affinity::Cpus(vec![1000]);
    let builder = Server::builder(NullTarget::new(4 << 20)).no_socket().affinity(nowhere);
    let error = builder.start().err();
    let refused = matches!(error, Some(StartError::Queue(_)));
    let told = error.map(|error| error.to_string()).unwrap_or_default();
    let says = refused && told.contains("CPUs that were asked for");
    context.check(FailureKind::Operation, format_args!("a CPU that is not there: {told}"), says)?;
    Ok(format!("queues on {queues:?}; every queue shared: {shared}"))
}

fn thread_of(queue: u16) -> String {
    format!("ublk-queue-{queue}")
}

fn check_all(
    context: &mut Context,
    what: &str,
    seen: &BTreeMap<String, Vec<u32>>,
    wanted: &Vec<u32>,
) -> Result<(), Stop> {
    context.check(FailureKind::State, format_args!("{what}: there are some"), !seen.is_empty())?;
    for (thread, cpus) in seen {
        context.check_eq(FailureKind::State, format_args!("{what}: {thread}"), cpus, wanted)?;
    }
    Ok(())
}
