//! Several clients that write and read the same few sectors at once, and a record of what each sector went through.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use reports::event::FailureKind;

use super::register::{INITIAL, Operation};
use crate::block::AlignedBuffer;
use crate::context::{Context, Stop};
use crate::signature::{SECTOR_BYTES, Signature, fill};

/// The sectors that everybody wants, and where they begin: two pages.
pub(super) const SECTORS: u64 = 16;
pub(super) const FIRST_SECTOR: u64 = 2048;
/// Most sectors of a request.
const REQUEST_SECTORS_MAX: u64 = 8;
const CLIENTS: usize = 6;
const REQUESTS: usize = 120;

/// What was seen of each sector.
#[derive(Debug, Default)]
pub(super) struct History {
    /// For each sector, every write of it and every read.
    pub(super) sectors: Vec<Vec<Operation>>,
    /// Sectors read that were part one write's and part another's.
    pub(super) torn: u64,
    /// Sectors read that belong elsewhere.
    pub(super) foreign: u64,
    /// Requests made.
    pub(super) requests: u64,
}

/// What one sector held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// One write's bytes, or none's.
    Value(u64),
    /// Bytes that no single write has written.
    Torn,
    /// Bytes that were written somewhere else, or at another time.
    Foreign,
}

fn held(bytes: &[u8], sector: u64, seed: u64) -> Held {
    if bytes.iter().all(|byte| *byte == 0) {
        return Held::Value(INITIAL);
    }
    let Some(signature) = Signature::read(bytes) else { return Held::Torn };
    let mut whole = [0; SECTOR_BYTES];
    signature.fill(&mut whole);
    if whole != bytes {
        Held::Torn
    } else if signature.sector == sector && signature.seed == seed {
        Held::Value(signature.generation)
    } else {
        Held::Foreign
    }
}

/// A request as its client remembers it.
struct Done {
    begin: u64,
    end: u64,
    first: u64,
    /// What each of its sectors was given, or held.
    held: Vec<Held>,
    write: bool,
}

/// Lets all clients loose on the disk.
///
/// # Errors
/// When a request fails.
pub(super) fn run(context: &mut Context, disk: &File, label: &str) -> Result<History, Stop> {
    let (start, generations, seed) = (Instant::now(), AtomicU64::new(INITIAL), context.seed);
    // From 1 on: the register was made before.
    let now = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
    let all = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let mut rng = context.rng(&format!("{label}-{client}"));
                let (now, generations) = (&now, &generations);
                scope.spawn(move || {
                    (0..REQUESTS)
                        .map(|_| request(disk, &mut rng, generations, seed, now))
                        .collect::<std::io::Result<Vec<_>>>()
                })
            })
            .collect();
        let joined = clients.into_iter().map(|client| {
            let ended = client.join().map_err(|_| Stop::error("a client panicked"))?;
            ended.map_err(|error| {
                Stop::fail(FailureKind::Operation, format_args!("a request: {error}"))
            })
        });
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    Ok(history(&all.into_iter().flatten().collect::<Vec<_>>()))
}

fn request(
    disk: &File,
    rng: &mut ChaCha8Rng,
    generations: &AtomicU64,
    seed: u64,
    now: impl Fn() -> u64,
) -> std::io::Result<Done> {
    let sectors = rng.random_range(1..=REQUEST_SECTORS_MAX);
    let first = FIRST_SECTOR + rng.random_range(0..=SECTORS - sectors);
    let mut buffer = AlignedBuffer::zeroed(usize::try_from(sectors).unwrap_or(0) * SECTOR_BYTES);
    let at = first * SECTOR_BYTES as u64;
    let write = rng.random();
    let generation = if write { generations.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
    if write {
        fill(&mut buffer, first, generation, seed);
    }
    let begin = now();
    if write {
        disk.write_all_at(&buffer, at)?;
    } else {
        disk.read_exact_at(&mut buffer, at)?;
    }
    let end = now();
    let held = (first..)
        .zip(buffer.chunks_exact(SECTOR_BYTES))
        .map(
            |(sector, bytes)| {
                if write { Held::Value(generation) } else { held(bytes, sector, seed) }
            },
        )
        .collect();
    Ok(Done { begin, end, first, held, write })
}

fn history(requests: &[Done]) -> History {
    let mut history = History { requests: requests.len() as u64, ..History::default() };
    history.sectors = (FIRST_SECTOR..FIRST_SECTOR + SECTORS).map(|_| Vec::new()).collect();
    for Done { begin, end, first, held, write } in requests {
        for (sector, held) in (first - FIRST_SECTOR..).zip(held) {
            let value = match *held {
                Held::Value(value) => value,
                Held::Torn => {
                    history.torn += 1;
                    continue;
                }
                Held::Foreign => {
                    history.foreign += 1;
                    continue;
                }
            };
            let of = usize::try_from(sector).unwrap_or(0);
            let operation = Operation { begin: *begin, end: *end, value, write: *write };
            history.sectors[of].push(operation);
        }
    }
    history
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_of_two_writes_is_torn_and_a_neighbours_is_foreign() {
        let (mut old, mut new) = (vec![0; SECTOR_BYTES], vec![0; SECTOR_BYTES]);
        assert_eq!(held(&old, 5, 1), Held::Value(INITIAL));
        fill(&mut old, 5, 3, 1);
        fill(&mut new, 5, 4, 1);
        assert_eq!(held(&old, 5, 1), Held::Value(3));
        assert_eq!(held(&old, 6, 1), Held::Foreign);
        old[256..].copy_from_slice(&new[256..]);
        assert_eq!(held(&old, 5, 1), Held::Torn);
    }
}
