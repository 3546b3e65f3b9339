//! The command line, as it was typed. It is older than this project and getopt's: short options cluster,
//! every option is accepted by every command, and an option nobody knows belongs to the target and takes
//! an argument. Hence lexopt, which has no opinions, and not the parser of our own command.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use ublk::params::Checksum;
use ublk::uapi::{Features, IntegrityFlags};

use super::set_params::ParamWords;
use crate::exit::Failure;

/// Most backing files a target may have.
const FILES_MAX: usize = 4;

/// Everything that can be typed, with its defaults.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) target: String,
    pub(super) number: Option<u32>,
    pub(super) queues: u16,
    pub(super) depth: u16,
    pub(super) features: Features,
    pub(super) auto_zc_fallback: bool,
    pub(super) rotate_auto_buf: bool,
    pub(super) threads: Option<u16>,
    pub(super) per_io_tasks: bool,
    pub(super) io_desc_size_bytes: Option<u16>,
    pub(super) integrity: IntegrityWords,
    pub(super) htlb: Option<PathBuf>,
    pub(super) rdonly_shmem_buf: bool,
    pub(super) size_bytes: Option<u64>,
    pub(super) safe: bool,
    pub(super) foreground: bool,
    pub(super) quiet: bool,
    pub(super) all: bool,
    pub(super) params: ParamWords,
    /// Options of the target and their arguments.
    pub(super) of_target: Vec<(String, String)>,
    pub(super) files: Vec<PathBuf>,
}

/// Metadata per logical block; none with a size of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IntegrityWords {
    pub(super) flags: IntegrityFlags,
    pub(super) metadata_size: u8,
    pub(super) pi_offset: u8,
    pub(super) checksum: Option<Checksum>,
    pub(super) tag_size: u8,
}

/// One word of the command line.
enum Word {
    File(PathBuf),
    Short(char),
    Long(String),
}

impl From<Arg<'_>> for Word {
    fn from(arg: Arg<'_>) -> Self {
        match arg {
            Arg::Value(file) => Self::File(file.into()),
            Arg::Short(letter) => Self::Short(letter),
            Arg::Long(name) => Self::Long(name.to_owned()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: "unknown".into(),
            number: None,
            queues: 2,
            depth: 128,
            features: Features::empty(),
            auto_zc_fallback: false,
            rotate_auto_buf: false,
            threads: None,
            per_io_tasks: false,
            io_desc_size_bytes: None,
            integrity: IntegrityWords::default(),
            htlb: None,
            rdonly_shmem_buf: false,
            size_bytes: None,
            safe: false,
            foreground: false,
            quiet: false,
            all: false,
            params: ParamWords::default(),
            of_target: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Options {
    /// Reads what follows the command.
    pub(super) fn parse(line: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut parser = Parser::from_args(line);
        // Owned, because an argument is asked of the same parser.
        while let Some(word) = parser.next().map_err(Failure::usage)?.map(Word::from) {
            options.take(word, &mut parser)?;
        }
        options.check()?;
        Ok(options)
    }

    fn take(&mut self, word: Word, parser: &mut Parser) -> Result<(), Failure> {
        match word {
            Word::File(file) if self.files.len() < FILES_MAX => self.files.push(file),
            Word::File(_) => {}
            Word::Short(letter) => match long_name(letter) {
                Some(name) => self.option(name, parser)?,
                None => return Err(Failure::usage(format!("there is no option -{letter}"))),
            },
            // Only its short form takes no argument; no script has ever used the long one.
            Word::Long(name) if name == "get_data" => {
                if value::<u32>(&name, parser)? != 0 {
                    self.features |= Features::NEED_GET_DATA;
                }
            }
            Word::Long(name) => self.option(&name, parser)?,
        }
        Ok(())
    }

    fn option(&mut self, name: &str, parser: &mut Parser) -> Result<(), Failure> {
        if self.flag(name) {
            return Ok(());
        }
        match name {
            "type" => self.target = value(name, parser)?,
            "number" => {
                let number: i64 = value(name, parser)?;
                self.number = u32::try_from(number).ok();
            }
            "queues" => self.queues = value(name, parser)?,
            "depth" => self.depth = value(name, parser)?,
            "recovery" => self.recovery(name, Features::empty(), parser)?,
            "recovery_fail_io" => {
                self.recovery(name, Features::USER_RECOVERY_FAIL_IO, parser)?;
            }
            "recovery_reissue" => {
                self.recovery(name, Features::USER_RECOVERY_REISSUE, parser)?;
            }
            "size" => self.size_bytes = Some(value(name, parser)?),
            "nthreads" => {
                let threads: u16 = value(name, parser)?;
                self.threads = (threads != 0).then_some(threads);
            }
            "io_desc_size" => {
                self.features |= Features::IO_DESC_SIZE;
                self.io_desc_size_bytes = Some(value(name, parser)?);
            }
            "htlb" => self.htlb = Some(text(name, parser)?.into()),
            "debug_mask" => drop(text(name, parser)?),
            "metadata_size" => self.integrity.metadata_size = value(name, parser)?,
            "pi_offset" => self.integrity.pi_offset = value(name, parser)?,
            "tag_size" => self.integrity.tag_size = value(name, parser)?,
            "csum_type" => self.integrity.checksum = Some(checksum(&text(name, parser)?)?),
            _ => match self.params.slot(name) {
                Some(slot) => slot.set(name, &text(name, parser)?)?,
                None => self.of_target.push((name.to_owned(), text(name, parser)?)),
            },
        }
        Ok(())
    }

    /// Options without an argument; whether `name` is one.
    fn flag(&mut self, name: &str) -> bool {
        let feature = match name {
            "zero_copy" => Features::SUPPORT_ZERO_COPY,
            "user_copy" => Features::USER_COPY,
            "get_data" => Features::NEED_GET_DATA,
            "auto_zc" => Features::AUTO_BUF_REG,
            "batch" => Features::BATCH_IO,
            "no_auto_part_scan" => Features::NO_AUTO_PART_SCAN,
            "shmem_zc" => Features::SHMEM_ZC,
            "zoned" => Features::ZONED,
            _ => Features::empty(),
        };
        self.features |= feature;
        match name {
            "integrity_capable" => self.integrity.flags |= IntegrityFlags::CAP_INTEGRITY,
            "integrity_reftag" => self.integrity.flags |= IntegrityFlags::CAP_REFTAG,
            "auto_zc_fallback" => self.auto_zc_fallback = true,
            "rotate_auto_buf" => self.rotate_auto_buf = true,
            "per_io_tasks" => self.per_io_tasks = true,
            "rdonly_shmem_buf" => self.rdonly_shmem_buf = true,
            "safe" => self.safe = true,
            "foreground" => self.foreground = true,
            "quiet" => self.quiet = true,
            "all" => self.all = true,
            // How our rings name their file is their own business.
            "no_ublk_fixed_fd" => {}
            _ => return !feature.is_empty(),
        }
        true
    }

    fn recovery(&mut self, name: &str, more: Features, parser: &mut Parser) -> Result<(), Failure> {
        if value::<i64>(name, parser)? != 0 {
            self.features |= Features::USER_RECOVERY | more;
        }
        Ok(())
    }

    /// Combinations that the original refuses before it asks the kernel.
    fn check(&mut self) -> Result<(), Failure> {
        let has = |flag| self.features.contains(flag);
        let refuse = |why: &str| Err(Failure::usage(why));
        if self.per_io_tasks && has(Features::BATCH_IO) {
            return refuse("per_io_tasks and batch conflict");
        }
        let both = Features::AUTO_BUF_REG | Features::SUPPORT_ZERO_COPY;
        if self.auto_zc_fallback && !has(both) {
            return refuse("auto_zc_fallback needs auto_zc and zero_copy");
        }
        let alone = !self.auto_zc_fallback;
        let modes = [
            has(Features::NEED_GET_DATA),
            has(Features::USER_COPY),
            has(Features::SUPPORT_ZERO_COPY) && alone,
            has(Features::AUTO_BUF_REG) && alone,
            self.auto_zc_fallback,
        ];
        if modes.iter().filter(|chosen| **chosen).count() > 1 {
            return refuse("too many data copy modes specified");
        }
        let IntegrityWords { metadata_size, .. } = self.integrity;
        if metadata_size != 0 && !has(Features::USER_COPY) {
            return refuse("integrity requires user_copy");
        }
        if metadata_size == 0 && self.integrity != IntegrityWords::default() {
            return refuse("integrity parameters require metadata_size");
        }
        let auto_batch = has(Features::AUTO_BUF_REG | Features::BATCH_IO);
        if auto_batch && self.threads.is_some_and(|threads| threads > self.queues) {
            return refuse("too many threads for auto_zc and batch");
        }
        if self.rotate_auto_buf && !auto_batch {
            return refuse("rotate_auto_buf requires auto_zc and batch");
        }
        if metadata_size != 0 {
            self.features |= Features::INTEGRITY;
        }
        Ok(())
    }

    /// The device's number, for commands that do nothing without one.
    pub(super) fn number(&self, command: &str) -> Result<u32, Failure> {
        self.number.ok_or_else(|| Failure::usage(format!("{command} needs a device: give -n ID")))
    }
}

fn long_name(letter: char) -> Option<&'static str> {
    Some(match letter {
        't' => "type",
        'n' => "number",
        'd' => "depth",
        'q' => "queues",
        'r' => "recovery",
        'e' => "recovery_fail_io",
        'i' => "recovery_reissue",
        's' => "size",
        'g' => "get_data",
        'a' => "all",
        'z' => "zero_copy",
        'u' => "user_copy",
        'b' => "batch",
        _ => return None,
    })
}

fn text(name: &str, parser: &mut Parser) -> Result<String, Failure> {
    let value = parser.value().map_err(|_| Failure::usage(format!("{name} needs an argument")))?;
    value.string().map_err(Failure::usage)
}

fn value<T: std::str::FromStr>(name: &str, parser: &mut Parser) -> Result<T, Failure> {
    let text = text(name, parser)?;
    text.parse().map_err(|_| Failure::usage(format!("{name} cannot be {text:?}")))
}

fn checksum(text: &str) -> Result<Checksum, Failure> {
    match text {
        "ip" => Ok(Checksum::Ip),
        "t10dif" => Ok(Checksum::Crc16T10Dif),
        "nvme" => Ok(Checksum::Crc64Nvme),
        other => Err(Failure::usage(format!("there is no checksum {other:?}"))),
    }
}
