//! How a server takes over a device that another one has left: what it is comes from the kernel, and the target
//! has to be the one that the disk's users believe to have. A wrong one would be a disk whose bytes have changed.

use std::time::Duration;

use thiserror::Error;

use super::builder::ServerBuilder;
use super::launch::Unstarted;
use super::live::Server;
use super::shared::StopHandle;
use super::start_error::StartError;
use crate::ctrl::Control;
use crate::device::{Device, DeviceError, Step, quiesce_and_wait};
use crate::target::{Capabilities, Target};
use crate::uapi::{Attrs, DevState, ParamTypes, Params, SECTOR_BYTES};

/// How long an old server that is about to end is waited for unless told otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// Why a target cannot stand in for the one a device was started with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetMismatch {
    /// The disk has another size.
    #[error(
        "the device has {device_bytes} bytes and this target {target_bytes}: give the target the device had"
    )]
    Size {
        /// What the disk's users see.
        device_bytes: u64,
        /// What the target would serve.
        target_bytes: u64,
    },
    /// The disk's logical block is smaller than the target can serve.
    #[error(
        "the device has logical blocks of {device_bytes} bytes and this target serves {target_bytes} at least"
    )]
    Block {
        /// What the disk's users see.
        device_bytes: u32,
        /// What the target needs.
        target_bytes: u32,
    },
    /// The disk promises what the target does not keep.
    #[error("the device was started with {what}, which this target does not have")]
    Lacks {
        /// What is missing.
        what: &'static str,
    },
    /// The disk's metadata is not what the target keeps.
    #[error(
        "the device's metadata is not what this target keeps: give the target the device had, and no metadata beside it"
    )]
    Metadata,
    /// The target has a volatile cache, and the disk's users were told that there is none.
    #[error(
        "this target has a volatile cache, and the device's users were told that there is none"
    )]
    Cache,
}

/// A server that takes over a device. Queues, depth, largest request, features and parameters are the device's own.
#[derive(Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Takeover {
    pub(super) builder: ServerBuilder,
    pub(super) id: u32,
    wait: Duration,
    replace: bool,
}

impl Takeover {
    pub(super) fn new(builder: ServerBuilder, id: u32) -> Self {
        Self { builder, id, wait: WAIT_DEFAULT, replace: false }
    }

    /// Quiesces the device first, so that a server that still has it leaves: an upgrade in one call. Needs a device
    /// with QUIESCE, which one with a recovery has where the kernel offers it. Available since Linux 6.16.
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }

    /// How long to wait for the old server to be gone; 10 seconds unless given.
    pub fn wait(mut self, timeout: Duration) -> Self {
        self.wait = timeout;
        self
    }

    /// A handle that stops the server, or a start that is under way.
    pub fn stop_handle(&self) -> StopHandle {
        self.builder.stop_handle()
    }

    /// Takes the device over, serves it and makes it live again.
    ///
    /// # Errors
    /// [`StartError`]. The device stays as it was, for another attempt.
    pub fn start(self) -> Result<Server, StartError> {
        let mut control = Control::open()?;
        if self.replace {
            self.quiesce(&mut control)?;
        }
        let mut device = Device::recover(control, self.id, self.wait)?;
        device.shares(self.builder.memories());
        let params = *device.params();
        self.check(&params)?;
        self.builder.launch(Unstarted::Left(device), params)
    }

    /// Ends the server that has the device, if one has; not before it is sure that ours will do.
    fn quiesce(&self, control: &mut Control) -> Result<(), StartError> {
        let failed = |source| DeviceError::Control { step: Step::Inspect, source };
        let info = control.address(self.id).map_err(failed)?;
        self.check(&control.get_params(self.id).map_err(failed)?)?;
        if info.state() == DevState::Live {
            quiesce_and_wait(control, self.id, self.wait)?;
        }
        Ok(())
    }

    fn check(&self, params: &Params) -> Result<(), TargetMismatch> {
        let target = self.builder.target();
        check_metadata(params, target)?;
        check_target(params, target.size_bytes(), target.capabilities())
    }
}

/// Whether a target keeps the metadata that a device's parameters promise. What nobody will send it does not matter;
/// nor does anything to a target that does not look at bytes.
pub(super) fn check_metadata(params: &Params, target: &dyn Target) -> Result<(), TargetMismatch> {
    if !params.types.contains(ParamTypes::INTEGRITY) {
        return Ok(());
    }
    let fits = match target.integrity() {
        Some(integrity) => crate::params::is_group_of(params, integrity.options()),
        None => target.capabilities().ignores_data,
    };
    if fits { Ok(()) } else { Err(TargetMismatch::Metadata) }
}

/// Whether a target keeps what a device's parameters have promised.
fn check_target(
    params: &Params,
    size_bytes: u64,
    capabilities: Capabilities,
) -> Result<(), TargetMismatch> {
    let basic = &params.basic;
    let block_bytes = 1_u32.checked_shl(basic.logical_bs_shift.into()).unwrap_or(u32::MAX);
    let device_bytes = basic.dev_sectors.saturating_mul(SECTOR_BYTES);
    // A remainder that does not fill a block is not served.
    let target_bytes = size_bytes - size_bytes % u64::from(block_bytes);
    if device_bytes != target_bytes {
        return Err(TargetMismatch::Size { device_bytes, target_bytes });
    }
    let least = capabilities.logical_block_bytes_min;
    if block_bytes < least {
        return Err(TargetMismatch::Block { device_bytes: block_bytes, target_bytes: least });
    }
    let has = |attr| basic.attrs.contains(attr);
    if capabilities.flush && !has(Attrs::VOLATILE_CACHE) && !has(Attrs::READ_ONLY) {
        return Err(TargetMismatch::Cache);
    }
    let discard = params.types.contains(ParamTypes::DISCARD).then_some(params.discard);
    let discard = discard.unwrap_or_default();
    let promises = [
        (!has(Attrs::READ_ONLY) && capabilities.read_only, "write access"),
        (has(Attrs::VOLATILE_CACHE) && !capabilities.flush, "flush"),
        (has(Attrs::FUA) && !capabilities.fua, "FUA"),
        (discard.max_discard_sectors > 0 && !capabilities.discard, "discard"),
        (discard.max_write_zeroes_sectors > 0 && !capabilities.write_zeroes, "write zeroes"),
    ];
    match promises.into_iter().find(|(broken, _)| *broken) {
        Some((_, what)) => Err(TargetMismatch::Lacks { what }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::ParamsBuilder;

    const FULL: Capabilities = Capabilities {
        flush: true,
        fua: true,
        discard: true,
        write_zeroes: true,
        read_only: false,
        rotational: false,
        extents: false,
        ignores_data: false,
        logical_block_bytes_min: 512,
        discard_granularity_bytes: 0,
    };

    fn check(device: Capabilities, target: Capabilities) -> Result<(), TargetMismatch> {
        let params = ParamsBuilder::new(1 << 20, device).build().unwrap();
        check_target(&params, 1 << 20, target)
    }

    #[test]
    fn the_target_a_device_had_fits_it() {
        check(FULL, FULL).unwrap();
        check(Capabilities::default(), Capabilities::default()).unwrap();
        // What it can do beyond that, nobody will ask for.
        let more = Capabilities { discard: true, write_zeroes: true, ..Capabilities::default() };
        check(Capabilities::default(), more).unwrap();
    }

    #[test]
    fn a_size_is_compared_as_it_is_served() {
        let params = ParamsBuilder::new(1 << 20, FULL).build().unwrap();
        check_target(&params, (1 << 20) + 511, FULL).unwrap();
        let error = check_target(&params, (1 << 20) + 512, FULL).unwrap_err().to_string();
        assert!(error.contains("1048576") && error.contains("1049088"), "{error}");
    }

    #[test]
    fn metadata_is_for_the_target_that_keeps_it() {
        use crate::params::{Checksum, IntegrityOptions};
        use crate::target::{MetadataTarget, NullTarget, RamTarget};

        let ram = || RamTarget::new(1 << 20).unwrap();
        let options = IntegrityOptions {
            metadata_bytes: 8,
            checksum: Checksum::Crc16T10Dif,
            ..IntegrityOptions::default()
        };
        let target = MetadataTarget::new(ram(), ram(), options).unwrap();
        let plain = ParamsBuilder::new(1 << 20, target.capabilities());
        let device = plain.clone().integrity(options).build().unwrap();
        check_metadata(&device, &target).unwrap();
        check_metadata(&plain.build().unwrap(), &target).unwrap();
        check_metadata(&device, &NullTarget::untouched(1 << 20)).unwrap();
        assert_eq!(check_metadata(&device, &ram()), Err(TargetMismatch::Metadata));
        let other = IntegrityOptions { checksum: Checksum::Ip, ..options };
        let other = MetadataTarget::new(ram(), ram(), other).unwrap();
        assert_eq!(check_metadata(&device, &other), Err(TargetMismatch::Metadata));
    }

    #[test]
    fn a_promise_that_would_be_broken_is_named() {
        let lacks = |target| match check(FULL, target).unwrap_err() {
            TargetMismatch::Lacks { what } => what,
            other => panic!("{other}"),
        };
        assert_eq!(lacks(Capabilities { flush: false, ..FULL }), "flush");
        assert_eq!(lacks(Capabilities { fua: false, ..FULL }), "FUA");
        assert_eq!(lacks(Capabilities { discard: false, ..FULL }), "discard");
        assert_eq!(lacks(Capabilities { write_zeroes: false, ..FULL }), "write zeroes");
        assert_eq!(lacks(Capabilities { read_only: true, ..FULL }), "write access");
        let cached = Capabilities { flush: true, ..Capabilities::default() };
        assert_eq!(check(Capabilities::default(), cached).unwrap_err(), TargetMismatch::Cache);
        let coarse = Capabilities { logical_block_bytes_min: 4096, ..FULL };
        assert!(matches!(check(FULL, coarse).unwrap_err(), TargetMismatch::Block { .. }));
    }
}
