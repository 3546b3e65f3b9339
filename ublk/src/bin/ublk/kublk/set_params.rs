//! `set_params`: a device that is added, given parameters word for word, and deleted. The script wants to
//! see bad ones refused by the kernel, so nothing of this goes through our own checks.

use ublk::uapi::{DEV_ID_AUTO, DevInfo, ParamBasic, ParamTypes, ParamZoned, Params};

use super::commands::control;
use super::options::Options;
use crate::exit::Failure;
use crate::out;

/// Largest request of every device here, as of the original's.
pub(super) const MAX_IO_BYTES: u32 = 1 << 20;

/// One number of the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word(u64);

/// Parameters as they are typed, with the original's defaults: 16 zones of 64 KiB.
#[derive(Clone, Debug)]
pub(super) struct ParamWords {
    types: ParamTypes,
    logical_bs_shift: Word,
    physical_bs_shift: Word,
    io_min_shift: Word,
    io_opt_shift: Word,
    max_sectors: Word,
    chunk_sectors: Word,
    dev_sectors: Word,
    max_zone_append_sectors: Word,
    max_open_zones: Word,
    max_active_zones: Word,
}

impl Default for ParamWords {
    fn default() -> Self {
        Self {
            types: ParamTypes::BASIC,
            logical_bs_shift: Word(9),
            physical_bs_shift: Word(12),
            io_min_shift: Word(9),
            io_opt_shift: Word(12),
            max_sectors: Word(u64::from(MAX_IO_BYTES) >> 9),
            chunk_sectors: Word(128),
            dev_sectors: Word(128 * 16),
            max_zone_append_sectors: Word(8),
            max_open_zones: Word(0),
            max_active_zones: Word(0),
        }
    }
}

/// Where an option's argument goes.
pub(super) enum Slot<'a> {
    Types(&'a mut ParamTypes),
    Number(&'a mut Word),
}

impl ParamWords {
    /// The place of an option; none for one that is not about parameters.
    pub(super) fn slot(&mut self, name: &str) -> Option<Slot<'_>> {
        Some(Slot::Number(match name {
            "param_types" => return Some(Slot::Types(&mut self.types)),
            "logical_bs_shift" => &mut self.logical_bs_shift,
            "physical_bs_shift" => &mut self.physical_bs_shift,
            "io_min_shift" => &mut self.io_min_shift,
            "io_opt_shift" => &mut self.io_opt_shift,
            "max_sectors" => &mut self.max_sectors,
            "chunk_sectors" => &mut self.chunk_sectors,
            "dev_sectors" => &mut self.dev_sectors,
            "max_zone_append_sectors" => &mut self.max_zone_append_sectors,
            "max_open_zones" => &mut self.max_open_zones,
            "max_active_zones" => &mut self.max_active_zones,
            _ => return None,
        }))
    }

    fn params(&self) -> Params {
        let basic = ParamBasic {
            logical_bs_shift: self.logical_bs_shift.narrow(),
            physical_bs_shift: self.physical_bs_shift.narrow(),
            io_min_shift: self.io_min_shift.narrow(),
            io_opt_shift: self.io_opt_shift.narrow(),
            max_sectors: self.max_sectors.narrow(),
            chunk_sectors: self.chunk_sectors.narrow(),
            dev_sectors: self.dev_sectors.0,
            ..ParamBasic::default()
        };
        let zoned = ParamZoned {
            max_open_zones: self.max_open_zones.narrow(),
            max_active_zones: self.max_active_zones.narrow(),
            max_zone_append_sectors: self.max_zone_append_sectors.narrow(),
            ..ParamZoned::default()
        };
        // Both groups are filled whatever is announced: the kernel shall go by the types.
        Params { types: self.types, ..Params::new(basic).with_zoned(zoned) }
    }
}

impl Word {
    /// The largest number of a field where the word is larger: it is refused by the kernel just the same.
    fn narrow<T: TryFrom<u64> + Bounded>(self) -> T {
        T::try_from(self.0).unwrap_or(T::LARGEST)
    }
}

trait Bounded {
    const LARGEST: Self;
}

impl Bounded for u8 {
    const LARGEST: Self = Self::MAX;
}

impl Bounded for u32 {
    const LARGEST: Self = Self::MAX;
}

impl Slot<'_> {
    pub(super) fn set(self, name: &str, text: &str) -> Result<(), Failure> {
        let wrong = || Failure::usage(format!("{name} cannot be {text:?}"));
        match self {
            Self::Number(word) => {
                let parsed = match text.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16),
                    None => text.parse(),
                };
                word.0 = parsed.map_err(|_| wrong())?;
            }
            Self::Types(types) => {
                *types = ParamTypes::empty();
                for word in text.split(',') {
                    match word {
                        "none" => {}
                        "basic" => *types |= ParamTypes::BASIC,
                        "zoned" => *types |= ParamTypes::ZONED,
                        _ => return Err(wrong()),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Adds, sets, deletes; succeeds where the kernel took the parameters.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let mut control = control()?;
    let mut wanted = DevInfo::new(options.queues, options.depth, MAX_IO_BYTES, options.features);
    wanted.dev_id = options.number.unwrap_or(DEV_ID_AUTO);
    wanted.io_desc_size = options.io_desc_size_bytes.unwrap_or(wanted.io_desc_size);
    let info = control.add_dev(&wanted).map_err(|error| Failure::control(&error))?;
    let set = control.set_params(info.dev_id, &options.params.params());
    let result = set.as_ref().err().map_or(0, |error| -error.errno().unwrap_or(libc::EIO));
    let told = out::line(&format!("SET_PARAMS returned {result}"));
    let deleted = control.del_dev(info.dev_id);
    set.and(deleted).map_err(|error| Failure::control(&error))?;
    told
}
