//! What must hold at every moment of every run.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use granary_common::log::{Entry, EntryKind, Position};
use granary_proto::{
    map::{self, ReplicaRole},
    raft as wire,
    storage::MembershipEntry,
};
use granary_store::{Answer, Published, Role};
use prost::Message as _;

use crate::node::Node;

/// Entries that may be in flight behind a change of membership.
const NEAR: u64 = 256;

/// A write that was answered with success.
pub struct Acknowledged {
    pub at_ns: u64,
    pub position: Position,
    pub conf_state: wire::ConfState,
    pub data: Bytes,
}

/// Data and context of an entry, and the term of the one before it.
type Content = (Bytes, Bytes, Option<u64>);

#[derive(Default)]
pub struct Checks {
    /// Who leads, by (shard, term).
    leaders: BTreeMap<(u32, u64), u64>,
    /// What an entry is, and the term before it, by (shard, index, term).
    entries: BTreeMap<(u32, u64, u64), Content>,
    /// Every entry ever applied: (shard, index).
    applied: BTreeMap<(u32, u64), (Entry, wire::ConfState, map::Group)>,
    pub acknowledged: BTreeMap<u32, Vec<Acknowledged>>,
    fresh: BTreeMap<u32, usize>,
    /// Proposals: data by ticket, taken out by their answer.
    proposals: BTreeMap<u64, Bytes>,
    refused: BTreeSet<Bytes>,
    /// Reads: (shard, node, highest acknowledged index when asked) by ticket.
    reads: BTreeMap<u64, (u32, u64, u64)>,
    pub elections: u64,
    pub lease_reads: u64,
    pub fresh_reads: u64,
    pub index_reads: u64,
}

impl Checks {
    pub fn published(&mut self, node: u64, published: &Published) {
        if published.role != Role::Leader || published.gone {
            return;
        }
        let key = (published.shard.0, published.term);
        let elections = &mut self.elections;
        let leader = *self.leaders.entry(key).or_insert_with(|| {
            *elections += 1;
            published.replica.0
        });
        assert_eq!(leader, published.replica.0, "two leaders of (shard, term) {key:?}, one on node {node}");
    }

    /// Log matching: equal position, equal entry, and equal term before it.
    pub fn appended(&mut self, shard: u32, replica: u64, entries: &[Entry]) {
        let mut before: Option<u64> = None;
        for entry in entries {
            let known = self
                .entries
                .entry((shard, entry.index, entry.term))
                .or_insert_with(|| (entry.data.clone(), entry.context.clone(), before));
            assert_eq!(
                (&known.0, &known.1),
                (&entry.data, &entry.context),
                "two entries at one position, shard {shard}"
            );
            if let (Some(known), Some(before)) = (known.2, before) {
                assert_eq!(known, before, "logs match at {} of shard {shard} and differ before it", entry.index);
            }
            known.2 = known.2.or(before);
            before = Some(entry.term);
            if entry.kind == EntryKind::ConfChange && self.leaders.get(&(shard, entry.term)) == Some(&replica) {
                let change = MembershipEntry::decode(entry.context.clone()).unwrap_or_default();
                let outs = change.steps.iter().filter(|step| step.role() == ReplicaRole::Outgoing);
                assert!(outs.into_iter().all(|step| step.replica_id != replica), "a leader proposes its own removal");
            }
        }
    }

    /// State machine safety: what is applied at an index is the same everywhere and for ever.
    pub fn applied(&mut self, shard: u32, entry: &Entry, conf: &wire::ConfState, group: &map::Group) {
        assert!(!self.refused.contains(&entry.data), "what was refused is applied at {} of shard {shard}", entry.index);
        let now = (entry.clone(), conf.clone(), group.clone());
        let known = self.applied.entry((shard, entry.index)).or_insert_with(|| now.clone());
        let entries = (known.0.term, known.0.kind, &known.0.data) == (entry.term, entry.kind, &entry.data);
        assert!(entries, "a committed entry changed at {} of shard {shard}", entry.index);
        assert_eq!((&known.1, &known.2), (&now.1, &now.2), "memberships differ at {} of shard {shard}", entry.index);
    }

    pub fn acknowledge(
        &mut self,
        at_ns: u64,
        shard: u32,
        position: Position,
        conf_state: wire::ConfState,
        data: Bytes,
    ) {
        self.acknowledged.entry(shard).or_default().push(Acknowledged { at_ns, position, conf_state, data });
    }

    /// Each acknowledged write is on the disks of a quorum at that moment.
    pub fn check_durability(&mut self, nodes: &[Node]) {
        for (shard, all) in &self.acknowledged {
            let done = self.fresh.entry(*shard).or_default();
            for write in &all[*done..] {
                // A replica without a log was put out by its group since, which needed a quorum of its own.
                let holds = |replica: &u64| {
                    let log = nodes.iter().find_map(|node| node.disk.logs.get(&(*shard, *replica)));
                    log.is_none_or(|log| log.holds(write.position))
                };
                let held = |conf: &wire::ConfState| {
                    let halves = [&conf.voters, &conf.voters_outgoing].into_iter().filter(|half| !half.is_empty());
                    halves.into_iter().all(|half| half.iter().filter(|id| holds(id)).count() > half.len() / 2)
                };
                // A leader that is slow to apply may answer when its group has moved on; and what was in flight behind a
                // change of membership may have been committed by the one before.
                let from = (*shard, write.position.index.saturating_sub(NEAR));
                let others = self.applied.range(from..(*shard + 1, 0));
                let safe = held(&write.conf_state) || others.into_iter().any(|(_, (_, conf, _))| held(conf));
                assert!(safe, "a write of shard {shard} is acknowledged without a quorum of {:?}", write.conf_state);
            }
            *done = all.len();
        }
    }

    pub fn highest_acknowledged(&self, shard: u32) -> u64 {
        self.acknowledged.get(&shard).and_then(|all| all.iter().map(|write| write.position.index).max()).unwrap_or(0)
    }

    /// A read by lease sees every acknowledged write; a follower is as fresh as it says.
    pub fn check_reads(&mut self, now: u64, node: &Node) {
        for (shard, published) in &node.board {
            let applied = node.applied(*shard);
            if published.role == Role::Leader && node.clock(now) < published.lease_until_ns {
                self.lease_reads += 1;
                let highest = self.highest_acknowledged(*shard);
                assert!(applied >= highest, "a read by lease on node {} misses {highest} of shard {shard}", node.id);
            }
            if published.role != Role::Leader && published.fresh_ns > 0 {
                self.fresh_reads += 1;
                let all = self.acknowledged.get(shard).map_or(&[][..], |all| all);
                let before = all.partition_point(|write| node.clock(write.at_ns) <= published.fresh_ns);
                let highest = all[..before].iter().map(|write| write.position.index).max().unwrap_or(0);
                assert!(applied >= highest, "node {} is not as fresh as it says for shard {shard}", node.id);
            }
        }
    }

    pub fn proposed(&mut self, ticket: u64, data: Bytes) {
        self.proposals.insert(ticket, data);
    }

    pub fn asked(&mut self, ticket: u64, shard: u32, node: u64) {
        self.reads.insert(ticket, (shard, node, self.highest_acknowledged(shard)));
    }

    /// `None`: applied.
    pub fn answered(&mut self, nodes: &[Node], ticket: u64, answer: Option<&Answer>) {
        if let Some((shard, node, highest)) = self.reads.remove(&ticket) {
            if answer == Some(&Answer::ReadReady) {
                self.index_reads += 1;
                let applied = nodes.iter().find(|other| other.id == node).map_or(0, |node| node.applied(shard));
                assert!(applied >= highest, "a read by ReadIndex of shard {shard} on node {node} misses {highest}");
            }
            return;
        }
        let Some(data) = self.proposals.remove(&ticket) else {
            panic!("ticket {ticket} is answered twice: {answer:?}")
        };
        match answer {
            None | Some(Answer::Unknown) => {}
            Some(Answer::ReadReady) => panic!("a write is answered like a read"),
            Some(Answer::NotLeader { .. } | Answer::Busy | Answer::NoReplica) => {
                let applied = self.applied.values().any(|(entry, ..)| entry.commands().unwrap().contains(&data));
                assert!(!applied, "a write that was applied is answered {answer:?}");
                self.refused.insert(data);
            }
        }
    }

    /// At the end: all replicas of a shard are equal and hold every acknowledged write once.
    pub fn check_final(&self, shard: u32, states: &[&crate::disk::State]) {
        let Some(first) = states.first() else { panic!("no replica of shard {shard} is left") };
        assert!(states.iter().all(|state| state.values == first.values), "replicas of shard {shard} differ");
        let mut seen = BTreeSet::new();
        assert!(first.values.iter().all(|(_, data)| seen.insert(data)), "a write of shard {shard} is applied twice");
        for write in self.acknowledged.get(&shard).into_iter().flatten() {
            let held = first.values.iter().any(|value| *value == (write.position.index, write.data.clone()));
            assert!(held, "an acknowledged write of shard {shard} at {:?} is gone", write.position);
        }
    }
}
