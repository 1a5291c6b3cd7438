//! Two installations of the operator over one StorageCluster. The nodes let one of them work. The other one stands aside:
//! it writes no status, which would only go back and forth, but leaves a note on the object, and the one that works
//! tells it in the status.

use std::time::Duration;

use granary_crds::StorageCluster;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::substrate::{
    Problem,
    kubernetes::names::{MANAGER, REFUSED_OPERATOR},
};

/// How often the one that stands aside renews its note.
const RENEW: Duration = Duration::from_secs(20);
/// A note that was not renewed for so long is old: whoever wrote it is gone.
const OLD: Duration = Duration::from_secs(50);

/// What one operator knows of notes on one object.
#[derive(Default)]
pub struct Notes {
    /// The note of another, and when it was first seen as it is.
    seen: Option<(String, Instant)>,
    /// When the own one was written.
    written: Option<Instant>,
}

/// What a note says to the one that works.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    /// There is none.
    None,
    /// Another installation looks after the same object.
    Other(String),
    /// It is old, or this installation's own: to be taken away.
    Old,
}

impl Notes {
    /// Reads the note as `own`, the installation that works. `now` is this process's clock.
    pub fn read(&mut self, object: &StorageCluster, own: &str, now: Instant) -> Note {
        let Some(note) = object.annotations().get(REFUSED_OPERATOR) else {
            self.seen = None;
            return Note::None;
        };
        let installation = note.split(' ').next().unwrap_or_default();
        if installation == own {
            return Note::Old;
        }
        let since = match &self.seen {
            Some((known, since)) if known == note => *since,
            _ => {
                self.seen = Some((note.clone(), now));
                now
            }
        };
        if now - since < OLD { Note::Other(installation.to_owned()) } else { Note::Old }
    }

    /// Leaves a note as `own`, the installation that was refused. Not more than once in [`RENEW`].
    ///
    /// # Errors
    /// The API server did not take it; try again in the next round.
    pub async fn leave(
        &mut self,
        api: &Api<StorageCluster>,
        object: &StorageCluster,
        own: &str,
    ) -> Result<(), kube::Error> {
        if self.written.is_some_and(|at| at.elapsed() < RENEW) {
            return Ok(());
        }
        annotate(api, object, json!(format!("{own} {}", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ")))).await?;
        self.written = Some(Instant::now());
        Ok(())
    }

    /// Takes the note away.
    ///
    /// # Errors
    /// The API server did not do it; try again in the next round.
    pub async fn clear(&mut self, api: &Api<StorageCluster>, object: &StorageCluster) -> Result<(), kube::Error> {
        (self.seen, self.written) = (None, None);
        annotate(api, object, Value::Null).await
    }
}

async fn annotate(api: &Api<StorageCluster>, object: &StorageCluster, value: Value) -> Result<(), kube::Error> {
    let metadata = json!({ "uid": object.uid(), "annotations": { REFUSED_OPERATOR: value } });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&object.name_any(), &params, &Patch::Merge(json!({ "metadata": metadata }))).await.map(drop)
}

/// What a person should know.
pub fn problem(own: &str, other: &str) -> Problem {
    let message = format!(
        "the operator's installation {other} looks after this StorageCluster too and was refused by the nodes, which \
         obey {own}: uninstall one of the two, or give each its own namespaces (watchNamespaces)"
    );
    Problem { reason: "OperatorConflict", message }
}

#[cfg(test)]
mod tests {
    use super::{super::fake_api::object, *};

    fn noted(note: &str) -> StorageCluster {
        let mut object = object("demo");
        object.annotations_mut().insert(REFUSED_OPERATOR.into(), note.into());
        object
    }

    #[test]
    fn a_note_counts_while_it_is_renewed_whatever_its_clock_says() {
        let (mut notes, start) = (Notes::default(), Instant::now());
        let other = || Note::Other("b".into());
        assert_eq!(notes.read(&object("demo"), "a", start), Note::None);
        assert_eq!(notes.read(&noted("b 1970-01-01T00:00:00Z"), "a", start), other());
        assert_eq!(notes.read(&noted("b 1970-01-01T00:01:00Z"), "a", start + OLD), other());
        assert_eq!(notes.read(&noted("b 1970-01-01T00:01:00Z"), "a", start + OLD + OLD), Note::Old);
    }

    #[test]
    fn the_own_note_is_taken_away_by_the_one_that_works_now() {
        assert_eq!(Notes::default().read(&noted("a 1"), "a", Instant::now()), Note::Old);
    }
}
