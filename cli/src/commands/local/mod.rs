//! `granary local`: runs a cluster on this machine.

use crate::{context::Context, failure::Failure};

/// Arguments of `granary local`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Does it.
pub async fn run(_context: &Context, _args: Args) -> Result<(), Failure> {
    Err(Failure::failed("this build cannot do that yet"))
}
