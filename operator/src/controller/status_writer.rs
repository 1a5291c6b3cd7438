//! Writes the status of one cluster: often enough to be believed, seldom enough to be borne. Decides nothing of its
//! content.

use std::time::Duration;

use granary_crds::{StorageCluster, StorageClusterStatus};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::status_diff::{Due, due, merge_patch};
use crate::substrate::kubernetes::names::MANAGER;

/// How long the answer to a write is believed over a watch that shows another version: watches lag.
const LAG: Duration = Duration::from_secs(2);

/// One cluster's writer.
#[derive(Default)]
pub struct StatusWriter {
    last: Option<Written>,
}

struct Written {
    at: Instant,
    /// Of the object after the write.
    version: Option<String>,
    status: Option<StorageClusterStatus>,
    /// What was asked to be written: a definition older than this operator drops what it does not know.
    sent: StorageClusterStatus,
    /// The watch has shown it, or something newer.
    seen: bool,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing to write now.
    NotDue,
    /// A fact waits to be written, in a moment.
    Later,
    /// Written.
    Done,
    /// The object is gone, or another one has its name.
    Gone,
}

impl StatusWriter {
    /// Writes when it is time. `object` is what the watch shows: what somebody else wrote there is written over.
    ///
    /// # Errors
    /// The API server did not do it; try again in the next round.
    pub async fn write(
        &mut self,
        api: &Api<StorageCluster>,
        object: &StorageCluster,
        wanted: &StorageClusterStatus,
    ) -> Result<Write, kube::Error> {
        let stored = self.stored(object);
        let since = self.last.as_ref().map(|last| last.at.elapsed());
        match due(self.sent(object).or(stored.as_ref()), wanted, since) {
            Due::Not => return Ok(Write::NotDue),
            Due::Soon => return Ok(Write::Later),
            Due::Now => {}
        }
        let at = Instant::now();
        // With the uid, so that a new object of the same name is not told what an old one was.
        let patch = json!({ "metadata": { "uid": object.uid() }, "status": merge_patch(stored.as_ref(), wanted) });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch_status(&object.name_any(), &params, &Patch::Merge(patch)).await {
            Ok(now) => {
                let version = now.resource_version();
                self.last = Some(Written { at, version, status: now.status, sent: wanted.clone(), seen: false });
                Ok(Write::Done)
            }
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(Write::Gone),
            Err(error) => Err(error),
        }
    }

    /// What was written last, while nobody has changed the object since: what the API server did not keep of it is not sent
    /// again before the next write is due.
    fn sent(&self, object: &StorageCluster) -> Option<&StorageClusterStatus> {
        let last = self.last.as_ref()?;
        (!last.seen || object.resource_version() == last.version).then_some(&last.sent)
    }

    /// What the API server has, as far as known; `None`: nothing yet.
    fn stored(&mut self, object: &StorageCluster) -> Option<StorageClusterStatus> {
        if let Some(last) = self.last.as_mut().filter(|last| !last.seen) {
            if object.resource_version() != last.version && last.at.elapsed() < LAG {
                return last.status.clone();
            }
            last.seen = true;
        }
        object.status.clone()
    }
}

#[cfg(test)]
#[path = "status_writer_tests.rs"]
mod tests;
