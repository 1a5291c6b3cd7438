//! `granary plan`: prints the steps that would bring the local cluster to what a file asks. Changes nothing.

use std::path::PathBuf;

use granary_operator::{
    node_admin::GrpcAdmin,
    reconcile::preview,
    report::migration,
    spec_file::SpecFile,
    substrate::{
        Look,
        local::{empty, layout::Layout, peek},
    },
};
use granary_planner::{Plan, safety};
use serde::Serialize;

use crate::{context::Context, failure::Failure, output};

/// Arguments of `granary plan`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The StorageCluster (YAML)
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Preview<'a> {
    plan: &'a Plan,
    /// Replicas that would move now.
    replicas_to_move: u64,
    /// Bytes to copy for them.
    bytes_to_move: u64,
    /// The fewest voters that a shard can lose and keep its quorum; absent when the cluster cannot be asked.
    quorum_margin: Option<i64>,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let file = SpecFile::open(&args.file).map_err(Failure::failed)?;
    let look = look(context)?;
    let (_, sight, plan) = preview(&file.cluster().spec, &look, &GrpcAdmin::default()).await;
    let known = sight.observed.cluster.known();
    let (replicas_to_move, bytes_to_move) = known.map_or((0, 0), |cluster| migration::counts(&plan, cluster));
    let quorum_margin = sight.observed.cluster.fresh().map(safety::quorum_margin);
    let preview = Preview { plan: &plan, replicas_to_move, bytes_to_move, quorum_margin };
    if context.json() {
        return output::json(&preview);
    }
    output::raw(plan.render().as_bytes())?;
    let bytes = super::status::bytes(bytes_to_move);
    output::line(&format!("{replicas_to_move} replicas to move, {bytes} to copy"))?;
    match preview.quorum_margin {
        Some(margin) => output::line(&format!("quorum margin: every shard can lose {margin} more voters")),
        None => output::line("quorum margin: not known, since the cluster does not answer"),
    }
}

fn look(context: &Context) -> Result<Look, Failure> {
    if !context.dir().is_dir() {
        return Ok(empty());
    }
    peek(&Layout::of(context.dir()).map_err(Failure::failed)?).map_err(Failure::failed)
}
