//! Where cases are done: hands, a bystander that must not notice anything, clients, and the looks at the kernel after each case.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use ublk::ctrl::{Command, Control, CtrlError, Pending};
use ublk::uapi::Features;

use super::clients::Clients;
use super::judge::Trouble;
use super::process::{HandProcess, Spares};
use crate::block::{AlignedBuffer, BlockDevice, all_nodes, nodes, wait_until};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::model::ModuleReferences;
use crate::process::ServerProcess;
use crate::signature::{fill, first_difference};

/// Bytes of the bystander's requests.
const BLOCK_BYTES: usize = 4096;
/// Blocks of the bystander that are used, one after the other.
const BYSTANDER_BLOCKS: u64 = 200;

/// How long a deletion that is late is waited for: longer than the time that the block layer gives a request, which is 30 s, and in
/// which it looks at it a second time.
const LATE_MAX: Duration = Duration::from_secs(65);

/// The place, and what it counts.
pub(super) struct Lab {
    pub(super) control: Control,
    pub(super) spares: Spares,
    pub(super) clients: Clients,
    bystander: ServerProcess,
    disk: BlockDevice,
    references: Option<i64>,
    log: Log,
    _hurry: Hurry,
    pub(super) kernel: KernelRelease,
    pub(super) offered: Features,
    /// How long an answer that must come is waited for.
    pub(super) patience: Duration,
    /// Turns one expectation round.
    pub(super) plant: bool,
    pub(super) cases: u64,
    pub(super) acts: u64,
}

impl Lab {
    pub(super) fn new(context: &mut Context, patience: Duration) -> Result<Self, Stop> {
        let hurry = Hurry::new();
        let bystander = ServerProcess::start(context, &["ram", "--size", "1M"])?;
        let mut control =
            Control::open().during("open the control device")?.with_deadline(patience);
        let offered = control.get_features()?;
        let disk = BlockDevice::open(&nodes(bystander.live.id).1, patience)?;
        let references = ModuleReferences::open().count();
        Ok(Self {
            control,
            spares: Spares::new(),
            clients: Clients::start()?,
            bystander,
            disk,
            references,
            log: Log::open()?,
            _hurry: hurry,
            kernel: context.kernel,
            offered,
            patience,
            plant: false,
            cases: 0,
            acts: 0,
        })
    }

    pub(super) fn bystander(&self) -> u32 {
        self.bystander.live.id
    }

    /// Lets the bystander go as any server goes.
    pub(super) fn close(self, context: &mut Context) -> Result<(), Stop> {
        drop(self.disk);
        self.bystander.stop(context)
    }

    /// Ends a case: everybody leaves, every device goes, and nothing is left.
    pub(super) fn end(
        &mut self,
        hand: HandProcess,
        deletion: Option<Pending>,
    ) -> Result<(), Trouble> {
        let patience = self.patience;
        if !hand.end(patience * 2) {
            return Err(("a process that was killed ends".into(), "it stays".into()));
        }
        if let Some(pending) = deletion
            && let Err(error) = self.control.wait(&pending, patience)
        {
            let expected = "DEL_DEV ends with the last holder, and the device can be deleted";
            let late = error.is_timeout().then(|| self.late(pending));
            return Err((expected.into(), late.unwrap_or_else(|| error.to_string())));
        }
        self.sweep()?;
        self.clients.end(patience)?;
        if !wait_until(patience, || ModuleReferences::open().count() == self.references) {
            let (now, before) = (ModuleReferences::open().count(), self.references);
            let expected = format!("{before:?} references to the driver, as before the case");
            return Err((expected, format!("{now:?}")));
        }
        // A command that nobody came for keeps its place in the ring, and a long run has not so many places.
        if !wait_until(patience, || self.control.occupied().is_ok_and(|left| left == 0)) {
            let expected = "every control command of the case was answered and collected";
            return Err((expected.into(), format!("{:?} were not", self.control.occupied())));
        }
        self.look_around()
    }

    /// Deletes what is left of devices.
    pub(super) fn sweep(&mut self) -> Result<(), Trouble> {
        let left = || -> Vec<u32> {
            let names = all_nodes().unwrap_or_default();
            let ids = names.iter().filter_map(|name| name.strip_prefix("ublkc")?.parse().ok());
            ids.filter(|id| *id != self.bystander.live.id).collect()
        };
        for id in left() {
            self.delete(id)?;
        }
        let bystander = self.bystander.live.id;
        let own = [format!("ublkb{bystander}"), format!("ublkc{bystander}")];
        if wait_until(self.patience, || all_nodes().is_ok_and(|names| names == own)) {
            return Ok(());
        }
        let names = all_nodes().unwrap_or_default();
        Err((format!("no nodes but {own:?}"), format!("{names:?}")))
    }

    /// DEL_DEV of a device that nobody holds. Where it gets no answer in time it is waited for once more, for longer than a
    /// request may take: whether it comes late or never is what who reads of it wants to know first.
    fn delete(&mut self, id: u32) -> Result<(), Trouble> {
        let observed = match self.control.submit(Command::DelDev { dev_id: id }) {
            Ok(pending) => match self.control.wait(&pending, self.patience * 2) {
                Err(CtrlError::Timeout { .. }) => self.late(pending),
                Ok(_) => return Ok(()),
                Err(error) if error.errno() == Some(nix::libc::ENODEV) => return Ok(()),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        Err((format!("device {id} can be deleted when nobody holds it: done"), observed))
    }

    fn late(&mut self, pending: Pending) -> String {
        let begun = Instant::now();
        match self.control.wait(&pending, LATE_MAX) {
            Err(CtrlError::Timeout { .. }) => {
                self.control.abandon(pending);
                format!("DEL_DEV gets no answer, also not {LATE_MAX:?} later")
            }
            answer => {
                let late = begun.elapsed() + self.patience * 2;
                format!("DEL_DEV is answered after {:.0} s: {answer:?}", late.as_secs_f64())
            }
        }
    }

    /// The kernel's log, and the bystander.
    fn look_around(&mut self) -> Result<(), Trouble> {
        let text = self.log.read_new();
        if let Some(finding) = reports::splat::scan(&text).into_iter().next() {
            return Err(("the kernel has nothing to complain of".into(), finding.text));
        }
        let block = self.cases % BYSTANDER_BLOCKS;
        let place = block * BLOCK_BYTES as u64;
        let mut written = AlignedBuffer::zeroed(BLOCK_BYTES);
        fill(&mut written, place / 512, 1, self.cases);
        let mut read = AlignedBuffer::zeroed(BLOCK_BYTES);
        let done = self
            .disk
            .write_at(place, &written)
            .and_then(|()| self.disk.flush())
            .and_then(|()| self.disk.read_at(place, &mut read));
        let expected = || "the bystander keeps what was written".to_owned();
        if let Err(error) = done {
            return Err((expected(), error.to_string()));
        }
        match first_difference(place / 512, &read, &written) {
            None => Ok(()),
            Some(difference) => Err((expected(), format!("{difference:?}"))),
        }
    }
}

/// Removing a disk waits for several grace periods; as long as this lives they are short.
struct Hurry;

impl Hurry {
    const SWITCH: &'static str = "/sys/kernel/rcu_expedited";

    fn new() -> Self {
        let _ = std::fs::write(Self::SWITCH, "1");
        Self
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::SWITCH, "0");
    }
}

/// The kernel's log from now on.
struct Log {
    file: File,
}

impl Log {
    fn open() -> Result<Self, Stop> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        let mut file = options.open("/dev/kmsg").during("open the kernel's log")?;
        file.seek(SeekFrom::End(0)).during("go to the log's end")?;
        Ok(Self { file })
    }

    /// What has come since, one record a line.
    fn read_new(&mut self) -> String {
        let mut buffer = vec![0; 16 << 10];
        let mut text = String::new();
        // An error is the end, or records that were overwritten; what follows those is read the next time.
        while let Ok(bytes @ 1..) = self.file.read(&mut buffer) {
            let record = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
            let line = record.split_once(';').map_or("", |(_, line)| line);
            text.push_str(line.lines().next().unwrap_or_default());
            text.push('\n');
        }
        text
    }
}
