//! Power fails at any moment, servers die at any moment: what was flushed is there, what was not is old or
//! new but never anything else, and neighbours of a write in its cluster never change.
//!
//! The medium below loses any subset of the sectors written since its last flush, each on its own, as
//! disks do.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const SECTOR: usize = SECTOR_BYTES as usize;
/// Clusters of 8 sectors, enough of them for two pages of map, and a last one that is cut off.
const SECTORS: u64 = 33_000 * 8 + 3;

/// What a sector holds, as one number: 0 for zeroes.
type Stamp = u64;

fn sector(stamp: Stamp) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    bytes.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&stamp.to_le_bytes()));
    bytes
}

/// A base that says in each sector which one it is.
#[derive(Debug)]
struct Base;

fn base_stamp(sector: u64) -> Stamp {
    1 << 40 | sector
}

impl Target for Base {
    fn size_bytes(&self) -> u64 {
        SECTORS * SECTOR_BYTES
    }
    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (number, bytes) in (offset_bytes / SECTOR_BYTES..).zip(buffer.chunks_mut(SECTOR)) {
            assert!(number < SECTORS, "read behind the end of the base");
            bytes.copy_from_slice(&sector(base_stamp(number)));
        }
        Ok(())
    }
    fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
        panic!("the base is never written")
    }
}

/// For each sector what is durable, and after it every version since, in order.
#[derive(Debug, Default)]
struct Medium(Mutex<BTreeMap<u64, Vec<[u8; SECTOR]>>>);

impl Medium {
    /// Keeps one version of each sector, any one.
    fn lose_power(&self, mut dice: u64) {
        for versions in self.0.lock().unwrap().values_mut() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let kept = versions[(dice >> 33) as usize % versions.len()];
            *versions = vec![kept];
        }
    }
}

impl Target for Medium {
    fn size_bytes(&self) -> u64 {
        1 << 40
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { flush: true, discard: true, write_zeroes: true, ..Capabilities::default() }
    }
    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let sectors = self.0.lock().unwrap();
        assert!(offset_bytes.is_multiple_of(SECTOR_BYTES) && buffer.len().is_multiple_of(SECTOR));
        for (number, bytes) in (offset_bytes / SECTOR_BYTES..).zip(buffer.chunks_mut(SECTOR)) {
            bytes.copy_from_slice(
                sectors.get(&number).and_then(|v| v.last()).unwrap_or(&[0; SECTOR]),
            );
        }
        Ok(())
    }
    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        assert!(offset_bytes.is_multiple_of(SECTOR_BYTES) && data.len().is_multiple_of(SECTOR));
        for (number, bytes) in (offset_bytes / SECTOR_BYTES..).zip(data.chunks(SECTOR)) {
            let mut sectors = self.0.lock().unwrap();
            let versions = sectors.entry(number).or_insert_with(|| vec![[0; SECTOR]]);
            versions.push(bytes.try_into().unwrap());
        }
        if fua { self.flush() } else { Ok(()) }
    }
    fn flush(&self) -> io::Result<()> {
        for versions in self.0.lock().unwrap().values_mut() {
            let last = *versions.last().unwrap();
            *versions = vec![last];
        }
        Ok(())
    }
    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, _: bool) -> io::Result<()> {
        // A sector that was never written is zeroes anyway; the maps alone are thousands of them.
        let sectors = offset_bytes / SECTOR_BYTES..(offset_bytes + len_bytes) / SECTOR_BYTES;
        for versions in self.0.lock().unwrap().range_mut(sectors) {
            versions.1.push([0; SECTOR]);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { at: u64, sectors: u64 },
    Zero { at: u64, sectors: u64, may_unmap: bool },
    Flush,
    Kill,
    LosePower { dice: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    // The first clusters, those around the border of the map's pages, and the last ones.
    let at = prop_oneof![0..64_u64, 32_764 * 8..32_772 * 8_u64, SECTORS - 40..SECTORS];
    let range = (at, 1..24_u64).prop_map(|(at, sectors)| (at, sectors.min(SECTORS - at)));
    prop_oneof![
        6 => range.clone().prop_map(|(at, sectors)| Step::Write { at, sectors }),
        2 => (range, any::<bool>())
            .prop_map(|((at, sectors), may_unmap)| Step::Zero { at, sectors, may_unmap }),
        2 => Just(Step::Flush),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(|dice| Step::LosePower { dice }),
    ]
}

/// The device under test, and what each touched sector may hold: the last version is what it holds now,
/// the others what a loss of power may bring back.
struct Trial {
    medium: Arc<Medium>,
    target: Option<CowTarget<Base, Arc<Medium>>>,
    boot: u8,
    allowed: BTreeMap<u64, Vec<Stamp>>,
}

impl Trial {
    fn new() -> Self {
        let medium = Arc::new(Medium::default());
        let mut trial = Self { medium, target: None, boot: b'1', allowed: BTreeMap::new() };
        trial.start();
        trial
    }

    fn start(&mut self) {
        let opened = CowTarget::on_boot(Base, Arc::clone(&self.medium), 4096, [self.boot; 36]);
        self.target = Some(opened.unwrap());
    }

    fn target(&self) -> &CowTarget<Base, Arc<Medium>> {
        self.target.as_ref().unwrap()
    }

    /// Ends the server without its last flush.
    fn kill(&mut self) {
        std::mem::forget(self.target.take());
    }

    fn put(&mut self, at: u64, sectors: u64, stamp: impl Fn(u64) -> Stamp) {
        for sector in at..at + sectors {
            let versions = self.allowed.entry(sector).or_insert_with(|| vec![base_stamp(sector)]);
            versions.push(stamp(sector));
        }
    }

    fn step(&mut self, number: u64, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Write { at, sectors } => {
                let stamp = |sector: u64| (number + 2) << 44 | sector;
                let data: Vec<u8> = (at..at + sectors).flat_map(|s| sector(stamp(s))).collect();
                self.target().write(at * SECTOR_BYTES, &data, false).unwrap();
                self.put(at, sectors, stamp);
            }
            Step::Zero { at, sectors, may_unmap } => {
                let (at_bytes, len) = (at * SECTOR_BYTES, sectors * SECTOR_BYTES);
                self.target().write_zeroes(at_bytes, len, may_unmap).unwrap();
                self.put(at, sectors, |_| 0);
            }
            Step::Flush => {
                self.target().flush().unwrap();
                for versions in self.allowed.values_mut() {
                    *versions = vec![*versions.last().unwrap()];
                }
            }
            Step::Kill => {
                self.kill();
                self.start();
            }
            Step::LosePower { dice } => {
                self.kill();
                self.medium.lose_power(dice);
                self.boot += 1;
                self.start();
                self.settle()?;
            }
        }
        self.compare(number, step)
    }

    /// After a loss of power: each sector holds one of its versions, which is then the only one.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for (number, versions) in &mut self.allowed {
            let mut bytes = [0; SECTOR];
            let target = self.target.as_ref().unwrap();
            target.read(number * SECTOR_BYTES, &mut bytes).unwrap();
            let held = versions.iter().find(|stamp| sector(**stamp) == bytes);
            let Some(held) = held else {
                let stamp = u64::from_le_bytes(*bytes.first_chunk().unwrap());
                let told = format!("sector {number} holds {stamp:#x}, none of {versions:#x?}");
                return Err(TestCaseError::fail(told));
            };
            *versions = vec![*held];
        }
        Ok(())
    }

    /// The places where anything happens, whole.
    fn compare(&self, number: u64, step: &Step) -> Result<(), TestCaseError> {
        for range in [0..96, 32_756 * 8..32_780 * 8, SECTORS - 48..SECTORS] {
            let mut bytes = vec![0xEE; (range.end - range.start) as usize * SECTOR];
            self.target().read(range.start * SECTOR_BYTES, &mut bytes).unwrap();
            for (at, bytes) in range.zip(bytes.chunks(SECTOR)) {
                let expected = self.allowed.get(&at).and_then(|versions| versions.last());
                let expected = sector(expected.copied().unwrap_or(base_stamp(at)));
                prop_assert!(bytes == expected, "sector {at} after step {number}, {step:?}");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_flushed_survives_and_the_rest_is_old_or_new(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let mut trial = Trial::new();
        for (number, step) in (0..).zip(&steps) {
            trial.step(number, step)?;
        }
        trial.kill();
    }
}
