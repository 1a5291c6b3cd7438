//! The loop: observe, plan, check, apply, report. The only file that knows all of them.
//!
//! A [`Reconciler`] remembers nothing that it could not find out again: it may be killed at any point, and a new one goes
//! on from what the substrate and the nodes say.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_crds::{StorageClusterSpec, StorageClusterStatus};
use granary_planner::{
    Desired, Plan, check, plan,
    plan::{PlannedStep, Waiting, WaitingReason},
};

use crate::{
    apply::{Applier, ApplyError},
    care::care,
    clock::{self, unix_ms},
    desired::desired,
    node_admin::{AdminError, Fence, NodeAdmin},
    observe::{Observer, Sight},
    report::{
        Facts, causes_first,
        migration::{self, Rate},
        report,
    },
    substrate::{Look, Problem, Substrate, SubstrateError},
};

/// A round that fails is mostly a race with what has just changed, and the next one succeeds: up to so long it is told as
/// a line of the status, and not as trouble.
const PASSING: Duration = Duration::from_secs(3);

/// One cluster's loop.
pub struct Reconciler {
    substrate: Arc<dyn Substrate>,
    admin: Arc<dyn NodeAdmin>,
    fence: Fence,
    observer: Observer,
    rate: Rate,
    status: Option<StorageClusterStatus>,
    outside: Vec<Problem>,
    failing_since: Option<Instant>,
}

/// What one round did.
#[derive(Debug)]
pub struct Round {
    /// What was seen before anything was done.
    pub sight: Sight,
    /// What was decided.
    pub plan: Plan,
    /// What is said of it.
    pub status: StorageClusterStatus,
    /// Nothing to do and nothing to wait for.
    pub settled: bool,
    /// Why the round ended early, if it did.
    pub error: Option<String>,
    /// The installation of the operator that works on the cluster instead: then nothing was done.
    pub conflict: Option<String>,
}

/// Why a loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The substrate's own files or processes.
    #[error(transparent)]
    Substrate(#[from] SubstrateError),
    /// Another process works on the same cluster.
    #[error(transparent)]
    TakenOver(AdminError),
}

impl Reconciler {
    /// A new process's loop over a substrate.
    pub fn new(substrate: Arc<dyn Substrate>, admin: Arc<dyn NodeAdmin>) -> Self {
        let fence = Fence::new(substrate.installation());
        Self::with(substrate, admin, fence)
    }

    /// The same with the process's id, which no other process has had.
    pub fn of_process(substrate: Arc<dyn Substrate>, admin: Arc<dyn NodeAdmin>, process: String) -> Self {
        let fence = Fence::of_process(substrate.installation(), process);
        Self::with(substrate, admin, fence)
    }

    fn with(substrate: Arc<dyn Substrate>, admin: Arc<dyn NodeAdmin>, fence: Fence) -> Self {
        let (observer, rate, outside) = (Observer::default(), Rate::default(), Vec::new());
        Self { substrate, admin, fence, observer, rate, status: None, outside, failing_since: None }
    }

    /// What an earlier process said last: the times of its conditions are kept. For a new loop only.
    pub fn resume(&mut self, status: StorageClusterStatus) {
        self.status = Some(status);
    }

    /// What is wrong outside of the substrate and the nodes, told in each status from here on.
    pub fn set_outside(&mut self, problems: Vec<Problem>) {
        self.outside = problems;
    }

    /// What was said last.
    pub fn status(&self) -> Option<&StorageClusterStatus> {
        self.status.as_ref()
    }

    /// One round towards `spec`. `generation` is told in the status; so is `problem`, which is what is wrong outside of
    /// the round, such as a file that cannot be followed.
    ///
    /// # Errors
    /// The loop must stop. What only this round could not do is in [`Round::error`].
    pub async fn round(
        &mut self,
        spec: &StorageClusterSpec,
        generation: i64,
        problem: Option<&str>,
    ) -> Result<Round, LoopError> {
        let unsettled = self.substrate.unsettled();
        let mut look = self.substrate.look().await?;
        let mut decided = decide(spec, &look, &mut self.observer, self.admin.as_ref()).await;
        let held = self.hold(&decided.1).await;
        if matches!(held, Ok(true)) {
            // Another process may have worked on the cluster until now. One that does from here on is noticed.
            look = self.substrate.look().await?;
            decided = decide(spec, &look, &mut self.observer, self.admin.as_ref()).await;
        }
        let (desired, sight, mut plan) = decided;
        if let Some(message) = unsettled.filter(|_| !desired.paused) {
            plan.waiting.push(Waiting { reason: WaitingReason::Restarting, message });
        }
        let (mut notes, mut error, mut problems) = (look.notes, None, look.problems);
        problems.extend(self.outside.iter().cloned());
        let mut conflict = None;
        let applied = match held {
            Ok(_) => self.apply(&desired, &sight, &plan).await,
            Err(refusal) => Err(refusal.into()),
        };
        match applied {
            Ok(put_off) => notes.extend(put_off),
            Err(ApplyError::Admin(taken @ AdminError::TakenOver { .. })) => return Err(LoopError::TakenOver(taken)),
            Err(failed) => {
                tracing::debug!(%failed, "the round ended early");
                error = Some(failed.to_string());
                if let ApplyError::Admin(AdminError::Conflict { installation, .. }) = failed {
                    conflict = Some(installation);
                }
            }
        }
        // Also after a step that failed: what was left half done is finished whatever else goes wrong.
        if !desired.paused && conflict.is_none() {
            match self.substrate.upkeep(&care(&sight)).await {
                Ok(more) => problems.extend(more),
                Err(failed) => error = error.or(Some(failed.to_string())),
            }
        }
        causes_first(&mut problems);
        let persists = self.persists(error.is_some());
        notes.extend(error.clone());
        let now_ms = unix_ms();
        let left = sight.observed.cluster.known().map_or(0, |cluster| migration::counts(&plan, cluster).1);
        self.rate.sample(now_ms, left);
        let facts = Facts {
            desired: &desired,
            sight: &sight,
            plan: &plan,
            generation,
            now_ms: i64::try_from(now_ms).unwrap_or(i64::MAX),
            bytes_per_second: self.rate.bytes_per_second(),
            error: problem.or(error.as_deref().filter(|_| persists)),
            notes: &notes,
            problems: &problems,
            kept: look.kept.as_ref(),
            storage: &look.storage,
        };
        let status = report(&facts, self.status.as_ref());
        self.status = Some(status.clone());
        Ok(Round { settled: plan.is_settled(), sight, plan, status, error, conflict })
    }

    /// Whether rounds have failed for so long that a person should look.
    fn persists(&mut self, failed: bool) -> bool {
        self.failing_since = failed.then(|| self.failing_since.unwrap_or_else(clock::now));
        self.failing_since.is_some_and(|since| clock::since(since) >= PASSING)
    }

    /// Holds the right to order, also while there is nothing to do: another installation then knows that somebody is there.
    /// True: it was acquired just now.
    async fn hold(&mut self, sight: &Sight) -> Result<bool, AdminError> {
        if sight.observed.cluster.fresh().is_none() {
            return Ok(false);
        }
        self.fence.hold(self.admin.as_ref(), &sight.members()).await
    }

    async fn apply(&mut self, desired: &Desired, sight: &Sight, plan: &Plan) -> Result<Vec<String>, ApplyError> {
        let findings = check::lint(desired, &sight.observed, plan);
        if let Some(finding) = findings.first() {
            tracing::error!(?findings, steps = ?steps(plan), "a plan was refused by its check");
            return Err(ApplyError::Missing(format!("the plan was refused by its check: {finding}")));
        }
        let mut applier = Applier {
            substrate: self.substrate.as_ref(),
            admin: self.admin.as_ref(),
            fence: &mut self.fence,
            sight,
            replication_factor: desired.replication_factor,
            shards: desired.shards,
        };
        applier.apply(plan).await
    }
}

/// Observes and plans once; changes nothing.
pub async fn preview(spec: &StorageClusterSpec, look: &Look, admin: &dyn NodeAdmin) -> (Desired, Sight, Plan) {
    decide(spec, look, &mut Observer::default(), admin).await
}

async fn decide(
    spec: &StorageClusterSpec,
    look: &Look,
    observer: &mut Observer,
    admin: &dyn NodeAdmin,
) -> (Desired, Sight, Plan) {
    let sight = observer.observe(look, admin).await;
    let desired = desired(spec, &look.draining);
    let plan = plan(&desired, &sight.observed);
    (desired, sight, plan)
}

fn steps(plan: &Plan) -> Vec<&PlannedStep> {
    plan.steps.iter().collect()
}
