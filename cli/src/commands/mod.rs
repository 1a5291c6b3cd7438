//! A file per subcommand: its arguments and what it does.

pub mod local;
pub mod node;
pub mod plan;
pub mod shard;
pub mod status;

use crate::{args::Command, context::Context, failure::Failure};

/// Does what `command` says.
pub async fn dispatch(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Local(args) => local::run(context, args).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Plan(args) => plan::run(context, args).await,
        Command::Shard(args) => shard::run(context, args).await,
        Command::Node(args) => node::run(context, args).await,
    }
}
