//! A real page fault, for the canary that must be caught.

/// Writes to address 8, which no process has mapped.
pub(crate) fn segfault() -> ! {
    // SAFETY: the write never completes: the first page of every process is unmapped
    // (vm.mmap_min_addr), so the kernel ends the process with SIGSEGV. No Rust value lives there.
    unsafe { std::ptr::write_volatile(std::ptr::without_provenance_mut::<u64>(8), 1) };
    std::process::abort()
}
