//! `granary plan`: prints the steps that would bring the cluster to what a file asks.

use crate::{context::Context, failure::Failure};

/// Arguments of `granary plan`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Does it.
pub async fn run(_context: &Context, _args: Args) -> Result<(), Failure> {
    Err(Failure::failed("this build cannot do that yet"))
}
