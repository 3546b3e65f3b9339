//! Who is compared, and how each is asked for the same thing: 128 tags, and null unless told otherwise.

use std::path::{Path, PathBuf};

use reports::gate::{BASE, CONTROL};
use reports::perf::{Launch, Role, Subject};
use vmimage::initramfs::Content;
use vmimage::symbols;
use vmimage::userland::GuestFile;

use crate::cli::PerfTarget;

/// Tags of every device, so that QD 128 fits.
pub(crate) const DEPTH: u16 = 128;
pub(crate) const ID: u32 = 1;

/// Not `/bin/ublk`, which is built for a short wait instead of speed.
pub(crate) const UBLK: &str = "/opt/perf/ublk";
const UBLK_OTHER: &str = "/opt/perf/ublk-other";
const UBLK_BASE: &str = "/opt/perf/ublk-base";
pub(crate) const KUBLK: &str = "/opt/perf/kublk";
const LIBUBLK: &str = "/opt/perf/libublk-null";

/// What a program calls when it allocates.
pub(crate) const ALLOCATORS: &[&str] =
    &["malloc", "calloc", "realloc", "memalign", "posix_memalign", "aligned_alloc"];

/// Bits of `UBLK_F_*`.
const ZERO_COPY: u64 = 1;
const NEED_GET_DATA: u64 = 1 << 2;
pub(crate) const USER_COPY: u64 = 1 << 7;
pub(crate) const AUTO_BUF_REG: u64 = 1 << 11;
pub(crate) const BATCH_IO: u64 = 1 << 15;

/// One data mode, and how each server is asked for it; none where it cannot do it.
struct Mode {
    name: &'static str,
    features: u64,
    ours: Option<&'static [&'static str]>,
    kublk: Option<&'static [&'static str]>,
    libublk: Option<&'static [&'static str]>,
}

const MODES: &[Mode] = &[
    Mode { name: "copy", features: 0, ours: Some(&[]), kublk: Some(&[]), libublk: Some(&[]) },
    Mode {
        name: "get-data",
        features: NEED_GET_DATA,
        ours: Some(&["--mode", "get-data"]),
        kublk: Some(&["-g"]),
        libublk: None,
    },
    Mode {
        name: "user-copy",
        features: USER_COPY,
        ours: Some(&["--mode", "user-copy"]),
        kublk: Some(&["-u"]),
        libublk: Some(&["-u"]),
    },
    Mode {
        name: "zero-copy",
        features: ZERO_COPY,
        ours: Some(&["--mode", "zero-copy"]),
        kublk: Some(&["-z"]),
        libublk: None,
    },
    Mode {
        name: "auto-buf",
        features: AUTO_BUF_REG,
        ours: Some(&["--mode", "auto-zero-copy"]),
        kublk: Some(&["--auto_zc"]),
        libublk: Some(&["-z"]),
    },
    Mode {
        name: "batch",
        features: BATCH_IO,
        ours: Some(&["--batch"]),
        kublk: Some(&["-b"]),
        libublk: None,
    },
    Mode {
        name: "batch-user-copy",
        features: BATCH_IO | USER_COPY,
        ours: Some(&["--batch", "--mode", "user-copy"]),
        // It starts and then serves nothing.
        kublk: None,
        libublk: None,
    },
    Mode {
        name: "batch-auto-buf",
        features: BATCH_IO | AUTO_BUF_REG,
        ours: Some(&["--batch", "--mode", "auto-zero-copy"]),
        kublk: Some(&["-b", "--auto_zc"]),
        libublk: None,
    },
];

/// Binaries of a run, where they could be had.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    pub(crate) ublk: PathBuf,
    /// Another build of ours, for a comparison of two.
    pub(crate) other: Option<PathBuf>,
    /// What a gate compares with; measured as `base`, and as `control` once more.
    pub(crate) base: Option<PathBuf>,
    pub(crate) kublk: Option<PathBuf>,
    pub(crate) libublk: Option<PathBuf>,
}

impl Programs {
    /// What goes into the guest image, beside what is always in it.
    pub(crate) fn guest_files(&self) -> Vec<GuestFile> {
        let file = |guest: &str, path: &Path| {
            let content = Content::Path(path.to_owned());
            GuestFile { guest: guest.to_owned(), content, mode: 0o755 }
        };
        let others = [
            (UBLK_OTHER, &self.other),
            (UBLK_BASE, &self.base),
            (KUBLK, &self.kublk),
            (LIBUBLK, &self.libublk),
        ];
        let others = others.into_iter().filter_map(|(guest, path)| Some((guest, path.as_deref()?)));
        let ours = (UBLK, self.ublk.as_path());
        std::iter::once(ours).chain(others).map(|(guest, path)| file(guest, path)).collect()
    }
}

impl PerfTarget {
    /// What `ublk add` is told; fio touches the first 256 MiB.
    const fn words(self) -> &'static str {
        match self {
            Self::Null => "null --untouched --size 1G",
            Self::Ram => "ram --size 256M",
            Self::File => "file --path /tmp/perf.img --size 256M",
        }
    }

    /// What is appended to the server's name, so that a history of `ublk` stays one of the null target.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Null => "",
            Self::Ram => "-ram",
            Self::File => "-file",
        }
    }
}

/// Every subject there is with these programs, on `queues` queues; ours with each of the targets.
pub(crate) fn all(programs: &Programs, targets: &[PerfTarget], queues: u16) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for mode in MODES {
        let ours = [
            ("ublk", UBLK, Some(&programs.ublk)),
            ("other", UBLK_OTHER, programs.other.as_ref()),
            (BASE, UBLK_BASE, programs.base.as_ref()),
            (CONTROL, UBLK_BASE, programs.base.as_ref()),
        ];
        for (name, guest, path) in ours {
            let (Some(path), Some(arguments)) = (path, mode.ours) else { continue };
            for target in targets {
                let (words, name) = (target.words(), format!("{name}{}", target.suffix()));
                let base = format!("{guest} add {words} --id {ID} --queues {queues} --depth");
                subjects.push(server(&name, mode, Role::Ours, &base, arguments, path));
            }
        }
        if let (Some(path), Some(arguments)) = (&programs.kublk, mode.kublk) {
            let base = format!("{KUBLK} add -t null -n {ID} -q {queues} -d");
            subjects.push(server("kublk", mode, Role::Reference, &base, arguments, path));
        }
        if let (Some(path), Some(arguments)) = (&programs.libublk, mode.libublk) {
            let base = format!("{LIBUBLK} add --foreground -n {ID} -q {queues} -d");
            subjects.push(server("libublk", mode, Role::Peer, &base, arguments, path));
        }
    }
    subjects.push(Subject {
        name: "loop".into(),
        mode: "file in tmpfs".into(),
        role: Role::Limit,
        features: 0,
        launch: Launch::Loop { len_bytes: 256 << 20, direct: false },
        device: "/dev/loop0".into(),
        target: None,
        proof: None,
    });
    subjects.push(Subject {
        name: "null_blk".into(),
        mode: "blk-mq".into(),
        role: Role::Limit,
        features: 0,
        launch: Launch::Module {
            module: "null_blk".into(),
            parameters: format!(
                "nr_devices=1 queue_mode=2 irqmode=0 bs=512 gb=1 submit_queues={queues} \
                 hw_queue_depth={DEPTH}"
            ),
            settings: Vec::new(),
        },
        device: "/dev/nullb0".into(),
        target: None,
        proof: None,
    });
    subjects
}

/// A server; `base` ends in the option for the depth, whose value each visit appends.
fn server(
    name: &str,
    mode: &Mode,
    role: Role,
    base: &str,
    arguments: &[&str],
    path: &Path,
) -> Subject {
    // The depth comes last, so the mode's own arguments go before its option.
    let (head, depth_option) = base.rsplit_once(' ').unwrap_or((base, ""));
    let words = head.split(' ').chain(arguments.iter().copied()).chain([depth_option]);
    let launch = Launch::Server {
        argv: words.map(str::to_owned).collect(),
        id: ID,
        allocators: symbols::function_offsets(path, ALLOCATORS).unwrap_or_default(),
    };
    Subject {
        name: name.to_owned(),
        mode: mode.name.to_owned(),
        role,
        features: mode.features,
        launch,
        device: format!("/dev/ublkb{ID}"),
        target: None,
        proof: None,
    }
}

/// How a server's device outlives it, and how another program takes it over.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// What `add` is given beside the depth.
    pub(crate) add: Vec<String>,
    /// The program that takes over, and its arguments.
    pub(crate) take_over: Vec<String>,
}

/// That of our null target; none of anybody else.
pub(crate) fn recovery(subject: &Subject) -> Option<Recovery> {
    let Launch::Server { argv, .. } = &subject.launch else { return None };
    // The other targets would have to be given back what they served; kublk's recovery is not understood yet.
    if subject.name != "ublk" {
        return None;
    }
    let add = "--recovery plain";
    let take_over = format!("{} recover {ID} null --untouched --size 1G", argv.first()?);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Some(Recovery { add: words(add), take_over: words(&take_over) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_can_do_nearly_every_mode_and_the_depth_comes_last() {
        let own = std::env::current_exe().unwrap();
        let programs = Programs {
            ublk: own.clone(),
            other: None,
            base: None,
            kublk: Some(own.clone()),
            libublk: Some(own),
        };
        let subjects = all(&programs, &[PerfTarget::Null, PerfTarget::Ram], 1);
        assert!(MODES.iter().filter(|mode| mode.kublk.is_none()).count() <= 1);
        for subject in &subjects {
            if let Launch::Server { argv, .. } = &subject.launch {
                assert!(argv.last().unwrap().ends_with('d') || argv.last().unwrap() == "--depth");
            }
        }
        let ids: std::collections::BTreeSet<_> = subjects.iter().map(Subject::id).collect();
        assert_eq!(ids.len(), subjects.len());
    }
}
