//! A disk for each node: the file system for tests that forgets what was not synced when its power is cut.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use granary_powercut::{Effect, Errno, Fault, FaultId, Handle, Lie, Operation, Options, PowerCutFs, Tear};
use granary_tests::{HarnessError, Result};

use crate::shim;

/// Size of each: small enough that logs are cut soon, and followers that were away need snapshots.
const SIZE: u64 = 2 << 30;

/// The mounted disks, by index of their node. They go with the last clone.
#[derive(Clone)]
pub struct Disks {
    handles: Arc<BTreeMap<u32, Handle>>,
}

impl Disks {
    /// Mounts `count` disks below the directory of a run.
    pub fn mount(run: &Path, count: u32, seed: u64) -> Result<Self> {
        let mut handles = BTreeMap::new();
        for index in 0..count {
            let options =
                Options { capacity: Some(SIZE), threads: 2, seed: seed ^ u64::from(index), ..Options::default() };
            let backing = run.join("backing").join(format!("node-{index}"));
            std::fs::create_dir_all(&backing).map_err(|error| HarnessError::because(backing.display(), error))?;
            let handle = PowerCutFs::mount(&backing, &shim::disk(run, index), options);
            handles.insert(index, handle.map_err(|error| HarnessError::because("mounting a disk", error))?);
        }
        Ok(Self { handles: Arc::new(handles) })
    }

    fn of(&self, index: u32) -> Result<&Handle> {
        self.handles.get(&index).ok_or_else(|| HarnessError(format!("node {index} has no disk")))
    }

    /// All requests take longer, syncs most.
    pub fn slow(&self, index: u32, pick: u64) -> Result<FaultId> {
        let most = Duration::from_millis([20, 80, 300, 1_000][pick as usize % 4]);
        let operations = [Operation::Write, Operation::Sync, Operation::SyncDirectory];
        Ok(self.of(index)?.inject(Fault::new(&operations, Effect::Delay(most / 10, most))))
    }

    /// Nothing is answered any more.
    pub fn stall(&self, index: u32) -> Result<FaultId> {
        Ok(self.of(index)?.inject(Fault::new(&Operation::ALL, Effect::Stall)))
    }

    /// The next sync of a file fails, once.
    pub fn fail_a_sync(&self, index: u32) -> Result<FaultId> {
        Ok(self.of(index)?.inject(Fault::new(&[Operation::Sync], Effect::Fail(Errno::IO)).times(1)))
    }

    /// Takes a rule away; gives how many requests it hit.
    pub fn withdraw(&self, index: u32, rule: FaultId) -> Result<u64> {
        Ok(self.of(index)?.withdraw(rule))
    }

    /// Leaves next to no room: from none to some MiB.
    pub fn fill(&self, index: u32, pick: u64) -> Result<()> {
        let handle = self.of(index)?;
        let used = handle.used().map_err(|error| HarnessError::because("asking a disk", error))?;
        let room = [0, 64 << 10, 1 << 20, 8 << 20][pick as usize % 4];
        handle.set_capacity(Some(used + room));
        Ok(())
    }

    /// Its own size again.
    pub fn empty(&self, index: u32) -> Result<()> {
        self.of(index)?.set_capacity(Some(SIZE));
        Ok(())
    }

    /// Syncs of files do nothing from now on.
    pub fn lie(&self) {
        self.handles.values().for_each(|handle| handle.lie(Lie::Files));
    }

    /// Cuts the power of all at one moment; blocks.
    pub fn cut_all(&self, seed: u64) -> Result<()> {
        let handles: Vec<&Handle> = self.handles.values().collect();
        let tear = [Tear::Drop, Tear::Prefix, Tear::Pieces, Tear::Mixed][seed as usize % 4];
        let cut = Handle::cut_all(&handles, tear, seed).map(|_| ());
        cut.map_err(|error| HarnessError::because("cutting the power", error))
    }

    /// Turns it on again; no process of before may live. Blocks.
    pub fn power_on(&self) -> Result<()> {
        let all = self.handles.values().map(Handle::remount);
        all.collect::<std::result::Result<(), _>>()
            .map_err(|error| HarnessError::because("turning the power on", error))
    }
}
