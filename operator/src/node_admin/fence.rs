//! The fencing token: acquired once by each process, held while it lives, and what it means when it is refused.

use std::time::{Duration, Instant};

use granary_proto::admin::{AcquireOperatorRequest, ReconfigureOutcome};
use tonic::Code;
use uuid::Uuid;

use super::{AdminError, NodeAdmin, Order};
use crate::clock;

/// Between two signs of life to the nodes: well within the 30 s after which another installation may take over.
const HOLD: Duration = Duration::from_secs(10);
/// How long a refusal in favour of another installation is believed before it is asked again.
const REFUSED: Duration = Duration::from_secs(5);

/// This process's right to order.
#[derive(Debug)]
pub struct Fence {
    installation: String,
    process: String,
    token: Option<u64>,
    /// When the nodes last took something under the token.
    active: Option<Instant>,
    /// Another installation is at work, as of then.
    refused: Option<(Instant, AdminError)>,
    /// Why there was no token when it was last asked for.
    missing: Option<AdminError>,
}

impl Fence {
    /// Of a new process of this installation; without a token yet.
    pub fn new(installation: String) -> Self {
        Self::of_process(installation, Uuid::new_v4().to_string())
    }

    /// The same with the process's id, which no other process has had.
    pub fn of_process(installation: String, process: String) -> Self {
        Self { installation, process, token: None, active: None, refused: None, missing: None }
    }

    /// The token. Only [`Fence::hold`] acquires it, before a round follows its plan: acquired in the middle of one, it would
    /// make an order of this process the newest that was decided before another process's.
    ///
    /// # Errors
    /// There is none yet; says why.
    pub fn token(&self) -> Result<u64, AdminError> {
        let missing =
            || self.missing.clone().unwrap_or_else(|| AdminError::Nobody("no token was asked for yet".into()));
        self.token.ok_or_else(missing)
    }

    /// Acquires the first token.
    async fn take_over(&mut self, admin: &dyn NodeAdmin, peers: &[String]) -> Result<(), AdminError> {
        if let Some((_, refusal)) = self.refused.as_ref().filter(|(at, _)| clock::since(*at) < REFUSED) {
            return Err(refusal.clone());
        }
        let token = match self.acquire(admin, peers).await {
            Ok(token) => token,
            Err(error) => {
                let error = self.conflict(admin, peers, error).await;
                if matches!(error, AdminError::Conflict { .. }) {
                    self.refused = Some((clock::now(), error.clone()));
                }
                return Err(error);
            }
        };
        tracing::info!(token, "acquired the operator's token");
        (self.token, self.active, self.refused) = (Some(token), Some(clock::now()), None);
        Ok(())
    }

    /// Acquires the token, and from then on tells the nodes every 10 s that its process is at work. True: it was acquired
    /// just now, and until now another process may have changed what was seen.
    ///
    /// # Errors
    /// [`AdminError::Conflict`], and [`AdminError::TakenOver`], which is final. Nodes that could not be asked are no
    /// error here: what does not need them goes on, and whatever is ordered then says so.
    pub async fn hold(&mut self, admin: &dyn NodeAdmin, peers: &[String]) -> Result<bool, AdminError> {
        let Some(ours) = self.token else {
            self.missing = self.take_over(admin, peers).await.err();
            return match &self.missing {
                Some(conflict @ AdminError::Conflict { .. }) => Err(conflict.clone()),
                missing => Ok(missing.is_none()),
            };
        };
        if self.active.is_some_and(|at| clock::since(at) < HOLD) {
            return Ok(false);
        }
        // Asked first: to acquire would take the token from a newer process of the same installation.
        let Ok(state) = admin.cluster_state(peers).await else { return Ok(false) };
        let (theirs, installation) = (state.operator_token, state.operator_installation);
        if theirs > ours {
            return Err(AdminError::TakenOver { ours, theirs, installation });
        }
        match self.acquire(admin, peers).await {
            Ok(theirs) if theirs != ours => {
                Err(AdminError::TakenOver { ours, theirs, installation: self.installation.clone() })
            }
            Ok(_) => {
                self.active = Some(clock::now());
                Ok(false)
            }
            Err(refusal) => match self.explain(admin, peers, refusal).await {
                taken @ AdminError::TakenOver { .. } => Err(taken),
                _ => Ok(false),
            },
        }
    }

    /// Whether this process still is the one that works on the cluster, by the nodes' word just now: to be asked before a
    /// step that takes something away and that no token guards.
    ///
    /// # Errors
    /// [`AdminError::TakenOver`], which is final; the nodes cannot be asked, and then nobody knows.
    pub async fn confirm(&self, admin: &dyn NodeAdmin, peers: &[String]) -> Result<(), AdminError> {
        let ours = self.token()?;
        let state = admin.cluster_state(peers).await?;
        let (theirs, installation) = (state.operator_token, state.operator_installation);
        if theirs > ours { Err(AdminError::TakenOver { ours, theirs, installation }) } else { Ok(()) }
    }

    /// Gives an order. When it is refused, tells whether that is because another process has taken over.
    ///
    /// # Errors
    /// As of the call; [`AdminError::TakenOver`] is final.
    pub async fn order(
        &mut self,
        admin: &dyn NodeAdmin,
        peers: &[String],
        order: Order,
    ) -> Result<Vec<ReconfigureOutcome>, AdminError> {
        let token = self.token()?;
        match admin.order(peers, token, order).await {
            Err(refusal) => Err(self.explain(admin, peers, refusal).await),
            Ok(outcomes) => {
                self.active = Some(clock::now());
                Ok(outcomes)
            }
        }
    }

    /// Which of a refusal and a takeover it is: the cluster knows the token in force.
    pub async fn explain(&self, admin: &dyn NodeAdmin, peers: &[String], error: AdminError) -> AdminError {
        let (Some(ours), true) = (self.token, may_be_token(&error)) else { return error };
        match admin.cluster_state(peers).await {
            Ok(state) if state.operator_token > ours => {
                AdminError::TakenOver { ours, theirs: state.operator_token, installation: state.operator_installation }
            }
            _ => error,
        }
    }

    async fn acquire(&self, admin: &dyn NodeAdmin, peers: &[String]) -> Result<u64, AdminError> {
        let request = AcquireOperatorRequest { installation: self.installation.clone(), process: self.process.clone() };
        admin.acquire(peers, request).await
    }

    /// Whether a token was refused because another installation is at work: the cluster knows whose is in force.
    async fn conflict(&self, admin: &dyn NodeAdmin, peers: &[String], error: AdminError) -> AdminError {
        let AdminError::Refused { message, .. } = &error else { return error };
        if !may_be_token(&error) {
            return error;
        }
        match admin.cluster_state(peers).await {
            Ok(state) if state.operator_token != 0 && state.operator_installation != self.installation => {
                AdminError::Conflict { installation: state.operator_installation, message: message.clone() }
            }
            _ => error,
        }
    }
}

fn may_be_token(error: &AdminError) -> bool {
    let AdminError::Refused { code, .. } = error else { return false };
    matches!(code, Code::FailedPrecondition | Code::PermissionDenied | Code::Aborted)
}
