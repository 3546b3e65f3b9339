//! Where a queue's thread runs: on the CPUs whose requests the queue gets.

use std::io;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Lets the calling thread run on these CPUs only. CPUs above what the system's set holds are left out.
///
/// # Errors
/// EINVAL for an empty set, or one that the process's own cpuset does not allow at all.
pub fn pin_to(cpus: &[u32]) -> io::Result<()> {
    let mut set = CpuSet::new();
    let mut any = false;
    for cpu in cpus {
        any |= set.set(*cpu as usize).is_ok();
    }
    if !any {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_and_an_empty_set_is_refused() {
        std::thread::spawn(|| {
            let before = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
            let cpu = (0..CpuSet::count()).find(|cpu| before.is_set(*cpu).unwrap()).unwrap();
            pin_to(&[cpu as u32, u32::MAX]).unwrap();
            let after = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
            assert!((0..CpuSet::count()).all(|c| after.is_set(c).unwrap() == (c == cpu)));
            assert_eq!(pin_to(&[]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
            assert!(pin_to(&[u32::MAX]).is_err());
        })
        .join()
        .unwrap();
    }
}
