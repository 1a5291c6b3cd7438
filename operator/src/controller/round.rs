//! One cluster's rounds: what comes before the plan (the finalizer, the rules of the spec, another operator) and after it
//! (status, events, metrics). It decides nothing about nodes and shards.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_crds::{StorageCluster, StorageClusterStatus, validate_cluster};
use kube::{Api, Resource as _, ResourceExt as _};

use super::{
    announce::Announcer,
    conflict::{self, Note, Notes},
    context::Context,
    deletion::{self, Duty},
    events::{self, Moment, News, Reason},
    metrics::Sample,
    pace,
    present::present,
    status_writer::{StatusWriter, Write},
};
use crate::{
    clock::unix_ms,
    node_admin::{AdminError, GrpcAdmin},
    reconcile::{LoopError, Reconciler, Round},
    report::conditions,
    substrate::{Problem, kubernetes::Kubernetes},
};

/// A round that takes longer is given up; what it did not do, the next one does.
const LONGEST: Duration = Duration::from_secs(30);
/// A standby operator, and one whose object is on its way out, looks again after so long.
const ASIDE: Duration = Duration::from_secs(5);
/// When a status waits for its turn to be written.
const STATUS: Duration = Duration::from_millis(500);

/// What comes after a round.
#[derive(Debug)]
pub enum Next {
    /// Look again, at the latest after so long.
    After(Duration),
    /// This process must end.
    End(AdminError),
}

/// One StorageCluster (one uid) and what this process remembers of it.
pub struct Rounds {
    context: Arc<Context>,
    api: Api<StorageCluster>,
    kubernetes: Arc<Kubernetes>,
    reconciler: Reconciler,
    writer: StatusWriter,
    announcer: Announcer,
    notes: Notes,
    before: Option<Moment>,
    /// What was said last, by this process or the one before it.
    said: Option<StorageClusterStatus>,
    /// Rounds in a row that saw nothing.
    failures: u32,
    stood_aside: bool,
    data_deleted: bool,
}

impl Rounds {
    /// Of a new process.
    pub fn new(context: Arc<Context>, object: &Arc<StorageCluster>) -> Self {
        let (client, namespace) = (context.client.clone(), object.namespace().unwrap_or_default());
        let (caches, installation) = (context.caches.clone(), context.installation.clone());
        let kubernetes = Arc::new(Kubernetes::new(client.clone(), caches, installation, object.clone()));
        let mut reconciler = Reconciler::new(kubernetes.clone(), Arc::new(GrpcAdmin::default()));
        if let Some(status) = &object.status {
            reconciler.resume(status.clone());
        }
        Self {
            api: Api::namespaced(client.clone(), &namespace),
            announcer: Announcer::new(client, context.pod.clone()),
            context,
            kubernetes,
            reconciler,
            writer: StatusWriter::default(),
            notes: Notes::default(),
            before: None,
            said: object.status.clone(),
            failures: 0,
            stood_aside: false,
            data_deleted: false,
        }
    }

    /// One round over the newest object that the watch has shown.
    pub async fn round(&mut self, object: Arc<StorageCluster>) -> Next {
        let started = Instant::now();
        let outcome = match tokio::time::timeout(LONGEST, self.work(&object)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Blind(format!("the round did not end within {} s", LONGEST.as_secs()))),
        };
        self.context.pages.metrics.round(started.elapsed(), outcome.is_err());
        match outcome {
            Ok(next) => {
                self.failures = 0;
                Next::After(next)
            }
            Err(Failure::End(error)) => Next::End(error),
            // Nothing wrong was seen, so what was said stays; it is tried again.
            Err(Failure::Later(error)) => {
                tracing::debug!(cluster = object.name_any(), error, "the round is tried again");
                Next::After(self.failed())
            }
            Err(Failure::Blind(error)) => {
                tracing::warn!(cluster = object.name_any(), namespace = object.namespace(), error, "a round failed");
                let next = self.failed();
                let generation = self.planned_generation();
                let status = conditions::blind(self.said.as_ref(), "RoundFailed", &error, generation, now_ms());
                // Tried: whatever kept the round from its end may keep this from being written too.
                let written = tokio::time::timeout(pace::after_failures(3), self.say(&object, status)).await;
                if !matches!(written, Ok(Ok(_))) {
                    tracing::debug!(cluster = object.name_any(), "the status was not written either");
                }
                Next::After(next)
            }
        }
    }

    fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        pace::after_failures(self.failures)
    }

    async fn work(&mut self, object: &Arc<StorageCluster>) -> Result<Duration, Failure> {
        let mut object = object.clone();
        match deletion::duty(&object) {
            Duty::Live => {}
            // Before anything is made: data that is to be deleted is never left behind.
            Duty::Set => object = Arc::new(deletion::put(&self.api, &object, true).await?),
            Duty::Drop => object = Arc::new(deletion::put(&self.api, &object, false).await?),
            Duty::DeleteData => return self.delete_data(&object).await,
            Duty::Leave => return Ok(ASIDE),
        }
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(ASIDE);
        }
        self.kubernetes.follow(object.clone());
        let other = self.notes.read(&object, &self.context.installation.id, tokio::time::Instant::now());
        let invalid = invalid(&object);
        let mut outside: Vec<_> = invalid.iter().cloned().collect();
        if let Note::Other(installation) = &other {
            outside.push(conflict::problem(&self.context.installation.id, installation));
        }
        self.reconciler.set_outside(outside);
        let round = self.plan(&object, invalid.is_some()).await?;
        if let Some(installation) = &round.conflict {
            return self.stand_aside(&object, installation).await;
        }
        self.stood_aside = false;
        if other == Note::Old {
            self.notes.clear(&self.api, &object).await?;
        }
        self.tell(&object, round).await
    }

    async fn plan(&mut self, object: &StorageCluster, invalid: bool) -> Result<Round, Failure> {
        if !invalid {
            let generation = object.metadata.generation.unwrap_or_default();
            return Ok(self.reconciler.round(&object.spec, generation, None).await?);
        }
        // Seen and told, but not followed: as if it were paused, and the generation stays the one that was planned.
        let mut spec = object.spec.clone();
        spec.paused = true;
        let mut round = self.reconciler.round(&spec, self.planned_generation(), None).await?;
        round.status.waiting.retain(|line| !line.starts_with("Paused:"));
        round.status.waiting_reason = Some("InvalidSpec".to_owned());
        Ok(round)
    }

    fn planned_generation(&self) -> i64 {
        self.said.as_ref().and_then(|status| status.observed_generation).unwrap_or_default()
    }

    /// After a round that saw something: events, status, metrics.
    async fn tell(&mut self, object: &StorageCluster, round: Round) -> Result<Duration, Failure> {
        let mut next = pace::after(&round.plan, round.error.is_some());
        let now = Moment::new(round.sight, round.plan, round.error.is_none());
        let mut news = self.before.as_ref().map(|before| events::between(before, &now)).unwrap_or_default();
        news.extend(events::of_degraded(self.said.as_ref(), &round.status));
        self.before = Some(now);
        let written = self.say(object, round.status).await;
        self.announcer.publish(&object.object_ref(&()), news).await;
        if written? == Write::Later {
            next = next.min(STATUS);
        }
        Ok(next)
    }

    async fn say(&mut self, object: &StorageCluster, status: StorageClusterStatus) -> Result<Write, kube::Error> {
        let status = present(status, &object.name_any());
        self.context.pages.metrics.show(object, Sample::new(object, &status));
        let written = self.writer.write(&self.api, object, &status).await;
        self.said = Some(status);
        written
    }

    /// Another installation works on this cluster: nothing is done and no status is written.
    async fn stand_aside(&mut self, object: &StorageCluster, installation: &str) -> Result<Duration, Failure> {
        let own = self.context.installation.id.clone();
        if !std::mem::replace(&mut self.stood_aside, true) {
            let message =
                format!("installation {own} of the operator stands aside: {installation} works on the cluster");
            self.announcer.publish(&object.object_ref(&()), [News::new(Reason::OperatorConflict, message)]).await;
        }
        let status = object.status.clone().unwrap_or_default();
        self.context.pages.metrics.show(object, Sample::new(object, &status).degraded("OperatorConflict"));
        (self.before, self.said) = (None, object.status.clone());
        self.notes.leave(&self.api, object, &own).await?;
        Ok(ASIDE)
    }

    async fn delete_data(&mut self, object: &Arc<StorageCluster>) -> Result<Duration, Failure> {
        self.kubernetes.follow(object.clone());
        let outcome = self.kubernetes.delete_data().await;
        let problem = outcome.as_ref().err().map(ToString::to_string);
        if matches!(outcome, Ok(true)) {
            if !std::mem::replace(&mut self.data_deleted, true) {
                let news = News::new(Reason::DataDeleted, "the cluster's claims were deleted");
                self.announcer.publish(&object.object_ref(&()), [news]).await;
            }
            deletion::put(&self.api, object, false).await?;
            return Ok(ASIDE);
        }
        let generation = self.planned_generation();
        let status = conditions::leaving(self.said.as_ref(), problem.as_deref(), generation, now_ms());
        self.say(object, status).await?;
        Ok(pace::after_failures(1))
    }
}

/// What keeps a spec from being followed.
fn invalid(object: &StorageCluster) -> Option<Problem> {
    let errors: Vec<_> = validate_cluster(object, None).iter().map(ToString::to_string).collect();
    let message = format!("{}; nothing is changed until it is put right", errors.join("; "));
    (!errors.is_empty()).then_some(Problem { reason: "InvalidSpec", message })
}

fn now_ms() -> i64 {
    i64::try_from(unix_ms()).unwrap_or(i64::MAX)
}

/// Why a round ended early.
enum Failure {
    /// Nothing could be seen.
    Blind(String),
    /// The API server did not take something small.
    Later(String),
    /// Another process has taken over.
    End(AdminError),
}

impl From<LoopError> for Failure {
    fn from(error: LoopError) -> Self {
        match error {
            LoopError::Substrate(error) => Self::Blind(error.to_string()),
            LoopError::TakenOver(error) => Self::End(error),
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            // Changed or gone meanwhile: the watch will show it.
            kube::Error::Api(status) if status.is_conflict() || status.is_not_found() => {
                Self::Later(status.message.clone())
            }
            kube::Error::Api(status) => Self::Blind(status.message.clone()),
            other => Self::Blind(other.to_string()),
        }
    }
}
