//! The power goes: what is left of what was not synced becomes the durable state, and the disk is gone.

use std::ops::AddAssign;

use super::{Answer, Disk, broken};
use crate::model::{
    after_cut::{Fate, Tear, after_cut},
    journal::NameOp,
    random::Random,
    tree::{Id, ROOT},
};

/// What a cut did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CutReport {
    /// What became of unsynced writes.
    pub writes: Fate,
    /// Files that had unsynced changes.
    pub files: u64,
    /// Unsynced changes of names that survived.
    pub names_kept: u64,
    /// Unsynced changes of names that are lost.
    pub names_lost: u64,
    /// Requests that waited (delayed or stalled) and were answered with EIO.
    pub waiting: u64,
}

impl AddAssign for CutReport {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.files += other.files;
        self.names_kept += other.names_kept;
        self.names_lost += other.names_lost;
        self.waiting += other.waiting;
    }
}

impl Disk {
    /// Cuts the power.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn cut(mut self, tear: Tear, seed: u64) -> Answer<CutReport> {
        let mut report = CutReport::default();
        let kept = self.journal.after_cut(tear, &mut Random::of_part(seed, ROOT));
        report.names_kept = kept.len() as u64;
        report.names_lost = self.journal.len() as u64 - report.names_kept;
        if !kept.is_empty() {
            self.store.commit(kept.iter().flat_map(NameOp::changes)).map_err(broken("cutting"))?;
        }
        let mut ids: Vec<Id> = self.ids();
        ids.sort_unstable();
        for id in ids {
            let content = &self.node(id)?.content;
            if content.ops().is_empty() {
                continue;
            }
            let remains = after_cut(content.stored(), content.ops(), tear, &mut Random::of_part(seed, id));
            self.store.replay(id, &remains.steps).map_err(broken("cutting"))?;
            report.files += 1;
            report.writes += remains.fate;
        }
        Ok(report)
    }
}
