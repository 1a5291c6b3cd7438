//! The states of the replicas of a node, and what committed entries make of them: all writes of a batch of entries, the
//! applied indexes among them, so that one write of the store makes all of it or nothing (HAZARDS H4).

use std::{collections::HashMap, iter};

use bytes::Bytes;
use granary_common::{
    META_SHARD, ReplicaId, ShardId,
    log::{EntryKind, TornPack},
};
use granary_machine::{ApplyError, Overlay, View, Write, kv, meta, shard};
use granary_proto::storage::{self, Command, MetaCommand, MetaState, ShardState};
use granary_store::{Apply, ApplyEntry, Ticket};
use thiserror::Error;

/// What became of a command that was applied here.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Of a data shard.
    Data(storage::Answer),
    /// Of the meta shard.
    Meta(storage::MetaAnswer),
}

/// An entry cannot be applied: the node must stop.
#[derive(Debug, Error)]
pub enum Problem {
    /// It is of an unknown form.
    #[error("entry {index} of {shard} does not decode: {source}")]
    Decode {
        /// The shard.
        shard: ShardId,
        /// The entry's index.
        index: u64,
        /// Why.
        source: prost::DecodeError,
    },
    /// So is one with several commands.
    #[error("entry {index} of {shard}: {source}")]
    Torn {
        /// The shard.
        shard: ShardId,
        /// The entry's index.
        index: u64,
        /// Why.
        source: TornPack,
    },
    /// Nothing was made for it here.
    #[error("{0} has entries to apply, but no state here")]
    NoState(ShardId),
    /// The machine cannot.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// One replica's.
#[derive(Clone, Debug)]
pub struct ReplicaState {
    /// The replica.
    pub id: ReplicaId,
    /// Its state.
    pub state: ShardState,
}

/// See the module.
#[derive(Debug, Default)]
pub struct States {
    replicas: HashMap<ShardId, ReplicaState>,
    meta: Option<MetaState>,
}

/// What a batch of entries makes: to be written as one, and only then told.
#[derive(Debug, Default)]
pub struct Batch {
    /// All writes, in their order.
    pub writes: Vec<Write>,
    /// What callers here hear.
    pub answers: Vec<(Ticket, Option<Applied>)>,
    /// Shards that moved on, each once.
    pub touched: Vec<ShardId>,
}

impl States {
    /// The replica of this state lives here from now on.
    pub fn adopt(&mut self, id: ReplicaId, state: ShardState) {
        self.replicas.insert(ShardId(state.shard_id), ReplicaState { id, state });
    }

    /// The state of the meta shard, as it was read or given.
    pub fn adopt_meta(&mut self, meta: Option<MetaState>) {
        self.meta = meta;
    }

    /// The replica of this shard is gone.
    pub fn remove(&mut self, shard: ShardId) {
        self.replicas.remove(&shard);
        if shard == META_SHARD {
            self.meta = None;
        }
    }

    /// The replica of a shard.
    pub fn get(&self, shard: ShardId) -> Option<&ReplicaState> {
        self.replicas.get(&shard)
    }

    /// The state of the meta shard.
    pub fn meta(&self) -> Option<&MetaState> {
        self.meta.as_ref()
    }

    /// Applies all entries above `view`.
    ///
    /// # Errors
    /// The node must stop, and nothing of the batch be written.
    pub fn apply(&mut self, view: &(impl View + ?Sized), applies: Vec<Apply>) -> Result<Batch, Problem> {
        let mut overlay = Overlay::new(view);
        let mut batch = Batch::default();
        for apply in applies {
            if !batch.touched.contains(&apply.shard) {
                batch.touched.push(apply.shard);
            }
            self.entries(&mut overlay, apply, &mut batch.answers)?;
        }
        for id in &batch.touched {
            if let Some(replica) = self.replicas.get(id) {
                shard::save(&mut overlay, &replica.state);
            }
            if *id == META_SHARD
                && let Some(state) = &self.meta
            {
                meta::save(&mut overlay, state);
            }
        }
        batch.writes = overlay.into_writes();
        Ok(batch)
    }

    fn entries(
        &mut self,
        overlay: &mut Overlay<'_, impl View + ?Sized>,
        apply: Apply,
        answers: &mut Vec<(Ticket, Option<Applied>)>,
    ) -> Result<(), Problem> {
        let Some(replica) = self.replicas.get_mut(&apply.shard).filter(|replica| replica.id == apply.replica) else {
            return Err(Problem::NoState(apply.shard));
        };
        for ApplyEntry { entry, tickets, membership } in apply.entries {
            let state = &mut replica.state;
            let done: Vec<Applied> = if entry.kind == EntryKind::ConfChange || entry.data.is_empty() {
                let turn = shard::advance(state, entry.index, entry.term)?;
                if let (shard::Turn::Next, Some(change)) = (turn, membership) {
                    state.conf_state = Some(change.conf_state);
                    state.group = Some(change.group);
                }
                Vec::new()
            } else if apply.shard == META_SHARD {
                let meta = self.meta.as_mut().ok_or(Problem::NoState(META_SHARD))?;
                let done = apply_meta(state, meta, entry.data, entry.index, entry.term)?;
                done.map(Applied::Meta).into_iter().collect()
            } else {
                let torn = |source| Problem::Torn { shard: apply.shard, index: entry.index, source };
                let commands = entry.commands().map_err(torn)?.into_iter();
                let commands = commands.map(|command| decode::<Command>(apply.shard, entry.index, command));
                let commands = commands.collect::<Result<Vec<_>, _>>()?;
                let done = kv::apply(overlay, state, &commands, entry.index, entry.term)?;
                done.into_iter().flatten().map(Applied::Data).collect()
            };
            let done = done.into_iter().map(Some).chain(iter::repeat_with(|| None));
            answers.extend(tickets.into_iter().zip(done));
        }
        Ok(())
    }
}

fn apply_meta(
    state: &mut ShardState,
    meta: &mut MetaState,
    data: Bytes,
    index: u64,
    term: u64,
) -> Result<Option<storage::MetaAnswer>, Problem> {
    if shard::advance(state, index, term)? == shard::Turn::Applied {
        return Ok(None);
    }
    let command = decode::<MetaCommand>(META_SHARD, index, data)?;
    Ok(Some(meta::apply(meta, &command, index)?))
}

fn decode<M: prost::Message + Default>(shard: ShardId, index: u64, data: Bytes) -> Result<M, Problem> {
    M::decode(data).map_err(|source| Problem::Decode { shard, index, source })
}

#[cfg(test)]
mod tests {
    use granary_common::{SlotRange, log::Entry};
    use granary_machine::testing::MemView;
    use granary_proto::{kv::PutRequest, map::Group};
    use prost::Message as _;

    use super::*;

    fn states() -> States {
        let mut states = States::default();
        let group = Group { version: 1, ..Group::default() };
        states.adopt(ReplicaId(7), shard::new(ShardId(1), SlotRange::ALL, group));
        states
    }

    fn put(index: u64) -> Apply {
        let request = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
        let data = kv::put_command(request).unwrap().encode_to_vec().into();
        let entry = Entry { index, term: 6, kind: EntryKind::Normal, data, context: Bytes::new() };
        let entries = vec![ApplyEntry { entry, tickets: vec![index], membership: None }];
        Apply { shard: ShardId(1), replica: ReplicaId(7), entries }
    }

    #[test]
    fn a_batch_holds_what_the_entries_wrote_and_how_far_they_reach() {
        let mut stored = MemView::default();
        let batch = states().apply(&stored, vec![put(6), put(7)]).unwrap();
        assert_eq!(batch.touched, [ShardId(1)]);
        assert_eq!(batch.answers.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [6, 7]);
        stored.write(batch.writes);
        assert_eq!(shard::load(&stored, ShardId(1)).unwrap().unwrap().applied_index, 7);
        assert!(kv::get(&stored, SlotRange::ALL, b"k").unwrap().found);
    }

    #[test]
    fn entries_for_a_replica_that_is_not_here_are_refused() {
        let other = Apply { replica: ReplicaId(8), ..put(6) };
        assert!(matches!(states().apply(&MemView::default(), vec![other]), Err(Problem::NoState(ShardId(1)))));
    }
}
