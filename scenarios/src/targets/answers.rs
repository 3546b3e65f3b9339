//! Faults of the answer: late, out of order, never, and the death of who should give it.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use reports::event::FailureKind;

use super::fault::{BLOCK, errno_of, faulty, read};
use super::signed;
use crate::context::{Context, During, Stop};
use crate::process::remove_device;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/fault-reorder",
        title: "a held back answer comes after the next one, and a lonely one comes all the same",
        covers: &["S12"],
        run: reorder,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/fault-never",
        title: "a request that is never answered waits until the server dies, and then fails",
        covers: &["S8", "rq.server.died"],
        run: never,
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/fault-die",
        title: "a server that is to die at a write dies of SIGKILL, and the write fails",
        covers: &["S8", "rq.server.died"],
        run: die,
        ..Scenario::SERVER
    },
];

const COMPLETED: &str = "/sys/kernel/tracing/events/block/block_rq_complete/enable";
const TRACE: &str = "/sys/kernel/tracing/trace";

/// Three reads: one that holds up the queue's thread, so that the two behind it arrive together. The order
/// in which the kernel completes those two is in its trace; two threads could not tell it.
fn reorder(context: &mut Context) -> Result<String, Stop> {
    if !std::path::Path::new(COMPLETED).exists() {
        return Err(Stop::skip("tracepoint block_rq_complete", "the kernel has none"));
    }
    let (server, device) = faulty(
        context,
        &["op=read,sectors=2048-2055,delay=300ms", "op=read,sectors=4096-4103,reorder"],
    )?;
    // Alone: nothing comes behind it, and it is answered nevertheless.
    let begin = Instant::now();
    read(&device, 4096 * 512, BLOCK)?;
    let alone = begin.elapsed();
    context.check(
        FailureKind::Completion,
        format_args!("a lonely answer is not held back for ever ({alone:?})"),
        alone < context.command_timeout(),
    )?;
    std::fs::write(TRACE, "").during("clear the trace")?;
    std::fs::write(COMPLETED, "1").during("trace completions")?;
    let in_turn = Duration::from_millis(60);
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0_u32..)
            .zip([2048_u64, 4096, 6144])
            .map(|(number, sector)| {
                let device = &device;
                scope.spawn(move || {
                    std::thread::sleep(in_turn * number);
                    read(device, sector * 512, BLOCK).map(drop)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    std::fs::write(COMPLETED, "0").during("stop tracing")?;
    let trace = std::fs::read_to_string(TRACE).during("read the trace")?;
    context.evidence("trace", &trace);
    let all = done.iter().all(|done| matches!(done, Ok(Ok(()))));
    context.check(FailureKind::Operation, "all three reads succeed", all)?;
    let order: Vec<u64> = trace.lines().filter_map(completed_sector).collect();
    context.check_eq(
        FailureKind::State,
        "order of completion, where the one from 4096 came before the one from 6144",
        &order,
        &vec![2048, 6144, 4096],
    )?;
    drop(device);
    server.stop(context)?;
    Ok(format!("completed in the order {order:?}, sent in the order of the sectors"))
}

/// The sector of a line as `block_rq_complete: 259,0 R () 4096 + 8 none,0,0 [0]`, of our reads.
fn completed_sector(line: &str) -> Option<u64> {
    let (_, event) = line.split_once("block_rq_complete: ")?;
    let (_, place) = event.split_once(") ")?;
    let sector = place.split_whitespace().next()?.parse().ok()?;
    [2048, 4096, 6144].contains(&sector).then_some(sector)
}

fn never(context: &mut Context) -> Result<String, Stop> {
    let (mut server, device) = faulty(context, &["op=read,sectors=4096-4103,never"])?;
    let quiet = context.quiet();
    let (waited, errno) = std::thread::scope(|scope| -> Result<_, Stop> {
        let reader = scope.spawn(|| errno_of(read(&device, 4096 * 512, BLOCK)));
        std::thread::sleep(quiet * 2);
        let waited = !reader.is_finished();
        // Others are served meanwhile.
        let other = read(&device, 6144 * 512, BLOCK);
        server.signal(Signal::SIGKILL)?;
        server.wait(context.command_timeout())?;
        let errno = reader.join().map_err(|_| Stop::error("the reader panicked"))?;
        other.during("read elsewhere while one read waits")?;
        Ok((waited, errno))
    })?;
    context.check(FailureKind::Completion, "the read waits", waited)?;
    context.check_result("the read after the server died", -errno, -(Errno::EIO as i32))?;
    drop(device);
    remove_device(server.live.id);
    Ok(format!("no answer for {:?}, then EIO", quiet * 2))
}

fn die(context: &mut Context) -> Result<String, Stop> {
    let (mut server, device) = faulty(context, &["op=write,after=2,die"])?;
    let content = signed(0, BLOCK, 1, context.seed);
    device.write_at(0, &content)?;
    device.write_at(4096, &content)?;
    context.check(FailureKind::State, "it serves until then", server.counters()?.writes == 2)?;
    let errno = errno_of(device.write_at(8192, &content));
    context.check_result("the write that kills", -errno, -(Errno::EIO as i32))?;
    let status = server.wait(context.command_timeout())?;
    context.check_eq(
        FailureKind::State,
        "signal it died of",
        &status.signal(),
        &Some(Signal::SIGKILL as i32),
    )?;
    drop(device);
    remove_device(server.live.id);
    Ok("the third write, EIO, SIGKILL".into())
}
