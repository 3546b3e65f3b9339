//! Takes down what is seen, from several machines at once, in one order of time.
//!
//! Each record is also appended to `events.jsonl` as it comes, so that a run that is killed outright leaves
//! everything it had seen; the whole file replaces it at the end.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::event::{Record, Seen};
use crate::plan::Plan;
use crate::store::WriteError;

/// The records of a run. Shared by the threads that watch its machines.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    records: Vec<Record>,
    /// None once it has failed: the run goes on, and the file is written whole at its end.
    file: Option<File>,
}

impl Recorder {
    /// Begins `events.jsonl` in `folder`, which is there.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn create(folder: &Path) -> Result<Self, WriteError> {
        let path = folder.join("events.jsonl");
        let file = File::create(&path).map_err(|source| WriteError::Io { path, source })?;
        let inner = Mutex::new(Inner { records: Vec::new(), file: Some(file) });
        Ok(Self { began: Instant::now(), inner })
    }

    /// Takes down the begin of the next boot of `kernel`, and gives the boot its number.
    #[must_use]
    pub fn begin_boot(&self, kernel: u32, shard: u32, plan: &Plan) -> u32 {
        let mut inner = self.lock();
        let begun = |record: &&Record| {
            record.kernel == kernel && matches!(record.seen, Seen::BootStarted { .. })
        };
        let boot = u32::try_from(inner.records.iter().filter(begun).count()).unwrap_or(u32::MAX);
        let planned = plan.scenarios.iter().map(|s| s.id.clone()).collect();
        let seen = Seen::BootStarted { nonce: plan.nonce.clone(), planned, shard };
        inner.add(self.began, kernel, boot, seen);
        boot
    }

    /// Takes down what was seen of a boot.
    pub fn record(&self, kernel: u32, boot: u32, seen: Seen) {
        self.lock().add(self.began, kernel, boot, seen);
    }

    /// Waits until what was recorded is on the disk: a machine that is about to go down still says where it was.
    pub fn sync(&self) {
        if let Some(file) = &self.lock().file {
            let _ = file.sync_data();
        }
    }

    /// Calls `look` with the records of `kernel` so far.
    pub fn of_kernel<T>(&self, kernel: u32, look: impl FnOnce(&[&Record]) -> T) -> T {
        let inner = self.lock();
        let own: Vec<&Record> = inner.records.iter().filter(|r| r.kernel == kernel).collect();
        look(&own)
    }

    /// All records.
    #[must_use]
    pub fn finish(self) -> Vec<Record> {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).records
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A record is added whole or not at all.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The time is taken under the lock: records are in order of time.
    fn add(&mut self, began: Instant, kernel: u32, boot: u32, seen: Seen) {
        let at_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let record = Record { at_ms, kernel, boot, seen };
        if let (Some(file), Ok(mut line)) = (&mut self.file, serde_json::to_vec(&record)) {
            line.push(b'\n');
            if file.write_all(&line).is_err() {
                self.file = None;
            }
        }
        self.records.push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_are_numbered_for_each_kernel_and_every_record_is_on_disk_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(folder.path()).unwrap();
        let plan = Plan {
            protocol_version: crate::plan::PROTOCOL_VERSION,
            nonce: "a".into(),
            seed: 1,
            budgets: crate::budget::Budgets::scaled(1),
            scenarios: Vec::new(),
            debug: crate::plan::DebugOptions::default(),
            model_input: None,
            server: None,
        };
        assert_eq!(recorder.begin_boot(0, 0, &plan), 0);
        assert_eq!(recorder.begin_boot(1, 0, &plan), 0);
        assert_eq!(recorder.begin_boot(0, 1, &plan), 1);
        recorder.record(0, 0, Seen::Line { text: "one".into() });
        assert_eq!(recorder.of_kernel(0, |own| own.len()), 3);
        let text = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        let on_disk = crate::parse_events(&text).unwrap();
        assert_eq!(on_disk, recorder.finish());
    }
}
