//! `granary delete`: deletes a key, or a range of keys.

use granary_client::{DeleteRange, Part};
use serde_json::json;

use crate::{context::Context, failure::Failure, output};

/// Arguments of `granary delete`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary delete greeting              fine, too, when the key is not there
  granary delete --range logs/ logs0   all keys k with logs/ <= k < logs0, shard by shard
  granary delete --tag user7           all keys with the tag {user7}, at once
  granary delete greeting -o json      {\"existed\",\"revision\"}
  granary delete --tag user7 -o json   {\"shards\":[{\"shard_id\",\"revision\" or \"error\"}]}")]
pub struct Args {
    /// The key: 1 to 4,096 bytes
    #[arg(required_unless_present_any = ["range", "tag"], conflicts_with_all = ["range", "tag"])]
    pub key: Option<String>,
    /// Delete all keys from START up to END, without END; an empty END is no bound
    #[arg(long, num_args = 2, value_names = ["START", "END"])]
    pub range: Option<Vec<String>>,
    /// Delete only keys with this tag (the part in braces), atomically
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tag: Option<String>,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let client = context.client().await?;
    let Some(key) = args.key else {
        let mut bounds = args.range.unwrap_or_default().into_iter().map(Into::into);
        let (start, end) = (bounds.next().unwrap_or_default(), bounds.next().unwrap_or_default());
        let range = DeleteRange { start, end, tag: args.tag.unwrap_or_default().into() };
        return report(context, &client.delete_range(range).await?);
    };
    let deleted = client.delete(key).await?;
    match (context.json(), deleted.existed) {
        (true, existed) => output::json(&json!({ "existed": existed, "revision": deleted.revision })),
        (false, true) => output::line(&format!("deleted at revision {}", deleted.revision)),
        (false, false) => output::line("was not there"),
    }
}

fn report(context: &Context, parts: &[Part]) -> Result<(), Failure> {
    if context.json() {
        let shards: Vec<_> = parts
            .iter()
            .map(|part| match &part.result {
                Ok(revision) => json!({ "shard_id": part.shard_id, "revision": revision }),
                Err(error) => json!({ "shard_id": part.shard_id, "error": error.to_string() }),
            })
            .collect();
        output::json(&json!({ "shards": shards }))?;
    }
    let failed: Vec<String> = parts
        .iter()
        .filter_map(|part| Some(format!("shard {}: {}", part.shard_id, part.result.as_ref().err()?)))
        .collect();
    match failed.as_slice() {
        [] if context.json() => Ok(()),
        [] => output::line(&format!("deleted in {} shards", parts.len())),
        failed => Err(Failure::failed(format!(
            "the range was not deleted in {} of {} shards; run it again. {}",
            failed.len(),
            parts.len(),
            failed.join("; ")
        ))),
    }
}
