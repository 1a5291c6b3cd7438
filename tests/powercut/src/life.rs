//! A disk from its mount to its cut, shared by the threads that serve it. After the cut every request gets EIO.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;

use crate::{
    disk::{Answer, CutReport, Disk},
    model::{
        after_cut::Tear,
        faults::{FaultId, Operation},
        tree::Id,
    },
    parked::Parked,
    rules::Rules,
};

/// One cut at a time: else two over the same disks could wait for each other.
static ONE_CUT: Mutex<()> = Mutex::new(());

/// A disk while its power is on.
pub struct Life {
    disk: Mutex<Option<Disk>>,
    rules: Arc<Rules>,
    parked: Arc<Parked>,
}

impl Life {
    /// Turns the power on.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn new(disk: Disk, rules: Arc<Rules>) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self { disk: Mutex::new(Some(disk)), rules, parked: Parked::start()? }))
    }

    /// Does something with the disk.
    ///
    /// # Errors
    /// EIO after the cut, or its own.
    pub fn with<T>(&self, work: impl FnOnce(&mut Disk) -> Answer<T>) -> Answer<T> {
        self.disk.lock().as_mut().ok_or(Errno::IO).and_then(work)
    }

    /// Serves a request that rules can hit: now, or after a wait on another thread.
    pub fn serve<T: 'static>(
        self: &Arc<Self>,
        operation: Operation,
        id: Id,
        work: impl FnOnce(&mut Disk) -> Answer<T> + Send + 'static,
        answer: impl FnOnce(Answer<T>) + Send + 'static,
    ) {
        let mut disk = self.disk.lock();
        let Some(there) = disk.as_mut() else {
            drop(disk);
            return answer(Err(Errno::IO));
        };
        let verdict = self.rules.faults.lock().judge(operation, || there.path(id));
        let work = move |disk: &mut Disk| match verdict.fail {
            None => work(disk),
            Some(errno) => {
                disk.count(id, |counts| counts.failed += 1);
                if operation == Operation::Sync {
                    disk.sync_failed(id);
                }
                Err(errno)
            }
        };
        match verdict.wait {
            None => {
                let done = work(there);
                drop(disk);
                answer(done);
            }
            Some(wait) => {
                there.count(id, |counts| counts.delayed += 1);
                let life = Arc::clone(self);
                let parked = Box::new(move || answer(life.with(work)));
                // Still under the lock of the disk: a rule is not withdrawn in between.
                self.parked.add(wait, parked);
            }
        }
    }

    /// Withdraws a rule, ends the waits for it, and tells how many requests it hit.
    pub fn withdraw(&self, fault: FaultId) -> u64 {
        let disk = self.disk.lock();
        let hit = self.rules.faults.lock().remove(fault);
        drop(disk);
        self.parked.withdrawn(fault);
        hit
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.parked.len()
    }

    /// Turns the power off without a cut: what is not synced is as it is in the disk that is given.
    pub fn end(&self) -> Option<Disk> {
        let disk = self.disk.lock().take();
        self.parked.end();
        disk
    }
}

/// Cuts the power of all at one moment. Each is to be given once. One that is cut already has nothing to report.
///
/// # Errors
/// The file system under a disk fails; all are cut nevertheless.
pub fn cut(lives: &[Arc<Life>], tear: Tear, seed: u64) -> Answer<Vec<CutReport>> {
    let one = ONE_CUT.lock();
    let mut locked: Vec<MutexGuard<'_, Option<Disk>>> = lives.iter().map(|life| life.disk.lock()).collect();
    let disks: Vec<_> = locked.iter_mut().map(|disk| disk.take()).collect();
    drop(locked);
    drop(one);
    // Those that wait are told first, as nobody waits for the work that a cut is here.
    let waiting: Vec<_> = lives.iter().map(|life| life.parked.end() as u64).collect();
    let mut reports = Vec::new();
    for (at, (disk, waiting)) in disks.into_iter().zip(waiting).enumerate() {
        let cut = disk.map(|disk| disk.cut(tear, seed.wrapping_add(at as u64)));
        reports.push(cut.unwrap_or(Ok(CutReport::default())).map(|report| CutReport { waiting, ..report }));
    }
    reports.into_iter().collect()
}
