//! The rules of zones, one sentence each, and all of them at once against a model that counts anew each time.

use proptest::prelude::*;

use super::*;

const ZONE: u64 = 64 << 10;

fn options(zones: u64) -> ZonedRamOptions {
    ZonedRamOptions::new(zones * ZONE).zone_bytes(ZONE)
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn conditions(disk: &ZonedRamTarget) -> Vec<ZoneCondition> {
    let zones = disk.size_bytes() / ZONE;
    (0..zones).map(|zone| disk.zone(zone * ZONE).unwrap().condition).collect()
}

#[test]
fn a_sequential_zone_is_written_at_its_pointer_and_nowhere_else() {
    let disk = ZonedRamTarget::new(options(2)).unwrap();
    assert_eq!(errno(disk.write(512, &[1; 512], false)), Some(libc::EIO));
    disk.write(0, &[1; 512], false).unwrap();
    assert_eq!(errno(disk.write(0, &[2; 512], false)), Some(libc::EIO));
    assert_eq!(errno(disk.write(1024, &[2; 512], false)), Some(libc::EIO));
    disk.write(512, &[2; 512], false).unwrap();
    assert_eq!(disk.zone(0).unwrap().write_pointer_bytes, 1024);
    let mut bytes = [9; 1536];
    disk.read(0, &mut bytes).unwrap();
    assert_eq!(bytes.to_vec(), [[1; 512], [2; 512], [0; 512]].concat());
}

#[test]
fn a_write_does_not_leave_its_zone_and_a_full_zone_takes_none() {
    let disk = ZonedRamTarget::new(options(2)).unwrap();
    assert_eq!(errno(disk.write(0, &vec![1; ZONE as usize + 512], false)), Some(libc::EIO));
    disk.write(0, &vec![1; ZONE as usize], false).unwrap();
    assert_eq!(conditions(&disk), [ZoneCondition::Full, ZoneCondition::Empty]);
    assert_eq!(disk.zone(0).unwrap().write_pointer_bytes, ZONE);
    assert_eq!(errno(disk.append(0, &[1; 512], false)), Some(libc::EIO));
    disk.write(ZONE, &[1; 512], false).unwrap();
}

#[test]
fn an_append_says_where_it_went() {
    let disk = ZonedRamTarget::new(options(3).conventional_zones(1)).unwrap();
    assert_eq!(disk.append(ZONE, &[1; 1024], false).unwrap(), ZONE);
    assert_eq!(disk.append(ZONE, &[2; 512], false).unwrap(), ZONE + 1024);
    assert_eq!(errno(disk.append(0, &[1; 512], false)), Some(libc::EIO), "a conventional zone");
    assert_eq!(errno(disk.append(ZONE + 512, &[1; 512], false)), Some(libc::EIO), "not a start");
    disk.append(ZONE, &vec![3; ZONE as usize - 2048], false).unwrap();
    assert_eq!(errno(disk.append(ZONE, &[1; 1024], false)), Some(libc::EIO), "no room");
    assert_eq!(disk.append(ZONE, &[1; 512], false).unwrap(), 2 * ZONE - 512);
}

#[test]
fn conventional_zones_are_written_anywhere_and_have_no_pointer() {
    let disk = ZonedRamTarget::new(options(2).conventional_zones(1)).unwrap();
    disk.write(4096, &[1; 512], false).unwrap();
    disk.write(0, &[1; 512], false).unwrap();
    assert_eq!(disk.zone(0).unwrap().condition, ZoneCondition::NotWritePointer);
    for action in [ZoneAction::Open, ZoneAction::Close, ZoneAction::Finish, ZoneAction::Reset] {
        assert_eq!(errno(disk.manage(action, 0)), Some(libc::EIO), "{action:?}");
    }
    disk.write(ZONE, &[1; 512], false).unwrap();
    disk.reset_all().unwrap();
    let mut bytes = [0; 512];
    disk.read(4096, &mut bytes).unwrap();
    assert_eq!(bytes, [1; 512], "a reset of all leaves it alone");
    assert_eq!(disk.zone(ZONE).unwrap().condition, ZoneCondition::Empty);
}

#[test]
fn a_reset_frees_the_storage() {
    let disk = ZonedRamTarget::new(options(16)).unwrap();
    for zone in 0..16 {
        disk.write(zone * ZONE, &vec![1; ZONE as usize], false).unwrap();
    }
    assert_eq!(disk.allocated_bytes(), 16 * ZONE);
    disk.manage(ZoneAction::Reset, 5 * ZONE).unwrap();
    assert_eq!(disk.allocated_bytes(), 15 * ZONE);
    disk.reset_all().unwrap();
    assert_eq!(disk.allocated_bytes(), 0);
}

#[test]
fn a_write_makes_room_among_implicitly_open_zones_only() {
    use ZoneCondition::{Closed, Empty, ExplicitOpen, ImplicitOpen};
    let disk = ZonedRamTarget::new(options(4).max_open_zones(2)).unwrap();
    disk.write(0, &[1; 512], false).unwrap();
    disk.manage(ZoneAction::Open, ZONE).unwrap();
    disk.write(2 * ZONE, &[1; 512], false).unwrap();
    assert_eq!(conditions(&disk), [Closed, ExplicitOpen, ImplicitOpen, Empty]);
    disk.manage(ZoneAction::Open, 2 * ZONE).unwrap();
    assert_eq!(errno(disk.write(0, &[1; 512], false)), Some(libc::EIO), "not at the pointer");
    assert_eq!(errno(disk.write(512, &[1; 512], false)), Some(libc::ETOOMANYREFS));
    disk.manage(ZoneAction::Close, ZONE).unwrap();
    assert_eq!(conditions(&disk), [Closed, Empty, ExplicitOpen, Empty], "nothing was written");
    disk.write(512, &[1; 512], false).unwrap();
}

#[test]
fn active_zones_are_limited_too() {
    let disk = ZonedRamTarget::new(options(4).max_open_zones(1).max_active_zones(2)).unwrap();
    disk.write(0, &[1; 512], false).unwrap();
    disk.write(ZONE, &[1; 512], false).unwrap();
    for refused in [
        disk.write(2 * ZONE, &[1; 512], false),
        disk.manage(ZoneAction::Open, 2 * ZONE),
        disk.manage(ZoneAction::Finish, 2 * ZONE),
        disk.append(2 * ZONE, &[1; 512], false).map(drop),
    ] {
        assert_eq!(errno(refused), Some(libc::EOVERFLOW));
    }
    disk.manage(ZoneAction::Finish, 0).unwrap();
    disk.write(2 * ZONE, &[1; 512], false).unwrap();
}

#[test]
fn impossible_disks_are_refused_with_the_reason() {
    let error = |options| ZonedRamTarget::new(options).unwrap_err().to_string();
    assert!(error(options(4).zone_bytes(100_000)).starts_with("a zone of 100000 bytes"));
    assert!(error(options(4).zone_bytes(4096)).starts_with("a zone of 4096 bytes"));
    assert!(error(ZonedRamOptions::new(ZONE * 2 - 512).zone_bytes(ZONE)).contains("whole zones"));
    assert!(error(options(4).conventional_zones(4)).ends_with("leave no sequential one"));
    assert!(error(options(9).max_open_zones(5).max_active_zones(4)).starts_with("5 open zones"));
    let unlimited = ZonedRamTarget::new(options(4).max_open_zones(9).max_active_zones(9)).unwrap();
    assert_eq!(unlimited.geometry().max_open_zones, 0);
}

#[derive(Clone, Debug)]
enum Step {
    /// At the pointer, moved by so many sectors.
    Write {
        zone: usize,
        off_by: i64,
        sectors: u64,
    },
    Append {
        zone: usize,
        sectors: u64,
    },
    Manage {
        action: ZoneAction,
        zone: usize,
    },
    ResetAll,
}

const ZONES: usize = 7;

fn step() -> impl Strategy<Value = Step> {
    let zone = || 0..ZONES;
    let action = prop_oneof![
        3 => Just(ZoneAction::Open), 3 => Just(ZoneAction::Close),
        1 => Just(ZoneAction::Finish), 2 => Just(ZoneAction::Reset),
    ];
    let off_by = prop_oneof![8 => Just(0_i64), 1 => -2..3_i64];
    prop_oneof![
        6 => (zone(), off_by, 1..80_u64)
            .prop_map(|(zone, off_by, sectors)| Step::Write { zone, off_by, sectors }),
        4 => (zone(), 1..80_u64).prop_map(|(zone, sectors)| Step::Append { zone, sectors }),
        6 => (action, zone()).prop_map(|(action, zone)| Step::Manage { action, zone }),
        1 => Just(Step::ResetAll),
    ]
}

/// The rules again, told the other way round: by what is seen before a step and after it.
struct Model {
    conditions: Vec<ZoneCondition>,
    bytes: Vec<Vec<u8>>,
    max_open: usize,
    max_active: usize,
}

impl Model {
    fn count(&self, of: &[ZoneCondition]) -> usize {
        self.conditions.iter().filter(|condition| of.contains(condition)).count()
    }

    /// Makes `zone` open, or says which errno.
    fn open(&mut self, zone: usize, to: ZoneCondition) -> Result<(), i32> {
        use ZoneCondition::{Closed, Empty, ExplicitOpen, ImplicitOpen, NotWritePointer};
        match self.conditions[zone] {
            ZoneCondition::Full | NotWritePointer => return Err(libc::EIO),
            ExplicitOpen => return Ok(()),
            ImplicitOpen => {}
            was => {
                let active = self.count(&[Closed, ExplicitOpen, ImplicitOpen]);
                if was == Empty && active == self.max_active {
                    return Err(libc::EOVERFLOW);
                }
                if self.count(&[ExplicitOpen, ImplicitOpen]) == self.max_open {
                    let Some(other) = self.conditions.iter().position(|c| *c == ImplicitOpen)
                    else {
                        return Err(libc::ETOOMANYREFS);
                    };
                    self.conditions[other] = Closed;
                }
            }
        }
        self.conditions[zone] = to;
        Ok(())
    }

    fn write(&mut self, zone: usize, at: u64, data: &[u8]) -> Result<(), i32> {
        let (at, end) = (at as usize, at as usize + data.len());
        if end > ZONE as usize {
            return Err(libc::EIO);
        }
        if self.conditions[zone] == ZoneCondition::NotWritePointer {
            let bytes = &mut self.bytes[zone];
            bytes.resize(bytes.len().max(end), 0);
            bytes[at..end].copy_from_slice(data);
            return Ok(());
        }
        if at != self.bytes[zone].len() {
            return Err(libc::EIO);
        }
        if !matches!(self.conditions[zone], ZoneCondition::ImplicitOpen) {
            self.open(zone, ZoneCondition::ImplicitOpen)?;
        }
        self.bytes[zone].extend_from_slice(data);
        if self.bytes[zone].len() as u64 == ZONE {
            self.conditions[zone] = ZoneCondition::Full;
        }
        Ok(())
    }

    fn manage(&mut self, action: ZoneAction, zone: usize) -> Result<(), i32> {
        use ZoneCondition::{Closed, Empty, ExplicitOpen, Full, ImplicitOpen, NotWritePointer};
        match (action, self.conditions[zone]) {
            (_, NotWritePointer) => return Err(libc::EIO),
            (ZoneAction::Reset, _) => {
                self.bytes[zone].clear();
                self.conditions[zone] = Empty;
            }
            (ZoneAction::Open, _) => self.open(zone, ExplicitOpen)?,
            (ZoneAction::Close, Closed) | (ZoneAction::Finish, Full) => {}
            (ZoneAction::Close, ExplicitOpen | ImplicitOpen) => {
                let empty = self.bytes[zone].is_empty();
                self.conditions[zone] = if empty { Empty } else { Closed };
            }
            (ZoneAction::Close, _) => return Err(libc::EIO),
            (ZoneAction::Finish, _) => {
                self.open(zone, ImplicitOpen)?;
                self.bytes[zone].resize(ZONE as usize, 0);
                self.conditions[zone] = Full;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_zoned_disk_does_what_the_rules_say(
        steps in prop::collection::vec(step(), 1..80),
        conventional in 0..3_u32,
        max_active in 1..ZONES,
        max_open in 1..ZONES,
    ) {
        let max_open = max_open.min(max_active);
        let disk = ZonedRamTarget::new(
            options(ZONES as u64)
                .conventional_zones(conventional)
                .max_open_zones(max_open as u32)
                .max_active_zones(max_active as u32),
        ).unwrap();
        let mut model = Model {
            conditions: conditions(&disk), bytes: vec![Vec::new(); ZONES], max_open, max_active,
        };
        for (number, step) in (1_u8..).zip(&steps) {
            let (observed, expected) = match *step {
                Step::Write { zone, off_by, sectors } => {
                    let pointer = model.bytes[zone].len() as i64;
                    let at = (pointer + off_by * 512).clamp(0, ZONE as i64 - 512) as u64;
                    let data = vec![number; sectors as usize * 512];
                    (
                        disk.write(zone as u64 * ZONE + at, &data, false),
                        model.write(zone, at, &data),
                    )
                }
                Step::Append { zone, sectors } => {
                    let data = vec![number; sectors as usize * 512];
                    let at = model.bytes[zone].len() as u64;
                    let appended = disk.append(zone as u64 * ZONE, &data, false);
                    if let Ok(went) = appended {
                        prop_assert_eq!(went, zone as u64 * ZONE + at);
                    }
                    let sequential = zone >= conventional as usize;
                    let expected = if sequential { model.write(zone, at, &data) } else { Err(libc::EIO) };
                    (appended.map(drop), expected)
                }
                Step::Manage { action, zone } => {
                    (disk.manage(action, zone as u64 * ZONE), model.manage(action, zone))
                }
                Step::ResetAll => {
                    for zone in conventional as usize..ZONES {
                        model.manage(ZoneAction::Reset, zone).unwrap();
                    }
                    (disk.reset_all(), Ok(()))
                }
            };
            prop_assert_eq!(errno(observed), expected.err(), "step {} {:?}", number, step);
            prop_assert_eq!(&conditions(&disk), &model.conditions, "step {} {:?}", number, step);
            for (zone, bytes) in (0..).zip(&model.bytes) {
                let described = disk.zone(zone * ZONE).unwrap();
                let pointer = described.write_pointer_bytes - zone * ZONE;
                if described.condition != ZoneCondition::NotWritePointer {
                    prop_assert_eq!(pointer, bytes.len() as u64);
                }
                let mut read = vec![0xEE; ZONE as usize];
                disk.read(zone * ZONE, &mut read).unwrap();
                prop_assert!(read[..bytes.len()] == **bytes, "zone {} after {:?}", zone, step);
                prop_assert!(read[bytes.len()..].iter().all(|byte| *byte == 0));
            }
        }
    }
}
