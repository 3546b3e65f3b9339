//! The QEMU that boots an image, and everything that keeps it from outliving or fooling its owner.
//!
//! [`QemuProgram`] says which QEMU, [`choose_accelerator`] whether KVM can be believed, [`MachineSpec`] what
//! to boot, and [`Vm`] is the machine while it runs. A command that starts machines installs a signal
//! handler that calls [`kill_all`].

mod accel;
mod boot_sector;
mod death;
mod end;
mod interactive;
mod monitor;
mod program;
mod registry;
mod spec;
mod supervise;
mod vm;

pub use accel::{Accelerator, Choice, choose as choose_accelerator};
pub use death::dies_with_owner;
pub use end::VmEnd;
pub use interactive::interactive;
pub use monitor::MonitorError;
pub use program::{MIN_QEMU, ProgramError, QemuProgram, QemuVersion};
pub use registry::{kill_all, live_pids};
pub use spec::{
    CMDLINE_LIMIT_BYTES, CONSOLE_FILE, Clock, MachineSpec, STDERR_FILE, SpecError, Wiring,
};
pub use vm::{Vm, VmError};
