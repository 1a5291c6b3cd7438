//! The details of a status, as another node or whatever stands between may send them: our own error, or none.

use granary_fuzz::{cases, damage, wire};
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(cases(1_024))]

    #[test]
    fn details_of_any_bytes_hold_our_error_or_none(
        bytes in wire::message(),
        code in 0..20_u32,
        damages in damage::damages(),
    ) {
        let mut error = Error::decode(&*bytes).unwrap_or_default();
        error.code = code;
        let status = to_status(&error);
        prop_assert_eq!(from_status(&status), (error.reason() != Reason::Unspecified).then_some(error));
        for details in [damage::apply(&damages, status.details()), bytes] {
            let status = Status::with_details(status.code(), "", Bytes::from(details));
            prop_assert!(from_status(&status).is_none_or(|error| error.reason() != Reason::Unspecified));
        }
    }
}
