//! Who may change the cluster: AcquireOperator, and the check of its token where no entry of the meta shard does it.

use granary_proto::{
    admin::{AcquireOperatorRequest, AcquireOperatorResponse},
    storage::{MetaState, meta_command::Operation},
};
use tonic::Status;

use super::check;
use crate::{member::Member, meta::done};

pub(super) async fn acquire(
    member: &Member,
    request: AcquireOperatorRequest,
) -> Result<AcquireOperatorResponse, Status> {
    check::text("installation", &request.installation)?;
    check::text("process", &request.process)?;
    let token = done(member.meta.propose(Operation::AcquireOperator(request)).await?)?;
    Ok(AcquireOperatorResponse { token })
}

/// Whether the token is the one in force.
pub(super) fn check_token(state: &MetaState, token: u64) -> Result<(), Status> {
    let held = state.operator.as_ref().map_or(0, |operator| operator.token);
    if token != 0 && token == held {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "operator_token {token} is not in force, {held} is; call AcquireOperator again"
    )))
}

#[cfg(test)]
mod tests {
    use granary_proto::storage::OperatorHold;

    use super::*;

    #[test]
    fn only_the_token_in_force_moves_leaders() {
        let operator = OperatorHold { token: 3, ..OperatorHold::default() };
        let state = MetaState { operator: Some(operator), ..MetaState::default() };
        assert!(check_token(&state, 3).is_ok());
        assert!(check_token(&state, 2).unwrap_err().message().contains("operator_token 2"));
        assert!(check_token(&MetaState::default(), 0).is_err(), "no token is no leave");
    }
}
