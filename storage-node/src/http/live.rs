//! What a scrape shows of the running node: read at that moment, kept nowhere.

use granary_common::ShardId;
use granary_machine::shard;
use granary_store::{Role, Stands};

use crate::{drivers::HealthSample, member::Member, scrub::ScrubSample};

/// The node at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Replicas here.
    pub shards: Vec<ShardSample>,
    /// Version of the node's copy of the cluster map.
    pub map_version: u64,
    /// Requests that the store could take now.
    pub requests_free: usize,
    /// Writes are refused for lack of disk space.
    pub read_only: bool,
    /// What the watchdog found.
    pub health: HealthSample,
    /// What scrub found.
    pub scrub: ScrubSample,
    /// The Raft logs.
    pub raft: StoreSample,
    /// The state machines.
    pub data: StoreSample,
}

/// One RocksDB instance since its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StoreSample {
    /// Syncs to disk.
    pub syncs: u64,
    /// Bytes of batches.
    pub bytes_written: u64,
}

/// One replica.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShardSample {
    /// Its shard.
    pub shard: ShardId,
    /// Whether it leads.
    pub leads: bool,
    /// Whether its group is at rest.
    pub quiesced: bool,
    /// Last entry applied; 0 while it waits for its snapshot.
    pub applied_index: u64,
    /// Revision of the last write.
    pub revision: u64,
    /// Rough size of its rows.
    pub bytes: u64,
    /// Whether it stands still.
    pub stands: Stands,
}

/// Reads everything: a row a replica, and some counters.
pub fn sample(member: &Member) -> Sample {
    let view = member.data.view();
    let published = member.store.all_published();
    let shards = published.iter().map(|published| {
        // A row that cannot be read shows as 0 here; whoever needs it says what is wrong.
        let state = shard::load(&view, published.shard).ok().flatten().unwrap_or_default();
        ShardSample {
            shard: published.shard,
            leads: published.role == Role::Leader,
            quiesced: published.quiesced,
            applied_index: state.applied_index,
            revision: state.revision,
            bytes: member.data.most_bytes(&state),
            stands: published.stands,
        }
    });
    Sample {
        shards: shards.collect(),
        map_version: member.map.current().version,
        requests_free: member.store.free_requests(),
        read_only: member.space.is_read_only(),
        scrub: member.scrub.sample(member),
        health: member.drivers.health.sample(),
        raft: StoreSample { syncs: member.raft.syncs(), bytes_written: member.raft.bytes_written() },
        data: StoreSample { syncs: member.data.syncs(), bytes_written: member.data.bytes_written() },
    }
}
