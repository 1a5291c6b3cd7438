//! `granary status`: says what the cluster is doing.

use crate::{context::Context, failure::Failure};

/// Arguments of `granary status`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Does it.
pub async fn run(_context: &Context, _args: Args) -> Result<(), Failure> {
    Err(Failure::failed("this build cannot do that yet"))
}
