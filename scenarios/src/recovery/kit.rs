//! What every scenario of the group needs: a file that several servers serve one after the other, the `ublk`
//! command, and the device's state.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::uapi::{DevInfo, DevState};

use crate::block;
use crate::context::{Context, During, Stop};
use crate::process::{ServerProcess, UBLK};

/// Size of the devices of this group, in bytes.
pub(crate) const SIZE_BYTES: u64 = 8 << 20;

/// A file in memory that outlives the servers of a device.
#[derive(Debug)]
pub(crate) struct Backing {
    path: PathBuf,
}

impl Backing {
    /// A file of [`SIZE_BYTES`] zeros.
    pub(crate) fn new(name: &str) -> Result<Self, Stop> {
        let path = std::env::temp_dir().join(format!("backing-{name}-{}", std::process::id()));
        let file =
            std::fs::File::create(&path).during(format_args!("create {}", path.display()))?;
        file.set_len(SIZE_BYTES).during("size the backing file")?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap_or_default()
    }

    /// A server of two queues with that recovery.
    pub(crate) fn serve(
        &self,
        context: &mut Context,
        recovery: &str,
        more: &[&str],
    ) -> Result<ServerProcess, Stop> {
        let mut arguments = vec!["file", "--path", self.path(), "--queues", "2", "--depth", "16"];
        arguments.extend(["--recovery", recovery]);
        arguments.extend(more);
        ServerProcess::start(context, &arguments)
    }

    /// The next server of a device, with options of `recover` and of the server.
    pub(crate) fn recover(
        &self,
        context: &mut Context,
        id: u32,
        how: &[&str],
        more: &[&str],
    ) -> Result<ServerProcess, Stop> {
        let id = id.to_string();
        let mut arguments = vec![id.as_str()];
        arguments.extend(how);
        arguments.extend(["file", "--path", self.path()]);
        arguments.extend(more);
        ServerProcess::recover(context, &arguments)
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The device as the kernel has it; none once it is gone.
pub(crate) fn info(id: u32) -> Result<Option<DevInfo>, Stop> {
    let mut control = Control::open().during("open the control device")?;
    match control.address(id) {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.errno() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Checks that the device comes to that state in time.
pub(crate) fn check_state(context: &mut Context, id: u32, state: DevState) -> Result<(), Stop> {
    let mut seen = None;
    let came = block::wait_until(context.command_timeout(), || {
        seen = info(id).ok().flatten().map(|info| info.state());
        seen == Some(state)
    });
    let what = format!("device {id} is {state} (seen: {seen:?})");
    context.check(FailureKind::State, what, came)
}

/// What a run of the `ublk` command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// Of a process that has ended.
    pub(crate) fn of(output: &Output, begin: Instant) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let said = format!("{} {}", text(&output.stdout), text(&output.stderr));
        Self { code: output.status.code(), said, took: begin.elapsed() }
    }

    /// Checks that it failed, in time, and said why in these words.
    pub(crate) fn check_refused(
        &self,
        context: &mut Context,
        what: &str,
        words: &[&str],
        within: Duration,
    ) -> Result<(), Stop> {
        let Self { code, said, took } = self;
        let refused = matches!(code, Some(1..=3)) && words.iter().all(|word| said.contains(word));
        let told = format!("{what} is refused with {words:?} (code {code:?}: {said})");
        context.check(FailureKind::Operation, told, refused)?;
        let told = format!("{what} is refused within {within:?} (it took {took:?})");
        context.check(FailureKind::Completion, told, *took <= within)
    }

    /// Checks that it succeeded.
    pub(crate) fn check_done(&self, context: &mut Context, what: &str) -> Result<(), Stop> {
        let Self { code, said, .. } = self;
        let told = format!("{what} succeeds (code {code:?}: {said})");
        context.check(FailureKind::Operation, told, *code == Some(0))
    }
}

/// Runs the `ublk` command to its end.
pub(crate) fn ublk(context: &mut Context, arguments: &[&str]) -> Result<Ran, Stop> {
    context.step(format_args!("ublk {}", arguments.join(" ")));
    let begin = Instant::now();
    let output = Command::new(UBLK.as_str()).args(arguments).output().during("run ublk")?;
    Ok(Ran::of(&output, begin))
}
