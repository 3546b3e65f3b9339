//! The devices that need no ublk: what the kernel itself offers for the same purpose, and the network block
//! device, which is served from user space too.

use reports::perf::Launch;

use super::contenders::{FILE, LEN_BYTES};
use crate::cli::PerfTarget;
use crate::perf::subjects::DEPTH;

/// What it needs of the guest beside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    NbdTools,
    Losetup,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) target: PerfTarget,
    pub(super) name: &'static str,
    pub(super) mode: &'static str,
    pub(super) needs: Needs,
    pub(super) node: &'static str,
    pub(super) launch: Launch,
    pub(super) note: Option<&'static str>,
}

const NBD_SOCKET: &str = "/tmp/nbd.sock";
const NBD_CONFIG: &str = "/tmp/nbd.conf";

/// Everybody.
pub(super) fn all() -> Vec<Device> {
    vec![null_blk(), loop_device(false), loop_device(true), nbd(), brd(), zram()]
}

fn null_blk() -> Device {
    Device {
        target: PerfTarget::Null,
        name: "null_blk",
        mode: "no server",
        needs: Needs::Nothing,
        node: "/dev/nullb0",
        launch: Launch::Module {
            module: "null_blk".into(),
            parameters: format!(
                "nr_devices=1 queue_mode=2 irqmode=0 bs=512 gb=1 submit_queues=1 hw_queue_depth={DEPTH}"
            ),
            settings: Vec::new(),
        },
        note: Some("what application and block layer cost by themselves"),
    }
}

fn loop_device(direct: bool) -> Device {
    Device {
        target: PerfTarget::File,
        name: "loop",
        mode: if direct { "direct I/O" } else { "page cache" },
        needs: if direct { Needs::Losetup } else { Needs::Nothing },
        node: "/dev/loop0",
        launch: Launch::Loop { len_bytes: LEN_BYTES, direct },
        note: None,
    }
}

fn nbd() -> Device {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    let config = format!(
        "[generic]\nunixsock = {NBD_SOCKET}\nallowlist = false\n[compare]\nexportname = {FILE}\n\
         flush = true\nfua = true\ntrim = true\n"
    );
    Device {
        target: PerfTarget::File,
        name: "nbd",
        mode: "unix socket",
        needs: Needs::NbdTools,
        node: "/dev/nbd0",
        launch: Launch::Nbd {
            server: words(&format!("/usr/bin/nbd-server -d -C {NBD_CONFIG}")),
            connect: words(&format!(
                "/usr/sbin/nbd-client -unix {NBD_SOCKET} /dev/nbd0 -N compare -b 512 -C 1"
            )),
            disconnect: words("/usr/sbin/nbd-client -d /dev/nbd0"),
            files: vec![(NBD_CONFIG.to_owned(), config)],
            socket: NBD_SOCKET.to_owned(),
        },
        note: Some("nbd-server of the archive, through the page cache; one connection"),
    }
}

fn brd() -> Device {
    Device {
        target: PerfTarget::Ram,
        name: "brd",
        mode: "no server",
        needs: Needs::Nothing,
        node: "/dev/ram0",
        launch: Launch::Module {
            module: "brd".into(),
            parameters: format!("rd_nr=1 max_part=0 rd_size={}", LEN_BYTES >> 10),
            settings: Vec::new(),
        },
        note: Some("takes no requests but bios, on the application's own stack"),
    }
}

fn zram() -> Device {
    Device {
        target: PerfTarget::Ram,
        name: "zram",
        mode: "no server",
        needs: Needs::Nothing,
        node: "/dev/zram0",
        launch: Launch::Module {
            module: "zram".into(),
            parameters: "num_devices=1".into(),
            settings: vec![("/sys/block/zram0/disksize".into(), LEN_BYTES.to_string())],
        },
        note: Some("as brd, and it compresses what it keeps, in blocks of 4096"),
    }
}
