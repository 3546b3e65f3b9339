//! The probe against a shell script in QEMU's place, and the sector itself against a real QEMU where
//! `VMIMAGE_TEST_QEMU` names one.

use super::*;
use crate::machine::program::MIN_QEMU;
use std::time::Instant;

fn script(body: &str) -> QemuProgram {
    QemuProgram {
        program: "sh".into(),
        prefix_args: vec!["-c".into(), body.into(), "qemu".into()],
        firmware_args: vec![],
        version: MIN_QEMU,
        origin: "test".into(),
        sha256: "0".repeat(64),
    }
}

/// Probes with a device that opens.
fn probe(program: &QemuProgram, memory: &Path, limit_ms: u64) -> Choice {
    let limit = Duration::from_millis(limit_ms);
    let device = Path::new("/dev/null");
    Probe { program, device, host_release: "6.1-test", limit }.choose(memory)
}

#[test]
fn only_the_positive_signal_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let good = probe(&script("exit 85"), &file("good"), 20_000);
    assert_eq!(
        (good.accelerator, good.reason.as_str()),
        (Accelerator::Kvm, "KVM ran a boot sector")
    );
    let reset = probe(&script("exit 0"), &file("reset"), 20_000);
    assert_eq!(reset.accelerator, Accelerator::Tcg);
    assert_eq!(reset.reason, "KVM did not run a boot sector: exit code 0");
    let refused = probe(&script("echo one >&2; echo no MSR >&2; exit 1"), &file("refused"), 20_000);
    assert_eq!(refused.reason, "KVM did not run a boot sector: no MSR");
}

#[test]
fn an_accelerator_that_spins_is_given_up_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let choice = probe(&script("exec sleep 60"), &dir.path().join("memory"), 300);
    assert_eq!(choice.accelerator, Accelerator::Tcg);
    assert_eq!(choice.reason, "KVM did not run a boot sector within 0.3 s");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_answer_is_remembered_for_this_qemu_and_this_host_only() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("new/folder/memory.json");
    assert!(!probe(&script("exit 85"), &memory, 20_000).remembered);
    let again = probe(&script("exit 1"), &memory, 20_000);
    assert_eq!((again.accelerator, again.remembered), (Accelerator::Kvm, true));
    assert!(again.reason.contains("remembered in"), "{}", again.reason);
    let other = QemuProgram { sha256: "1".repeat(64), ..script("exit 1") };
    assert_eq!(probe(&other, &memory, 20_000).accelerator, Accelerator::Tcg);
    // The first answer is still there beside the second.
    assert!(probe(&script("exit 1"), &memory, 20_000).remembered);
    let elsewhere = Probe {
        program: &script("exit 1"),
        device: Path::new("/dev/null"),
        host_release: "6.2-test",
        limit: Duration::from_secs(20),
    };
    assert!(!elsewhere.choose(&memory).remembered);
}

#[test]
fn a_damaged_memory_costs_one_probe() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory.json");
    fs::write(&memory, "[{\"accelerator\": \"kv").unwrap();
    assert!(!probe(&script("exit 85"), &memory, 20_000).remembered);
    assert!(probe(&script("exit 85"), &memory, 20_000).remembered);
}

// The CI run of 67f9d63: a KVM that emulates had run the sector of that time in 1.8 s of its 2, and then
// no kernel in minutes.
#[test]
fn what_a_shorter_sector_showed_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory.json");
    assert!(!probe(&script("exit 85"), &memory, 20_000).remembered);
    let steps = boot_sector::STEPS.to_string();
    let older = fs::read_to_string(&memory).unwrap().replace(&steps, "100000");
    fs::write(&memory, older).unwrap();
    let choice = probe(&script("exit 0"), &memory, 20_000);
    assert_eq!((choice.accelerator, choice.remembered), (Accelerator::Tcg, false));
}

#[test]
fn without_the_device_nothing_is_booted_or_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory.json");
    let program = script("exit 85");
    let device = Path::new("/dev/no-such-device");
    let limit = Duration::from_secs(20);
    let choice = Probe { program: &program, device, host_release: "6.1", limit }.choose(&memory);
    assert_eq!(choice.accelerator, Accelerator::Tcg);
    assert!(choice.reason.starts_with("/dev/no-such-device cannot be opened"), "{}", choice.reason);
    assert!(!memory.exists());
}

#[test]
fn a_program_that_is_missing_says_nothing_about_kvm() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory.json");
    let missing = QemuProgram { program: "/no/such/qemu".into(), ..script("") };
    let choice = probe(&missing, &memory, 20_000);
    assert_eq!(choice.accelerator, Accelerator::Tcg);
    assert!(choice.reason.starts_with("KVM could not be probed"), "{}", choice.reason);
    assert!(!memory.exists());
}

#[test]
fn a_real_qemu_runs_the_sector_by_emulation() {
    let Some(qemu) = std::env::var_os("VMIMAGE_TEST_QEMU") else {
        println!("skipped: VMIMAGE_TEST_QEMU does not name a QEMU");
        return;
    };
    let path = PathBuf::from(qemu);
    let program =
        QemuProgram::inspect(path.clone(), vec![], vec![], &path, "VMIMAGE_TEST_QEMU".into())
            .unwrap();
    let dir = tempfile::tempdir().unwrap();
    for cpu in ["qemu64", "max"] {
        let run =
            boot_sector_in(dir.path(), &program, "tcg", cpu, Duration::from_secs(30)).unwrap();
        assert_eq!(run.end, SectorEnd::Signalled, "-cpu {cpu}: {}", run.detail);
    }
}
