//! Who may change the cluster: one operator at a time, by a token that only grows.

use granary_proto::{
    admin::AcquireOperatorRequest,
    storage::{MetaState, OperatorHold, Refused},
};

use super::change::{Outcome, refused};
use crate::errors::code;

/// ms without a mutation after which another installation may take over.
pub const OPERATOR_ACTIVE_MS: u64 = 30_000;

/// Gives the caller a token. The same process gets the one it has; another process of the same installation takes over
/// at once; another installation only when the last one was silent for [`OPERATOR_ACTIVE_MS`].
pub(super) fn acquire(state: &mut MetaState, request: &AcquireOperatorRequest, now: u64) -> Outcome {
    for (field, text) in [("installation", &request.installation), ("process", &request.process)] {
        if text.is_empty() {
            return Err(refused(code::INVALID_ARGUMENT, format!("{field} is empty; a random id is wanted")));
        }
    }
    let held = state.operator.clone().unwrap_or_default();
    let same_installation = held.installation == request.installation;
    let silent_at = held.active_ms.saturating_add(OPERATOR_ACTIVE_MS);
    if held.token != 0 && !same_installation && now < silent_at {
        let message = format!(
            "installation {} operates this cluster (token {}); another one may take over when it was silent for {} s: \
             in {} s at the earliest. Stop it, or wait",
            held.installation,
            held.token,
            OPERATOR_ACTIVE_MS / 1000,
            (silent_at - now).div_ceil(1000),
        );
        return Err(refused(code::FAILED_PRECONDITION, message));
    }
    let same_process = held.token != 0 && same_installation && held.process == request.process;
    let token = if same_process { held.token } else { held.token + 1 };
    state.operator = Some(OperatorHold {
        token,
        installation: request.installation.clone(),
        process: request.process.clone(),
        active_ms: held.active_ms.max(now),
    });
    Ok(token)
}

/// Checks the token of a mutation, and notes that its operator is active.
pub(super) fn check(state: &mut MetaState, token: u64, now: u64) -> Result<(), Refused> {
    match &mut state.operator {
        Some(held) if held.token == token => {
            held.active_ms = held.active_ms.max(now);
            Ok(())
        }
        Some(held) => {
            let message = format!(
                "operator_token {token} is not in force, {} is (of installation {}); call AcquireOperator again",
                held.token, held.installation
            );
            Err(refused(code::FAILED_PRECONDITION, message))
        }
        None => {
            let message = format!("operator_token {token} was never given out; call AcquireOperator first");
            Err(refused(code::FAILED_PRECONDITION, message))
        }
    }
}
