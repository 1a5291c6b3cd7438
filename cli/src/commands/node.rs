//! `granary node`: looks at nodes and empties them.

use crate::{context::Context, failure::Failure};

/// Arguments of `granary node`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Does it.
pub async fn run(_context: &Context, _args: Args) -> Result<(), Failure> {
    Err(Failure::failed("this build cannot do that yet"))
}
