//! What a member finds on its disk at start, turned into running replicas.

use std::collections::{BTreeMap, BTreeSet};

use granary_common::{NodeId, ReplicaId, ShardId};
use granary_duties::{
    replicas::tombstone,
    restart::{Fit, LogFound, fit},
};
use granary_engine::{
    EngineError, LogBatch, Stores,
    raft_store::{LogId, RecoveredLog, TailLimits},
};
use granary_machine::{ApplyError, meta};
use granary_proto::{
    map::ClusterMap,
    storage::{MetaState, ReplicaRecord, ShardState},
};
use granary_store::{Founding, Recovered};
use prost::Message as _;
use thiserror::Error;

/// Why a member's stores cannot be used.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// Reading or repairing failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The state of the meta shard does not decode.
    #[error(transparent)]
    Meta(#[from] ApplyError),
    /// The copy of the cluster map does not decode.
    #[error("the copy of the cluster map in raft/ does not decode: {0}")]
    Map(#[source] prost::DecodeError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// A replica as it was left.
pub(crate) struct Found {
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
    pub(crate) recovered: Recovered,
    pub(crate) founding: Founding,
    /// `None` for one without state: it waits for a snapshot.
    pub(crate) state: Option<ShardState>,
}

/// All of it.
pub(crate) struct FoundAll {
    pub(crate) replicas: Vec<Found>,
    pub(crate) records: BTreeMap<ShardId, ReplicaRecord>,
    pub(crate) meta: Option<MetaState>,
    pub(crate) map: ClusterMap,
    pub(crate) incarnations: Vec<(NodeId, u64)>,
}

/// Reads everything and finishes what a crash has cut off: destructions, installs between the two stores, first states
/// without their record.
pub(crate) fn recover(stores: &Stores, tail: TailLimits) -> Result<FoundAll, RecoveryError> {
    let on_disk = stores.raft.recover()?;
    let mut lost_data = BTreeSet::new();
    for cut in stores.data.interrupted_installs()? {
        tracing::warn!(shard = cut.shard.0, "an install was cut off: the shard is emptied and asked for again");
        stores.data.empty_shard(cut.shard)?;
        lost_data.insert(cut.shard);
    }
    let mut repairs = LogBatch::new();
    for orphan in on_disk.orphans {
        repairs.delete_log(orphan);
    }
    let mut records = BTreeMap::new();
    let mut replicas = Vec::new();
    for found in on_disk.replicas {
        let mut record = found.record;
        let shard = ShardId(record.shard_id);
        if record.destroying {
            stores.data.empty_shard(shard)?;
            repairs.delete_log(LogId { shard, replica: ReplicaId(record.replica_id) });
            record = tombstone(&record);
            repairs.put_record(record);
        }
        if record.replica_id != 0 {
            let log = LogId { shard, replica: ReplicaId(record.replica_id) };
            replicas.push(restart(stores, log, lost_data.contains(&shard), tail, &mut repairs)?);
        }
        records.insert(shard, record);
    }
    // A first state is written before its record: without one, the replica was never there.
    for state in stores.data.shard_states()? {
        let shard = ShardId(state.shard_id);
        if records.get(&shard).is_none_or(|record| record.replica_id == 0) {
            stores.data.empty_shard(shard)?;
        }
    }
    if !repairs.is_empty() {
        repairs.require_sync();
        stores.raft.write(repairs)?;
    }
    let map = match on_disk.map {
        Some(bytes) => ClusterMap::decode(bytes).map_err(RecoveryError::Map)?,
        None => ClusterMap::default(),
    };
    Ok(FoundAll {
        replicas,
        records,
        meta: meta::load(&stores.data.view())?,
        map,
        incarnations: on_disk.incarnations.into_iter().collect(),
    })
}

/// How a replica starts whose state was thrown away: its log holds what it has promised.
pub(crate) fn without_state(stores: &Stores, log: LogId) -> Result<Recovered, EngineError> {
    // Of no use before the snapshot: the entries behind it are read when they are needed.
    let tail = TailLimits { entries: usize::MAX, bytes: usize::MAX };
    let truncated = stores.raft.recover_log(log, 0, TailLimits { entries: 0, bytes: 0 })?.truncated;
    let found = stores.raft.recover_log(log, truncated.index, tail)?;
    Ok(Recovered {
        hard_state: found.hard_state,
        truncated: found.truncated,
        terms: found.terms,
        last_index: found.last.index,
        entries: found.entries,
        applied: found.truncated.index,
        data_lost: true,
        ..Recovered::default()
    })
}

fn restart(
    stores: &Stores,
    log: LogId,
    install_cut: bool,
    tail: TailLimits,
    repairs: &mut LogBatch,
) -> Result<Found, RecoveryError> {
    let state = stores.data.shard_state(log.shard)?;
    let applied = state.as_ref().map_or(0, |state| state.applied_index);
    let mut found = stores.raft.recover_log(log, applied, tail)?;
    let on_disk = LogFound {
        hard_state: found.hard_state,
        truncated: found.truncated,
        last: found.last,
        term_at_applied: found.term_at(applied),
    };
    let fit = fit(state.as_ref(), &on_disk);
    match fit {
        Fit::Whole => {}
        Fit::LogAnew { at, hard_state } => {
            repairs.restart_log(log, at, hard_state);
            found = RecoveredLog { hard_state, truncated: at, last: at, ..RecoveredLog::default() };
        }
        Fit::DataLost => {
            tracing::warn!(
                shard = log.shard.0,
                install_cut,
                "the log is sound but the data is not: asking for a snapshot"
            );
            stores.data.empty_shard(log.shard)?;
            found = stores.raft.recover_log(log, found.truncated.index, tail)?;
        }
    }
    let data_lost = fit == Fit::DataLost;
    let state = state.filter(|_| !data_lost);
    let recovered = Recovered {
        hard_state: found.hard_state,
        truncated: found.truncated,
        terms: found.terms,
        last_index: found.last.index,
        entries: found.entries,
        applied: if data_lost { found.truncated.index } else { applied },
        conf_state: state.as_ref().and_then(|state| state.conf_state.clone()).unwrap_or_default(),
        group: state.as_ref().and_then(|state| state.group.clone()).unwrap_or_default(),
        data_lost,
    };
    Ok(Found { shard: log.shard, replica: log.replica, recovered, founding: Founding::Restarted, state })
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
