//! `granary shard`: looks at shards.

use crate::{context::Context, failure::Failure};

/// Arguments of `granary shard`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Does it.
pub async fn run(_context: &Context, _args: Args) -> Result<(), Failure> {
    Err(Failure::failed("this build cannot do that yet"))
}
