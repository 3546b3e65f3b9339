//! Generated workloads: scattered reads, writes and flushes, with as many in flight as the device takes.
//!
//! A [`Case`] is a list of waves. The operations of a wave are in flight together, so the generator
//! keeps a wave free of conflicts (no write overlaps another operation of the same wave): what each byte
//! must be afterwards is then decided by the case alone, on any kernel, at any speed. Overlaps happen
//! between waves, where they are ordered.

use proptest::prelude::*;

use crate::signature::SECTOR_BYTES;

/// One request, in sectors of 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read and compare.
    Read {
        /// First sector.
        start_sector: u64,
        /// Number of sectors.
        sectors: u32,
    },
    /// Write signatures.
    Write {
        /// First sector.
        start_sector: u64,
        /// Number of sectors.
        sectors: u32,
    },
    /// `fdatasync` on the device.
    Flush,
}

impl Request {
    /// Sectors touched, as a half-open range.
    #[must_use]
    pub fn range(self) -> std::ops::Range<u64> {
        match self {
            Self::Read { start_sector, sectors } | Self::Write { start_sector, sectors } => {
                start_sector..start_sector + u64::from(sectors)
            }
            Self::Flush => 0..0,
        }
    }

    fn conflicts(self, other: Self) -> bool {
        let writes = matches!(self, Self::Write { .. }) || matches!(other, Self::Write { .. });
        let (a, b) = (self.range(), other.range());
        writes && a.start < b.end && b.start < a.end
    }
}

/// A generated workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Requests in order; [`Case::waves`] says which are in flight together.
    pub requests: Vec<Request>,
    /// Most requests in flight.
    pub in_flight_max: usize,
}

impl Case {
    /// Splits the requests, in order, into waves without a conflict and of at most `in_flight_max`.
    #[must_use]
    pub fn waves(&self) -> Vec<Vec<Request>> {
        let mut waves: Vec<Vec<Request>> = Vec::new();
        for request in &self.requests {
            match waves.last_mut() {
                Some(wave)
                    if wave.len() < self.in_flight_max
                        && !wave.iter().any(|other| request.conflicts(*other)) =>
                {
                    wave.push(*request);
                }
                _ => waves.push(vec![*request]),
            }
        }
        waves
    }

    /// Bytes written by the whole case.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        let sectors = |r: &Request| match r {
            Request::Write { sectors, .. } => u64::from(*sectors),
            _ => 0,
        };
        self.requests.iter().map(sectors).sum::<u64>() * SECTOR_BYTES as u64
    }

    /// Bytes read by the whole case.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        let sectors = |r: &Request| match r {
            Request::Read { sectors, .. } => u64::from(*sectors),
            _ => 0,
        };
        self.requests.iter().map(sectors).sum::<u64>() * SECTOR_BYTES as u64
    }

    /// Number of flushes.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.requests.iter().filter(|r| matches!(r, Request::Flush)).count() as u64
    }
}

/// What a workload is generated for.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Device size in sectors.
    pub device_sectors: u64,
    /// Logical block in bytes: every request is a multiple of it, at a multiple of it.
    pub logical_block_bytes: u32,
    /// Most requests in flight.
    pub in_flight_max: usize,
    /// Fewest and most requests of a case.
    pub requests: (usize, usize),
}

/// Largest request generated: 1 MiB, above every default `max_sectors`, so that splitting is exercised.
pub const REQUEST_SECTORS_MAX: u32 = (1 << 20) / SECTOR_BYTES as u32;

/// Largest request of a crowded case: short enough that a whole depth of them rarely collides.
const CROWDED_SECTORS_MAX: u32 = 16;

/// Cases for `shape`. Small requests are as likely as large ones, and a part of them lies around
/// power-of-two boundaries, where splitting and stride mistakes live. One case in three is crowded: many
/// short requests, so that every tag is in flight.
pub fn cases(shape: Shape) -> impl Strategy<Value = Case> {
    let (low, high) = shape.requests;
    let crowded = (Just(CROWDED_SECTORS_MAX), high..=high * 2);
    let mixed = (Just(REQUEST_SECTORS_MAX), low..=high);
    prop_oneof![1 => crowded, 2 => mixed].prop_flat_map(move |(sectors_max, count)| {
        proptest::collection::vec(request(shape, sectors_max), count.min(low)..=count)
            .prop_map(move |requests| Case { requests, in_flight_max: shape.in_flight_max })
    })
}

fn request(shape: Shape, sectors_max: u32) -> impl Strategy<Value = Request> {
    let range = move || range(shape, sectors_max);
    prop_oneof![
        5 => range().prop_map(|(start_sector, sectors)| Request::Write { start_sector, sectors }),
        4 => range().prop_map(|(start_sector, sectors)| Request::Read { start_sector, sectors }),
        1 => Just(Request::Flush),
    ]
}

fn range(shape: Shape, sectors_max: u32) -> impl Strategy<Value = (u64, u32)> {
    let block_sectors = shape.logical_block_bytes / SECTOR_BYTES as u32;
    let blocks = shape.device_sectors / u64::from(block_sectors);
    let blocks_max = (sectors_max / block_sectors).min(blocks.try_into().unwrap_or(u32::MAX));
    let length = (0..=blocks_max.ilog2()).prop_flat_map(move |power| {
        let top = 1_u32 << power;
        (top / 2 + 1)..=top
    });
    let straddle = (any::<bool>(), 3_u32..16, any::<u64>());
    (length, straddle).prop_map(move |(length, (at_boundary, power, place))| {
        let last = blocks - u64::from(length);
        // Boundaries are few, so a crowd of requests around them would collide and not be in flight together.
        let start = if at_boundary && sectors_max > CROWDED_SECTORS_MAX {
            // Half before a boundary of 2^power blocks and half behind it.
            let boundary = (place % blocks) >> power << power;
            boundary.saturating_sub(u64::from(length / 2)).min(last)
        } else {
            place % (last + 1)
        };
        (start * u64::from(block_sectors), length * block_sectors)
    })
}

#[cfg(test)]
mod tests {
    use proptest::strategy::ValueTree;

    use super::*;

    const SHAPE: Shape = Shape {
        device_sectors: 16 << 11,
        logical_block_bytes: 4096,
        in_flight_max: 8,
        requests: (1, 40),
    };

    proptest! {
        #[test]
        fn every_request_is_legal_for_the_device(case in cases(SHAPE)) {
            for request in &case.requests {
                let range = request.range();
                prop_assert!(range.end <= SHAPE.device_sectors);
                prop_assert!(range.start % 8 == 0 && range.end % 8 == 0);
                prop_assert!(range.end - range.start <= u64::from(REQUEST_SECTORS_MAX));
                prop_assert!(*request == Request::Flush || range.end > range.start);
            }
        }

        #[test]
        fn waves_keep_order_and_have_no_conflict(case in cases(SHAPE)) {
            let waves = case.waves();
            prop_assert_eq!(waves.concat(), case.requests.clone());
            for wave in &waves {
                prop_assert!(wave.len() <= SHAPE.in_flight_max);
                for (index, a) in wave.iter().enumerate() {
                    prop_assert!(wave[index + 1..].iter().all(|b| !a.conflicts(*b)));
                }
            }
        }
    }

    #[test]
    fn the_generator_reaches_large_small_and_straddling_requests() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let shape = Shape { logical_block_bytes: 512, requests: (200, 200), ..SHAPE };
        let case = cases(shape).new_tree(&mut runner).unwrap().current();
        let lengths: Vec<u64> =
            case.requests.iter().map(|r| r.range().end - r.range().start).collect();
        assert!(lengths.iter().any(|l| *l > u64::from(REQUEST_SECTORS_MAX) / 2));
        assert!(lengths.contains(&1));
        assert!(case.flushes() > 0 && case.bytes_read() > 0 && case.bytes_written() > 0);
        assert!(
            case.requests
                .iter()
                .any(|r| r.range().start % 64 != 0 && r.range().end > r.range().start + 64)
        );
    }

    #[test]
    fn crowded_cases_fill_the_whole_depth() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let shape =
            Shape { logical_block_bytes: 512, in_flight_max: 64, requests: (16, 96), ..SHAPE };
        let deepest = (0..20)
            .map(|_| cases(shape).new_tree(&mut runner).unwrap().current())
            .flat_map(|case| case.waves())
            .map(|wave| wave.len())
            .max();
        assert_eq!(deepest, Some(64));
    }
}
