//! A file per subcommand: its arguments and what it does.

pub mod bench;
pub mod cas;
pub mod completion;
pub mod delete;
pub mod get;
pub mod load;
pub mod local;
pub mod node;
pub mod plan;
pub mod put;
pub mod scan;
pub mod shard;
pub mod status;
pub mod verify;
mod verify_replicas;

use crate::{args::Command, context::Context, failure::Failure};

/// Does what `command` says.
pub async fn dispatch(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Get(args) => get::run(context, args).await,
        Command::Put(args) => put::run(context, args).await,
        Command::Delete(args) => delete::run(context, args).await,
        Command::Cas(args) => cas::run(context, args).await,
        Command::Scan(args) => scan::run(context, args).await,
        Command::Load(args) => load::run(context, args).await,
        Command::Verify(args) => verify::run(context, args).await,
        Command::Bench(args) => bench::run(context, args).await,
        Command::Completion(args) => completion::run(context, args).await,
        Command::Local(args) => local::run(context, args).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Plan(args) => plan::run(context, args).await,
        Command::Shard(args) => shard::run(context, args).await,
        Command::Node(args) => node::run(context, args).await,
    }
}
