//! The threads of a model server. The driver ties a tag to the task that has fetched it, so commands have to be sent by the
//! thread that a step names, and threads have to end for real.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// Something to do on another thread.
type Job = Box<dyn FnOnce() + Send>;

/// The first thread is the caller's own; the second is started when it is first needed, and may end.
#[derive(Debug, Default)]
pub(super) struct Threads {
    second: Option<(Sender<Job>, JoinHandle<()>)>,
}

impl Threads {
    /// Does `job` on a thread and waits for it.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        thread: u8,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if thread == 0 {
            return Ok(job());
        }
        let gone = || io::Error::other("the second thread does not answer");
        let (result, answer) = channel();
        let job: Job = Box::new(move || {
            // Whoever asked waits: it is there.
            let _ = result.send(job());
        });
        let (jobs, _) = self.second.get_or_insert_with(start);
        jobs.send(job).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }

    /// Ends the second thread, and `leaving` on it. The kernel has taken back what it had armed when this returns.
    pub(super) fn end<T: Send + 'static>(&mut self, leaving: T) -> io::Result<()> {
        self.run(1, move || drop(leaving))?;
        let Some((jobs, thread)) = self.second.take() else { return Ok(()) };
        drop(jobs);
        thread.join().map_err(|_| io::Error::other("the second thread has panicked"))
    }
}

fn start() -> (Sender<Job>, JoinHandle<()>) {
    let (jobs, next) = channel::<Job>();
    let work = move || next.into_iter().for_each(|job| job());
    (jobs, std::thread::spawn(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_thread_is_another_one_and_ends() {
        let mut threads = Threads::default();
        let id = || std::thread::current().id();
        let first = threads.run(0, id).unwrap();
        let second = threads.run(1, id).unwrap();
        assert_eq!((first, threads.run(1, id).unwrap()), (id(), second));
        threads.end(()).unwrap();
        assert_ne!(threads.run(1, id).unwrap(), second);
    }
}
