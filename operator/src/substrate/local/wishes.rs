//! `wishes.json`: what a person asked of nodes. The command writes it, the loop reads it in each round; nothing else
//! writes it, so neither overwrites the other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{files, layout::Layout};
use crate::substrate::SubstrateError;

/// What a person asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Ids of nodes that shall be empty until the wish is taken back.
    pub draining: Vec<u64>,
}

/// What was asked so far.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read(layout: &Layout) -> Result<Wishes, SubstrateError> {
    let path = layout.wishes();
    let Some(content) = files::read(&path)? else { return Ok(Wishes::default()) };
    serde_json::from_slice(&content)
        .map_err(|error| SubstrateError::Damaged(format!("{} is damaged: {error}", path.display())))
}

/// Adds or takes back the wish that a node be drained. Idempotent.
///
/// # Errors
/// The file cannot be read or written.
pub fn drain(layout: &Layout, node: u64, wanted: bool) -> Result<(), SubstrateError> {
    let mut draining: BTreeSet<u64> = read(layout)?.draining.into_iter().collect();
    let changed = if wanted { draining.insert(node) } else { draining.remove(&node) };
    if !changed {
        return Ok(());
    }
    let wishes = Wishes { draining: draining.into_iter().collect() };
    let content = serde_json::to_vec(&wishes)
        .map_err(|error| SubstrateError::Damaged(format!("wishes.json cannot be written: {error}")))?;
    files::replace_synced(&layout.wishes(), &content)
}
