//! What is stored in clusters, and whether it is still there.

pub mod client_pod;
pub mod fill;
pub mod load;
pub mod reader;

use granary_tests::writer::Writer;

use crate::failure::{Result, failed};

/// Ends the writer, and fails unless it wrote, every acknowledged write is there, and none ended unknown after all
/// retries. Gives how many were acknowledged.
pub async fn nothing_lost(writer: Writer) -> Result<u64> {
    let unknown = writer.unknown();
    let errors = writer.errors();
    match lost_nothing_acknowledged(writer).await? {
        _ if unknown > 0 => failed(format!("{unknown} writes ended unknown after all retries: {errors:?}")),
        acknowledged => Ok(acknowledged),
    }
}

/// The same, where writes may end unknown: while there is no quorum for longer than the client waits.
pub async fn lost_nothing_acknowledged(mut writer: Writer) -> Result<u64> {
    writer.stop().await;
    let checked = writer.check().await?;
    match (checked.acknowledged, checked.lost) {
        (0, _) => failed(format!("the writer never wrote: {:?}", writer.errors())),
        (acknowledged, 0) => Ok(acknowledged),
        (_, lost) => failed(format!("{lost} acknowledged writes are lost: {:?}", writer.errors())),
    }
}
