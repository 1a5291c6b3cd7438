//! The state row that every shard has, the meta shard as well: how it begins, how it moves on, how it is stored.
//! What an entry means is not known here.

use granary_common::{
    ShardId, SlotRange,
    limits::{FIRST_INDEX, FIRST_TERM},
};
use granary_proto::{map, raft, storage::ShardState};
use prost::Message as _;

use crate::{
    errors::ApplyError,
    overlay::Overlay,
    rows::{self, Kind},
    view::View,
};

/// The state of a new shard with these first replicas, as if it had come from a snapshot at [`FIRST_INDEX`].
pub fn new(shard: ShardId, range: SlotRange, group: map::Group) -> ShardState {
    let of_role = |role| group.replicas.iter().filter(move |r| r.role() == role).map(|r| r.id);
    let conf_state = raft::ConfState {
        voters: of_role(map::ReplicaRole::Voter).collect(),
        learners: of_role(map::ReplicaRole::Learner).collect(),
        ..Default::default()
    };
    ShardState {
        shard_id: shard.0,
        applied_index: FIRST_INDEX,
        applied_term: FIRST_TERM,
        conf_state: Some(conf_state),
        range: Some(map::SlotRange { start: u32::from(range.start), end: u32::from(range.end) }),
        group: Some(group),
        ..Default::default()
    }
}

/// The slots that a shard owns.
pub fn range(state: &ShardState) -> SlotRange {
    state.range.as_ref().map_or(SlotRange::NONE, range_of)
}

/// Slots of the wire's form; what is out of range owns nothing.
pub fn range_of(range: &map::SlotRange) -> SlotRange {
    match (u16::try_from(range.start), u16::try_from(range.end)) {
        (Ok(start), Ok(end)) => SlotRange { start, end },
        _ => SlotRange::NONE,
    }
}

/// Whether an entry shall be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// It is the next.
    Next,
    /// It was applied before (the log is replayed after a restart): skip it.
    Applied,
}

/// Whether the entry at `index` is next; a gap is an error.
pub fn turn(state: &ShardState, index: u64) -> Result<Turn, ApplyError> {
    if index <= state.applied_index {
        Ok(Turn::Applied)
    } else if index == state.applied_index + 1 {
        Ok(Turn::Next)
    } else {
        Err(ApplyError::Gap { shard: ShardId(state.shard_id), applied: state.applied_index, index })
    }
}

/// Marks the entry at `index` as applied. All that entries without a command (the first of a leader) need; for a change
/// of membership the caller then sets `conf_state` and `group` as well.
pub fn advance(state: &mut ShardState, index: u64, term: u64) -> Result<Turn, ApplyError> {
    let turn = turn(state, index)?;
    if turn == Turn::Next {
        state.applied_index = index;
        state.applied_term = term;
    }
    Ok(turn)
}

/// The stored state of a shard, if the node has it.
pub fn load(view: &(impl View + ?Sized), shard: ShardId) -> Result<Option<ShardState>, ApplyError> {
    let row = view.get(&rows::shard_key(shard))?;
    Ok(row.map(|row| rows::decode_message(Kind::Shard, row)).transpose()?)
}

/// Writes the state of a shard: once a batch, behind its entries.
pub fn save<V: View + ?Sized>(overlay: &mut Overlay<'_, V>, state: &ShardState) {
    overlay.put(rows::shard_key(ShardId(state.shard_id)), state.encode_to_vec().into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemView;

    fn state() -> ShardState {
        let voter = |id| map::Replica { id, node_id: id, role: map::ReplicaRole::Voter.into() };
        let group = map::Group {
            version: 1,
            replicas: vec![voter(4), voter(5), voter(6)],
            joint: false,
            highest_replica_id: 0,
        };
        new(ShardId(3), SlotRange { start: 10, end: 20 }, group)
    }

    #[test]
    fn a_new_shard_starts_at_the_first_index_with_its_final_voters() {
        let state = state();
        assert_eq!((state.applied_index, state.applied_term), (FIRST_INDEX, FIRST_TERM));
        assert_eq!(state.conf_state.as_ref().unwrap().voters, vec![4, 5, 6]);
        assert_eq!(range(&state), SlotRange { start: 10, end: 20 });
    }

    #[test]
    fn an_entry_is_applied_once_and_in_order() {
        let mut state = state();
        assert_eq!(advance(&mut state, FIRST_INDEX + 1, 6).unwrap(), Turn::Next);
        assert_eq!(advance(&mut state, FIRST_INDEX + 1, 6).unwrap(), Turn::Applied);
        assert!(matches!(advance(&mut state, FIRST_INDEX + 3, 6), Err(ApplyError::Gap { .. })));
        assert_eq!((state.applied_index, state.applied_term), (FIRST_INDEX + 1, 6));
    }

    #[test]
    fn a_saved_state_is_loaded_again() {
        let mut stored = MemView::default();
        let mut overlay = Overlay::new(&stored);
        save(&mut overlay, &state());
        let writes = overlay.into_writes();
        stored.write(writes);
        assert_eq!(load(&stored, ShardId(3)).unwrap(), Some(state()));
        assert_eq!(load(&stored, ShardId(4)).unwrap(), None);
    }
}
