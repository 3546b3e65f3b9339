//! The table of what gives a broken kernel away, most specific first.
//!
//! The kernel says `WARNING:` both for a `WARN_ON` and for a lock-validator report, and `BUG:` for five
//! different things, so the order of the questions is part of the table.

use crate::event::HealthKind;

/// What the lock validator says, wherever its line begins with one of [`LOCKDEP_HEADS`].
const LOCKDEP: &[&str] = &[
    "possible circular locking dependency",
    "possible recursive locking",
    "possible irq lock inversion",
    "possible deadlock scenario",
    "inconsistent lock state",
    "-unsafe lock order detected",
    "suspicious RCU usage",
    "illegal RCU usage",
    "bad unlock balance",
    "bad contention",
    "held lock freed",
    "lock held when returning to user space",
    "locks held at task exit",
    "still has locks held",
    "Nested lock was not taken",
    "Invalid wait context",
    "trying to register non-static key",
    "MAX_LOCKDEP",
    "MAX_LOCK_DEPTH",
];
const LOCKDEP_HEADS: &[&str] = &["WARNING: ", "INFO: ", "BUG: ", "[ BUG: ", "[ INFO: "];

/// What a CPU or a grace period that stands still looks like.
const STALL: &[&str] = &[
    "detected stalls on CPUs/tasks",
    "detected stalls on tasks",
    "detected expedited stalls",
    "self-detected stall on CPU",
    "kthread starved for",
    "soft lockup - CPU",
    "hard LOCKUP on cpu",
    "workqueue lockup - pool",
];
const STALL_HEADS: &[&str] = &["rcu: ", "INFO: ", "BUG: ", "watchdog: ", "NMI watchdog: "];

const SANITIZERS: &[&str] = &["BUG: KASAN: ", "BUG: KCSAN: ", "BUG: KFENCE: ", "BUG: KMSAN: "];

const OOPS_HEADS: &[&str] = &[
    "BUG: ",
    "kernel BUG at ",
    "Oops: ",
    "Oops[",
    "Oops - ",
    "Internal error: ",
    "Unable to handle kernel ",
    "general protection fault",
    "PANIC: double fault",
    "double fault: ",
];

/// What sort of finding the kernel message `message` begins; `None` for an ordinary one.
pub(super) fn kind_of(message: &str) -> Option<HealthKind> {
    let begins = |heads: &[&str]| heads.iter().any(|head| message.starts_with(head));
    let holds = |parts: &[&str]| parts.iter().any(|part| message.contains(part));

    if message.starts_with("Kernel panic - ") {
        return Some(HealthKind::Panic);
    }
    if begins(SANITIZERS) {
        return Some(HealthKind::Kasan);
    }
    if begins(LOCKDEP_HEADS) && holds(LOCKDEP) {
        return Some(HealthKind::Lockdep);
    }
    if begins(STALL_HEADS) && holds(STALL) {
        return Some(HealthKind::Stall);
    }
    if is_hung_task(message) {
        return Some(HealthKind::HungTask);
    }
    if begins(OOPS_HEADS) || is_slab_report(message) || has_oops_number(message) {
        return Some(HealthKind::Oops);
    }
    if message.starts_with("UBSAN: ") {
        return Some(HealthKind::Ubsan);
    }
    if message.starts_with("WARNING: ") {
        return Some(HealthKind::Warning);
    }
    is_user_fault(message).then_some(HealthKind::Segfault)
}

/// `INFO: task x:12 blocked for more than 120 seconds.`, since 6.17 also `blocked in I/O wait for`.
fn is_hung_task(message: &str) -> bool {
    message.starts_with("INFO: task ")
        && message.contains(" blocked ")
        && message.contains(" for more than ")
}

/// `BUG kmalloc-64 (Not tainted): Redzone overwritten`, which has no colon after `BUG`.
fn is_slab_report(message: &str) -> bool {
    message.starts_with("BUG ")
        && (message.contains(" (Not tainted): ") || message.contains(" (Tainted: "))
}

/// `invalid opcode: 0000 [#1]` and every other first line of `die()`.
fn has_oops_number(message: &str) -> bool {
    message.split_once(" [#").is_some_and(|(before, after)| {
        let code = before.rsplit(": ").next().unwrap_or_default();
        let (number, _) = after.split_once(']').unwrap_or_default();
        code.len() >= 4
            && code.bytes().all(|b| b.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// A fault of a user-space process, in the words of the page fault and of the trap handlers, of x86 and then of arm64.
fn is_user_fault(message: &str) -> bool {
    message.contains("]: segfault at ")
        || message.contains("]: unhandled exception: ")
        || message.contains("potentially unexpected fatal signal ")
        || (message.starts_with("traps: ")
            && (message.contains("] general protection") || message.contains("] trap ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("Kernel panic - not syncing: sysrq triggered crash", HealthKind::Panic)]
    #[case("BUG: kernel NULL pointer dereference, address: 0000000000000008", HealthKind::Oops)]
    #[case("BUG: scheduling while atomic: swapper/0/0/0x00000002", HealthKind::Oops)]
    #[case("BUG kmalloc-64 (Not tainted): Right Redzone overwritten", HealthKind::Oops)]
    #[case("kernel BUG at block/blk-mq.c:1204!", HealthKind::Oops)]
    #[case("Oops: Oops: 0002 [#1] SMP NOPTI", HealthKind::Oops)]
    #[case("invalid opcode: 0000 [#1] PREEMPT SMP NOPTI", HealthKind::Oops)]
    #[case("general protection fault, probably for non-canonical address 0xdead", HealthKind::Oops)]
    #[case("BUG: KASAN: slab-use-after-free in ublk_ch_release+0x1/0x2", HealthKind::Kasan)]
    #[case("BUG: KFENCE: use-after-free read in f+0x1/0x2", HealthKind::Kasan)]
    #[case("WARNING: possible circular locking dependency detected", HealthKind::Lockdep)]
    #[case("WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected", HealthKind::Lockdep)]
    #[case("[ BUG: Invalid wait context ]", HealthKind::Lockdep)]
    #[case("INFO: trying to register non-static key.", HealthKind::Lockdep)]
    #[case("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", HealthKind::Stall)]
    #[case("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [a:1]", HealthKind::Stall)]
    #[case("watchdog: Watchdog detected hard LOCKUP on cpu 0", HealthKind::Stall)]
    #[case("BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0", HealthKind::Stall)]
    #[case("INFO: task dd:77 blocked for more than 120 seconds.", HealthKind::HungTask)]
    #[case("INFO: task dd:77 blocked in I/O wait for more than 120 seconds.", HealthKind::HungTask)]
    #[case("UBSAN: shift-out-of-bounds in a.c:1:2", HealthKind::Ubsan)]
    #[case("WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", HealthKind::Warning)]
    #[case("WARNING: drivers/block/ublk_drv.c:77 at f+0x1/0x2, CPU#0: a/1", HealthKind::Warning)]
    #[case("a.out[77]: segfault at 0 ip 0 sp 0 error 4 in a.out[1000+1000]", HealthKind::Segfault)]
    #[case(
        "a.out[77]: unhandled exception: DABT (lower EL), ESR 0x0000000092000046, level 2 translation fault in a.out[1d8550,383000+39a000]",
        HealthKind::Segfault
    )]
    #[case("traps: a.out[77] general protection fault ip:1 sp:2 error:0", HealthKind::Segfault)]
    #[case("traps: a.out[77] trap invalid opcode ip:1 sp:2 error:0", HealthKind::Segfault)]
    fn is_noticed(#[case] message: &str, #[case] kind: HealthKind) {
        assert_eq!(kind_of(message), Some(kind));
    }

    #[rstest]
    #[case("Kernel command line: console=ttyS0 panic=-1 oops=panic")]
    #[case("Warning: unable to open an initial console.")]
    #[case("x86/bugs: Spectre V1 : Mitigation: usercopy/swapgs barriers")]
    #[case("MDS CPU bug present and SMT on, data leak possible.")]
    #[case("Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on")]
    #[case("ACPI BIOS Warning (bug): Incorrect checksum in table [XSDT]")]
    #[case("ACPI BIOS Error (bug): Could not resolve symbol")]
    #[case("kasan: KernelAddressSanitizer initialized")]
    #[case("kfence: initialized - using 2097152 bytes for 255 objects")]
    #[case("rcu: Hierarchical RCU implementation.")]
    #[case("rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.")]
    #[case("watchdog: Delayed init of the lockup detector failed: -19")]
    #[case("NMI watchdog: Perf NMI watchdog permanently disabled")]
    #[case("Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar")]
    #[case("Run /init as init process")]
    #[case("printk: legacy console [ttyS0] enabled")]
    #[case("BUGs are not a message")]
    #[case("workqueue: blk_mq_run_work_fn hogged CPU for >10000us 4 times")]
    #[case("traps: registering handlers")]
    #[case("pci 0000:00:01.0: [8086:7000] type 00 [#1]")]
    fn is_ordinary(#[case] message: &str) {
        assert_eq!(kind_of(message), None);
    }
}
