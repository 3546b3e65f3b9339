//! What machine to boot, as a value, and the QEMU command line it stands for. The translation is a pure
//! function: what a run used can be printed, compared and tested without starting anything.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::accel::Accelerator;
use super::program::QemuProgram;
use crate::arch::Arch;

/// Longest command line that kernels of all architectures keep; the rest is cut without a word.
pub const CMDLINE_LIMIT_BYTES: usize = 2047;

/// What the guest's time is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's time.
    Wall,
    /// One nanosecond per guest instruction, emulated only: slow, and repeatable under any load of the
    /// host. Several CPUs take turns on one thread, and the clock counts the instructions of all.
    Instructions,
}

/// One virtual machine.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// What its CPUs are, and with it everything around them.
    pub arch: Arch,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial root file system.
    pub initramfs: PathBuf,
    /// Kernel command line. `console=` with the architecture's is what makes the console file useful and `panic=-1` what
    /// turns a panic into an exit; both are the caller's to give.
    pub cmdline: String,
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// What executes the guest.
    pub accelerator: Accelerator,
    /// What its time is made of.
    pub clock: Clock,
    /// Folder for what the machine leaves behind: [`CONSOLE_FILE`] and [`STDERR_FILE`]. Made if missing;
    /// of one machine only, its files are overwritten.
    pub run_dir: PathBuf,
    /// Bytes of console at which the machine is ended.
    pub console_limit_bytes: u64,
    /// Name of the virtio-serial port: `/sys/class/virtio-ports/*/name` in the guest.
    pub port_name: String,
    /// Whether the guest gets a virtio random-number device.
    pub entropy_device: bool,
    /// Appended to QEMU's arguments as they are.
    pub extra_args: Vec<OsString>,
}

/// Name of the console's file in [`MachineSpec::run_dir`].
pub const CONSOLE_FILE: &str = "console.log";

/// Name of the file of QEMU's own messages in [`MachineSpec::run_dir`].
pub const STDERR_FILE: &str = "qemu.stderr";

/// Where the machine's ends are.
#[derive(Clone, Copy, Debug)]
pub enum Wiring<'a> {
    /// Console to a file, port and monitor on Unix sockets, CPUs stopped until the monitor says `cont`: the
    /// port drops what a guest writes while nobody is connected, so its reader has to be there first.
    Sockets {
        /// Socket of the virtio-serial port.
        port: &'a Path,
        /// Socket of the QMP monitor.
        monitor: &'a Path,
    },
    /// Console and monitor on the terminal (Ctrl-A C switches), no port.
    Terminal,
}

/// Why a [`MachineSpec`] is not a machine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Too many bytes for the kernel.
    #[error(
        "the kernel command line has {len_bytes} bytes, the kernel keeps {CMDLINE_LIMIT_BYTES}: shorten it"
    )]
    CmdlineTooLong {
        /// Its length.
        len_bytes: usize,
    },
    /// Instruction counting is a feature of emulation.
    #[error("the instruction clock works with the tcg accelerator only, not {accelerator}")]
    ClockNeedsEmulation {
        /// What was asked for.
        accelerator: Accelerator,
    },
    /// Nothing to run on.
    #[error("a machine needs at least 1 CPU and 64 MiB, not {cpus} and {memory_mib} MiB")]
    TooSmall {
        /// What was asked for.
        cpus: u32,
        /// What was asked for.
        memory_mib: u32,
    },
    /// A kernel or initramfs that is not there.
    #[error("{what} {path} is not a file")]
    Missing {
        /// `kernel` or `initramfs`.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
}

impl MachineSpec {
    /// [`CONSOLE_FILE`] of this machine.
    #[must_use]
    pub fn console_path(&self) -> PathBuf {
        self.run_dir.join(CONSOLE_FILE)
    }

    /// [`STDERR_FILE`] of this machine.
    #[must_use]
    pub fn stderr_path(&self) -> PathBuf {
        self.run_dir.join(STDERR_FILE)
    }

    /// Everything on QEMU's command line after the program, in order.
    ///
    /// # Errors
    /// Where the values contradict each other; files are not looked at.
    pub fn arguments(
        &self,
        program: &QemuProgram,
        wiring: Wiring<'_>,
    ) -> Result<Vec<OsString>, SpecError> {
        self.check_values()?;
        let mut args = program.prefix_args.clone();
        args.extend(program.firmware_args.iter().cloned());
        push(&mut args, &["-machine", self.arch.facts().machine]);
        push(&mut args, &["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        self.push_cpu(&mut args);
        push(&mut args, &["-m", &format!("{}M", self.memory_mib), "-kernel"]);
        args.push(self.kernel.clone().into());
        args.push("-initrd".into());
        args.push(self.initramfs.clone().into());
        push(&mut args, &["-append", &self.cmdline]);
        self.push_wiring(&mut args, wiring);
        if self.entropy_device {
            push(&mut args, &["-object", "rng-builtin,id=entropy"]);
            push(&mut args, &["-device", "virtio-rng-pci,rng=entropy"]);
        }
        args.extend(self.extra_args.iter().cloned());
        Ok(args)
    }

    fn push_cpu(&self, args: &mut Vec<OsString>) {
        let smp = self.cpus.to_string();
        let emulated = self.arch.facts().emulated_cpu;
        let (cpu, accel) = match (self.accelerator, self.clock) {
            (Accelerator::Kvm, _) => ("host", "kvm"),
            (Accelerator::Tcg, Clock::Wall) => (emulated, "tcg,thread=multi"),
            (Accelerator::Tcg, Clock::Instructions) => (emulated, "tcg,thread=single"),
        };
        push(args, &["-cpu", cpu, "-accel", accel, "-smp", &smp]);
        if self.clock == Clock::Instructions {
            push(args, &["-icount", "shift=0,sleep=off"]);
        }
    }

    fn push_wiring(&self, args: &mut Vec<OsString>, wiring: Wiring<'_>) {
        let Wiring::Sockets { port, monitor } = wiring else {
            push(args, &["-serial", "mon:stdio"]);
            return;
        };
        push(args, &["-S", "-chardev"]);
        args.push(with_path("file,id=console,path=", &self.console_path(), ""));
        push(args, &["-serial", "chardev:console", "-chardev"]);
        args.push(with_path("socket,id=port,path=", port, ",server=on,wait=off"));
        push(args, &["-device", "virtio-serial-pci,id=ports", "-device"]);
        let name = OsStr::new(&self.port_name);
        args.push(with_path("virtserialport,bus=ports.0,chardev=port,name=", Path::new(name), ""));
        args.push("-chardev".into());
        args.push(with_path("socket,id=monitor,path=", monitor, ",server=on,wait=off"));
        push(args, &["-mon", "chardev=monitor,mode=control"]);
    }

    fn check_values(&self) -> Result<(), SpecError> {
        let (cpus, memory_mib, accelerator) = (self.cpus, self.memory_mib, self.accelerator);
        if cpus == 0 || memory_mib < 64 {
            return Err(SpecError::TooSmall { cpus, memory_mib });
        }
        if self.cmdline.len() > CMDLINE_LIMIT_BYTES {
            return Err(SpecError::CmdlineTooLong { len_bytes: self.cmdline.len() });
        }
        if self.clock == Clock::Instructions && accelerator != Accelerator::Tcg {
            return Err(SpecError::ClockNeedsEmulation { accelerator });
        }
        Ok(())
    }

    /// Checks that the files exist: QEMU's own message for a missing one does not say which option it is.
    pub(super) fn check_files(&self) -> Result<(), SpecError> {
        for (what, path) in [("kernel", &self.kernel), ("initramfs", &self.initramfs)] {
            if !path.is_file() {
                return Err(SpecError::Missing { what, path: path.clone() });
            }
        }
        Ok(())
    }
}

fn push(args: &mut Vec<OsString>, more: &[&str]) {
    args.extend(more.iter().map(OsString::from));
}

/// An option with a path in it. QEMU splits options at commas, and a doubled comma stands for one.
pub(super) fn with_path(before: &str, path: &Path, after: &str) -> OsString {
    let mut option = before.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        option.extend(std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    }
    option.extend(after.as_bytes());
    OsString::from_vec(option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::program::MIN_QEMU;
    use rstest::rstest;

    fn spec() -> MachineSpec {
        MachineSpec {
            arch: Arch::X86_64,
            kernel: "/k".into(),
            initramfs: "/i".into(),
            cmdline: "console=ttyS0 panic=-1".into(),
            cpus: 2,
            memory_mib: 1024,
            accelerator: Accelerator::Tcg,
            clock: Clock::Wall,
            run_dir: "/runs/a,b".into(),
            console_limit_bytes: 1 << 20,
            port_name: "org.example.port".into(),
            entropy_device: false,
            extra_args: vec!["-extra".into()],
        }
    }

    fn program() -> QemuProgram {
        QemuProgram {
            program: "/ld.so".into(),
            prefix_args: vec!["--library-path".into(), "/lib".into(), "/qemu".into()],
            firmware_args: vec!["-L".into(), "/fw".into()],
            version: MIN_QEMU,
            origin: "test".into(),
            sha256: String::new(),
        }
    }

    fn line(spec: &MachineSpec) -> String {
        let sockets = Wiring::Sockets { port: Path::new("/t/p"), monitor: Path::new("/t/m") };
        let args = spec.arguments(&program(), sockets).unwrap();
        args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_whole_command_line() {
        assert_eq!(
            line(&spec()),
            "--library-path /lib /qemu -L /fw -machine q35,sata=off,smbus=off,vmport=off \
             -nodefaults -no-user-config -display none -no-reboot \
             -cpu qemu64,+x2apic,+rdrand -accel tcg,thread=multi -smp 2 -m 1024M -kernel /k -initrd /i \
             -append console=ttyS0 panic=-1 -S \
             -chardev file,id=console,path=/runs/a,,b/console.log -serial chardev:console \
             -chardev socket,id=port,path=/t/p,server=on,wait=off \
             -device virtio-serial-pci,id=ports \
             -device virtserialport,bus=ports.0,chardev=port,name=org.example.port \
             -chardev socket,id=monitor,path=/t/m,server=on,wait=off \
             -mon chardev=monitor,mode=control -extra"
        );
    }

    #[test]
    fn hardware_virtualisation_gives_the_host_cpu() {
        let line = line(&MachineSpec { accelerator: Accelerator::Kvm, ..spec() });
        assert!(line.contains("-cpu host -accel kvm -smp 2"), "{line}");
        assert!(!line.contains("tcg"), "{line}");
    }

    #[test]
    fn another_architecture_is_another_machine_and_cpu() {
        let line = line(&MachineSpec { arch: Arch::Aarch64, ..spec() });
        assert!(line.contains("-machine virt,gic-version=3 -nodefaults"), "{line}");
        assert!(line.contains("-cpu neoverse-n1 -accel tcg,thread=multi -smp 2"), "{line}");
        assert!(!line.contains("q35") && !line.contains("qemu64"), "{line}");
    }

    #[test]
    fn the_instruction_clock_is_single_threaded() {
        let line = line(&MachineSpec { clock: Clock::Instructions, cpus: 1, ..spec() });
        assert!(
            line.contains("-accel tcg,thread=single -smp 1 -icount shift=0,sleep=off"),
            "{line}"
        );
    }

    #[test]
    fn a_terminal_has_no_sockets_and_runs_at_once() {
        let args = spec().arguments(&program(), Wiring::Terminal).unwrap();
        assert!(args.iter().any(|arg| arg == "mon:stdio"));
        assert!(!args.iter().any(|arg| arg == "-S" || arg == "-chardev"));
    }

    #[rstest]
    #[case(MachineSpec { cpus: 0, ..spec() }, "a machine needs at least 1 CPU")]
    #[case(MachineSpec { memory_mib: 32, ..spec() }, "a machine needs at least 1 CPU")]
    #[case(MachineSpec { cmdline: "x".repeat(2048), ..spec() }, "the kernel command line has 2048 bytes")]
    #[case(
        MachineSpec { clock: Clock::Instructions, cpus: 1, accelerator: Accelerator::Kvm, ..spec() },
        "the instruction clock works with"
    )]
    fn contradictions_are_refused(#[case] spec: MachineSpec, #[case] says: &str) {
        let error = spec.arguments(&program(), Wiring::Terminal).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}
