//! The machine's process handling, with this test program in QEMU's place: it reads the sockets' paths from
//! QEMU's command line and speaks just enough QMP. So every promise about processes that end, hang, flood,
//! or lose their owner is kept without a QEMU or a kernel on the machine.
//!
//! The tests named `role_` are not tests: they are what this program does when it is started as QEMU or as
//! an owner, and do nothing otherwise.

// In a test program `unwrap` says "this must hold" in the helpers as well.
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vmimage::arch::Arch;
use vmimage::machine::{
    Accelerator, Clock, MIN_QEMU, MachineSpec, QemuProgram, Vm, VmEnd, VmError, dies_with_owner,
    kill_all, live_pids,
};

const PATIENCE: Duration = Duration::from_secs(30);
const QEMU_ARGS: &str = "FAKE_QEMU_ARGS";
const OWNER_DIR: &str = "FAKE_OWNER_DIR";
const OWNER_THEN: &str = "FAKE_OWNER_THEN";

/// A QEMU that is this program, told by the kernel command line how to behave.
fn fake_qemu() -> QemuProgram {
    let script = r#"FAKE_QEMU_ARGS=$(printf '%s\n' "$@") exec "$0" --exact role_qemu --nocapture"#;
    let this = env::current_exe().unwrap();
    QemuProgram {
        program: "sh".into(),
        prefix_args: vec!["-c".into(), script.into(), this.into()],
        firmware_args: vec![],
        version: MIN_QEMU,
        origin: "test".into(),
        sha256: "0".repeat(64),
    }
}

fn spec(dir: &Path, behaviour: &str) -> MachineSpec {
    for file in ["kernel", "initramfs"] {
        fs::write(dir.join(file), "").unwrap();
    }
    MachineSpec {
        arch: Arch::X86_64,
        kernel: dir.join("kernel"),
        initramfs: dir.join("initramfs"),
        cmdline: behaviour.into(),
        cpus: 1,
        memory_mib: 64,
        accelerator: Accelerator::Tcg,
        clock: Clock::Wall,
        run_dir: dir.join("a run, with a comma"),
        console_limit_bytes: 1 << 20,
        port_name: "org.example".into(),
        entropy_device: false,
        extra_args: vec![],
    }
}

fn start(dir: &Path, behaviour: &str) -> Result<Vm, VmError> {
    Vm::start(&fake_qemu(), &spec(dir, behaviour))
}

/// Whether the process exists and is not a zombie.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")))
}

fn eventually(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What QEMU does here; `behaviour` is the kernel command line.
#[test]
fn role_qemu() {
    let Ok(args) = env::var(QEMU_ARGS) else { return };
    let args: Vec<&str> = args.lines().collect();
    let after = |name: &str| {
        let at = args.iter().position(|arg| *arg == name).unwrap();
        args[at + 1]
    };
    let file_of = |id: &str| {
        let marker = format!("id={id},path=");
        let option = args.iter().find_map(|arg| arg.split_once(&marker)).unwrap().1;
        let path = option.strip_suffix(",server=on,wait=off").unwrap_or(option);
        PathBuf::from(path.replace(",,", ","))
    };
    let behaviour = after("-append");
    match behaviour {
        "refuse" => {
            eprintln!("qemu: a hint\nqemu: -cpu nonsense: unable to find CPU model\n");
            std::process::exit(1);
        }
        "no-monitor-answer" => {
            let _monitor = UnixListener::bind(file_of("monitor")).unwrap();
            let _port = UnixListener::bind(file_of("port")).unwrap();
            thread::sleep(Duration::from_millis(300));
            eprintln!("qemu: out of luck");
            std::process::exit(7);
        }
        _ => {}
    }
    let monitor = UnixListener::bind(file_of("monitor")).unwrap();
    let port = UnixListener::bind(file_of("port")).unwrap();
    let (monitor, _) = monitor.accept().unwrap();
    let (port, _) = port.accept().unwrap();
    let console = file_of("console");
    let behaviour = behaviour.to_owned();
    serve_monitor(monitor, &behaviour, |behaviour| guest(behaviour, port, &console));
}

fn serve_monitor(monitor: UnixStream, behaviour: &str, guest: impl FnOnce(&str) + Send) {
    let mut out = monitor.try_clone().unwrap();
    let greeting = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}"#;
    writeln!(out, "{greeting}").unwrap();
    let mut guest = Some(guest);
    thread::scope(|scope| {
        for line in BufReader::new(monitor).lines().map_while(Result::ok) {
            let result = match &line {
                l if l.contains("query-status") => r#"{"running": true, "status": "running"}"#,
                l if l.contains("human-monitor-command") => r#""RIP=ffffffff81000000""#,
                l if l.contains("quit") && behaviour == "ignore-quit" => continue,
                _ => "{}",
            };
            writeln!(out, "{{\"return\": {result}}}").unwrap();
            if line.contains("\"cont\"")
                && let Some(guest) = guest.take()
            {
                scope.spawn(|| guest(behaviour));
            }
            if line.contains("quit") {
                std::process::exit(0);
            }
        }
        thread::sleep(PATIENCE);
    });
}

fn guest(behaviour: &str, mut port: UnixStream, console: &Path) {
    fs::write(console, "guest boots\n").unwrap();
    match behaviour {
        "panic" => {
            fs::write(console, "guest boots\nKernel panic - not syncing: test\n").unwrap();
            std::process::exit(0);
        }
        "console-flood" => {
            let mut console = fs::OpenOptions::new().append(true).open(console).unwrap();
            loop {
                console.write_all(&[b'x'; 4096]).unwrap();
            }
        }
        "stderr-flood" => loop {
            eprintln!("qemu: the same message again and again");
        },
        "echo" => {
            let mut byte = [0];
            while port.read(&mut byte).unwrap() == 1 {
                port.write_all(&byte).unwrap();
            }
        }
        _ => thread::sleep(PATIENCE),
    }
}

#[test]
fn port_monitor_and_console_are_connected() {
    let dir = tempfile::tempdir().unwrap();
    let vm = start(dir.path(), "echo").unwrap();
    let (mut reader, mut writer) = vm.port().unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    writer.write_all(b"plan\n").unwrap();
    let mut answer = [0; 5];
    reader.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"plan\n");
    assert_eq!(vm.status().unwrap(), "running");
    assert!(vm.registers().unwrap().starts_with("RIP="));
    assert_eq!(vm.console_tail(6).unwrap(), "boots\n");
    assert_eq!(vm.try_exit(), None);
    assert_eq!(vm.quit(), VmEnd::Killed);
    assert_eq!(reader.read(&mut answer).unwrap(), 0, "the port ends with the machine");
}

#[test]
fn an_end_without_success_is_reported_with_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let vm = start(dir.path(), "panic").unwrap();
    let end = vm.wait_exit(PATIENCE).unwrap();
    assert_eq!(end.to_string(), "exit code 0");
    assert!(vm.console_tail(1 << 16).unwrap().contains("Kernel panic"));
    assert_eq!(vm.quit(), end, "an end does not change afterwards");
}

#[test]
fn qemus_last_line_is_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = start(dir.path(), "refuse").unwrap_err().to_string();
    assert_eq!(
        error,
        "QEMU did not start (exit code 1): qemu: -cpu nonsense: unable to find CPU model"
    );
    let error = start(dir.path(), "no-monitor-answer").unwrap_err().to_string();
    assert_eq!(error, "QEMU did not start (exit code 7): qemu: out of luck");
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = QemuProgram { program: "/no/such/qemu".into(), ..fake_qemu() };
    let error = Vm::start(&program, &spec(dir.path(), "")).unwrap_err().to_string();
    assert_eq!(error, "QEMU /no/such/qemu was not found: name another with --qemu");
    let missing = MachineSpec { kernel: "/no/such/kernel".into(), ..spec(dir.path(), "") };
    let error = Vm::start(&fake_qemu(), &missing).unwrap_err().to_string();
    assert_eq!(error, "kernel /no/such/kernel is not a file");
}

#[test]
fn a_flood_ends_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let vm = start(dir.path(), "console-flood").unwrap();
    let limit_bytes = 1 << 20;
    assert_eq!(vm.wait_exit(PATIENCE), Some(VmEnd::ConsoleFlood { limit_bytes }));
    assert!(vm.console_tail(100).unwrap().ends_with('x'));
    let vm = start(dir.path(), "stderr-flood").unwrap();
    assert!(matches!(vm.wait_exit(PATIENCE), Some(VmEnd::StderrFlood { .. })));
}

#[test]
fn a_machine_outlives_the_thread_that_started_it_and_not_its_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    // The kernel sends the parent-death signal when the forking thread ends.
    let vm = thread::spawn(move || start(&path, "").unwrap()).join().unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(vm.try_exit(), None);
    let pid = vm.pid();
    assert!(runs(pid) && live_pids().contains(&pid));
    drop(vm);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "killed and reaped");
    assert!(!live_pids().contains(&pid));
}

#[test]
fn a_wrapper_that_forks_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = fake_qemu();
    let script =
        r#"FAKE_QEMU_ARGS=$(printf '%s\n' "$@") "$0" --exact role_qemu --nocapture & wait"#;
    program.prefix_args[1] = script.into();
    let vm = Vm::start(&program, &spec(dir.path(), "echo")).unwrap();
    let (mut reader, _writer) = vm.port().unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(vm);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "whoever held the other end is gone");
}

#[test]
fn a_qemu_that_ignores_quit_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let vm = start(dir.path(), "ignore-quit").unwrap();
    let (pid, start) = (vm.pid(), Instant::now());
    assert_eq!(vm.quit(), VmEnd::Killed);
    assert!(!runs(pid));
    assert!(start.elapsed() < Duration::from_secs(8), "took {:?}", start.elapsed());
}

/// What an owner does that is to be killed, or interrupted.
#[test]
fn role_owner() {
    let Ok(dir) = env::var(OWNER_DIR) else { return };
    let dir = PathBuf::from(dir);
    let vm = start(&dir, "").unwrap();
    fs::write(dir.join("pid.new"), vm.pid().to_string()).unwrap();
    fs::rename(dir.join("pid.new"), dir.join("pid")).unwrap();
    if env::var(OWNER_THEN).as_deref() == Ok("kill-all") {
        assert_eq!(kill_all(), 1);
        assert_eq!(vm.wait_exit(Duration::ZERO), Some(VmEnd::Interrupted));
        assert!(matches!(start(&dir, ""), Err(VmError::Interrupted)));
        // As a signal handler would: no destructor runs.
        std::process::exit(42);
    }
    thread::sleep(PATIENCE);
}

/// Starts an owner with a temporary folder of its own, and waits for its machine.
fn owner(dir: &Path, then: &str) -> (Child, u32) {
    fs::create_dir(dir.join("tmp")).unwrap();
    let owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", "role_owner", "--nocapture"])
        .env(OWNER_DIR, dir)
        .env(OWNER_THEN, then)
        .env("TMPDIR", dir.join("tmp"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually(PATIENCE, "the owner's machine runs", || dir.join("pid").exists());
    (owner, fs::read_to_string(dir.join("pid")).unwrap().parse().unwrap())
}

fn leftovers(dir: &Path) -> usize {
    fs::read_dir(dir.join("tmp")).unwrap().count()
}

#[test]
fn a_killed_owner_takes_its_machine_along() {
    if !dies_with_owner() {
        println!("skipped: no setpriv that knows --pdeathsig on this machine");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut owner, pid) = owner(dir.path(), "sleep");
    assert!(runs(pid));
    owner.kill().unwrap();
    eventually(Duration::from_secs(1), "the machine is gone", || !runs(pid));
    owner.wait().unwrap();
    assert_eq!(leftovers(dir.path()), 0, "no sockets stay behind");
}

#[test]
fn kill_all_ends_everything_and_lets_nothing_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut owner, pid) = owner(dir.path(), "kill-all");
    assert_eq!(owner.wait().unwrap().code(), Some(42));
    assert!(!runs(pid));
    assert_eq!(leftovers(dir.path()), 0);
}
