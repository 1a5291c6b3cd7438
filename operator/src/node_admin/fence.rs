//! The fencing token: acquired once by each process, and what it means when it is refused.

use granary_proto::admin::{AcquireOperatorRequest, ReconfigureOutcome};
use tonic::Code;
use uuid::Uuid;

use super::{AdminError, NodeAdmin, Order};

/// This process's right to order.
#[derive(Debug)]
pub struct Fence {
    installation: String,
    process: String,
    token: Option<u64>,
}

impl Fence {
    /// Of a new process of this installation; without a token yet.
    pub fn new(installation: String) -> Self {
        Self { installation, process: Uuid::new_v4().to_string(), token: None }
    }

    /// The token, acquired when there is none.
    ///
    /// # Errors
    /// No node can be asked, or another installation was active in the last 30 s.
    pub async fn token(&mut self, admin: &dyn NodeAdmin, peers: &[String]) -> Result<u64, AdminError> {
        if let Some(token) = self.token {
            return Ok(token);
        }
        let request = AcquireOperatorRequest { installation: self.installation.clone(), process: self.process.clone() };
        let token = admin.acquire(peers, request).await?;
        tracing::info!(token, "acquired the operator's token");
        self.token = Some(token);
        Ok(token)
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
        let token = self.token(admin, peers).await?;
        match admin.order(peers, token, order).await {
            Err(refusal) => Err(self.explain(admin, peers, refusal).await),
            done => done,
        }
    }

    /// Which of a refusal and a takeover it is: the cluster knows the token in force.
    pub async fn explain(&self, admin: &dyn NodeAdmin, peers: &[String], error: AdminError) -> AdminError {
        let AdminError::Refused { code, .. } = &error else { return error };
        let may_be_token = matches!(code, Code::FailedPrecondition | Code::PermissionDenied | Code::Aborted);
        let (Some(ours), true) = (self.token, may_be_token) else { return error };
        match admin.cluster_state(peers).await {
            Ok(state) if state.operator_token > ours => {
                AdminError::TakenOver { ours, theirs: state.operator_token, installation: state.operator_installation }
            }
            _ => error,
        }
    }
}
