//! `cluster.json`: what must outlive the loop. Only the holder of the lock writes it.

#[cfg(test)]
mod fuzz_tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{files, layout::Layout};
use crate::substrate::{Founding, SubstrateError};

const FORMAT: u32 = 1;

/// The content of `cluster.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Raised when the meaning of a field changes.
    pub(super) format: u32,
    /// Random, made with the directory.
    pub(super) installation: String,
    pub(super) cluster_id: Option<String>,
    pub(super) founded: bool,
    #[serde(default)]
    pub(super) founding: Option<Founding>,
    /// By index.
    pub(super) places: BTreeMap<u32, PlaceRecord>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlaceRecord {
    pub(super) kv_port: u16,
    pub(super) peer_port: u16,
    pub(super) metrics_port: u16,
    /// Given up: nothing brings it back.
    #[serde(default)]
    pub(super) retiring: bool,
}

impl Record {
    /// What the directory holds; a new record in an empty one.
    pub(super) fn load_or_create(layout: &Layout) -> Result<Self, SubstrateError> {
        if let Some(record) = Self::load(layout)? {
            return Ok(record);
        }
        let record = Self {
            format: FORMAT,
            installation: Uuid::new_v4().to_string(),
            cluster_id: None,
            founded: false,
            founding: None,
            places: BTreeMap::new(),
        };
        record.save(layout)?;
        Ok(record)
    }

    /// What the directory holds; `None`: it is not the directory of a cluster.
    pub(super) fn load(layout: &Layout) -> Result<Option<Self>, SubstrateError> {
        let path = layout.record();
        let Some(content) = files::read(&path)? else { return Ok(None) };
        let record: Self = serde_json::from_slice(&content)
            .map_err(|error| SubstrateError::Damaged(format!("{} is damaged: {error}", path.display())))?;
        if record.format != FORMAT {
            let message = format!("{}: format is {}, allowed: {FORMAT}", path.display(), record.format);
            return Err(SubstrateError::Damaged(message));
        }
        Ok(Some(record))
    }

    pub(super) fn save(&self, layout: &Layout) -> Result<(), SubstrateError> {
        let content = serde_json::to_vec_pretty(self)
            .map_err(|error| SubstrateError::Damaged(format!("cluster.json cannot be written: {error}")))?;
        files::replace_synced(&layout.record(), &content)
    }
}
