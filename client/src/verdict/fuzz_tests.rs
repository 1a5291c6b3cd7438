//! Answers of any bytes, as a broken node or a broken way may send them: each has one meaning, and "not applied" is
//! never concluded from what says nothing of it.

use granary_fuzz::{cases, damage, wire};
use granary_proto::kv::{PipeResponse, Reason, pipe_response::Response};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::*;

fn judged(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(PipeResponse { response: Some(response), .. }) = PipeResponse::decode(bytes) else { return Ok(()) };
    let reason = match &response {
        Response::Error(error) => Some(error.reason()),
        _ => None,
    };
    let Judged { verdict, .. } = judge(response);
    match reason {
        None => prop_assert!(!matches!(verdict, Verdict::Done(Response::Error(_)))),
        Some(reason) => {
            prop_assert!(!matches!(verdict, Verdict::Done(_)), "an error is taken for the answer");
            if matches!(reason, Reason::OutcomeUnknown | Reason::Unspecified | Reason::Internal) {
                let open = matches!(verdict, Verdict::Unknown | Verdict::Broken(_));
                prop_assert!(open, "{reason:?} says nothing of what was applied: {verdict:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(2_048))]

    #[test]
    fn an_answer_of_any_bytes_has_a_meaning(
        bytes in wire::message(),
        reason in 0..24_i32,
        code in any::<u32>(),
        message in ".{0,8}",
        damages in damage::damages(),
        rest in vec(any::<u8>(), 0..8),
    ) {
        let mut error = kv::Error::decode(&*bytes).unwrap_or_default();
        (error.reason, error.code, error.message) = (reason, code, message);
        let answer = PipeResponse { response: Some(Response::Error(error)), ..PipeResponse::default() };
        let good = answer.encode_to_vec();
        judged(&good)?;
        judged(&bytes)?;
        judged(&damage::apply(&damages, &good))?;
        judged(&[good, rest].concat())?;
    }
}
