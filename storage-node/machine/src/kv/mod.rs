//! The machine of a data shard: what an entry does to its rows, and what a read finds there.
//!
//! Knows nothing of the cluster map, of who leads, or of time but what the entry carries.
//!
//! The way of a write: a request of the wire becomes a `Command` by one of the `..._command` functions, which validate;
//! [`apply`] turns the command into rows and an `Answer`; one of the `..._response` functions turns that into what the
//! wire answers.

mod answers;
mod apply;
mod bounds;
mod convert;
mod guard;
mod read;
mod refusal;
mod respond;
mod scan;
mod sweep;
mod validate;

#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod retry_tests;
#[cfg(test)]
mod scan_tests;
#[cfg(test)]
mod validate_tests;

pub use apply::apply;
pub use bounds::tag_slot;
pub use convert::{
    batch_command, compare_and_set_command, delete_command, delete_range_command, put_command, split_writes,
    txn_command,
};
pub use read::{ReadError, get};
pub use refusal::{Invalid, kv_error, reason_code};
pub use respond::{compare_and_set_response, delete_response, put_response, shard_outcome, txn_response};
pub use scan::scan_page;
pub use validate::{
    validate_batch, validate_compare_and_set, validate_delete, validate_delete_range, validate_get, validate_put,
    validate_scan, validate_txn,
};
