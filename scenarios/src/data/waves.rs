//! A generated case on a device: every request of a wave in flight together, each read compared at once, each write put into
//! the reference.

use std::sync::Mutex;

use reports::event::FailureKind;

use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, Stop};
use crate::oracle::Reference;
use crate::signature::{SECTOR_BYTES, fill, first_difference};
use crate::workload::{Case, Request};

/// Runs the case wave by wave, every request of a wave in flight together.
pub(crate) fn execute(
    context: &mut Context,
    device: &BlockDevice,
    reference: &Reference,
    generation: &mut u64,
    case: &Case,
) -> Result<(), Stop> {
    let seed = context.seed;
    for wave in case.waves() {
        let first_generation = *generation + 1;
        *generation += wave.len() as u64;
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (generation, request) in (first_generation..).zip(wave.iter().copied()) {
                let failures = &failures;
                scope.spawn(move || {
                    if let Err(stop) = perform(device, reference, request, generation, seed)
                        && let Ok(mut list) = failures.lock()
                    {
                        list.push(stop);
                    }
                });
            }
        });
        let failure = failures.into_inner().ok().and_then(|mut list| list.pop());
        context.check(FailureKind::Operation, "every request of the wave was tried", true)?;
        if let Some(stop) = failure {
            return Err(stop);
        }
    }
    Ok(())
}

fn perform(
    device: &BlockDevice,
    reference: &Reference,
    request: Request,
    generation: u64,
    seed: u64,
) -> Result<(), Stop> {
    let failed = |error: std::io::Error| {
        Stop::fail(FailureKind::Operation, format_args!("{request:?} failed: {error}"))
    };
    let range = request.range();
    let offset_bytes = range.start * SECTOR_BYTES as u64;
    let len = usize::try_from(range.end - range.start).unwrap_or(0) * SECTOR_BYTES;
    match request {
        Request::Flush => device.flush().map_err(failed),
        Request::Write { .. } => {
            let mut buffer = AlignedBuffer::zeroed(len);
            fill(&mut buffer, range.start, generation, seed);
            device.write_at(offset_bytes, &buffer).map_err(failed)?;
            reference.write(offset_bytes, &buffer)
        }
        Request::Read { .. } => {
            let mut buffer = AlignedBuffer::zeroed(len);
            device.read_at(offset_bytes, &mut buffer).map_err(failed)?;
            let mut expected = vec![0; len];
            reference.read(offset_bytes, &mut expected)?;
            match first_difference(range.start, &buffer, &expected) {
                None => Ok(()),
                Some(told) => Err(Stop::fail(
                    FailureKind::DataMismatch,
                    format_args!("{request:?} read wrong data: {told}"),
                )),
            }
        }
    }
}

/// The case as a list, for whoever looks at a failure.
pub(crate) fn tell(case: &Case, reason: &str) -> String {
    let mut text = format!("{reason}\n{} requests in flight at most\n", case.in_flight_max);
    for (number, wave) in case.waves().iter().enumerate() {
        for request in wave {
            text.push_str(&format!("wave {number}: {request:?}\n"));
        }
    }
    text
}
