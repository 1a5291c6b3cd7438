//! The store's turns: events in, one drain, its actions out; and the streams of messages between nodes.

use granary_common::{NodeId, ReplicaId, ShardId};
use granary_proto::raft::{self as wire, raft_message::Body};
use granary_store::{Actions, Answer, Event, Lane};

use super::{ApplierJob, StoreError, StoreReply};
use crate::{
    network::Fate,
    world::{MS, World},
};

const APPEND: u32 = 3;
const HEARTBEAT: u32 = 8;
const VOTE: [u32; 2] = [5, 17];
const VOTE_ANSWER: [u32; 2] = [6, 18];
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

impl World {
    /// Hands an event to the store, and lets it turn soon.
    pub fn event(&mut self, place: usize, event: Event) {
        let clock = self.boot_ns(place);
        let Some(member) = self.member_mut(place) else { return };
        member.store.handle(clock, event);
        self.turn_soon(place);
    }

    fn turn_soon(&mut self, place: usize) {
        let here = self.here(place);
        let Some(member) = self.member_mut(place) else { return };
        if !std::mem::replace(&mut member.turning, true) {
            let soon = self.rng.between(5_000, 150_000);
            self.after_in(here, soon, "turn", move |world| world.turn(place));
        }
    }

    /// One drain.
    fn turn(&mut self, place: usize) {
        let clock = self.boot_ns(place);
        let Some(member) = self.member_mut(place) else { return };
        member.turning = false;
        let actions = member.store.drain(clock);
        self.act(place, actions);
        self.discard_snapshots(place);
    }

    pub(super) fn tick_later(&mut self, place: usize) {
        let here = self.here(place);
        let (now, clock) = (self.now, &self.places[place].clock);
        let boot = clock.boot_ns(now);
        let Some(member) = self.member(place) else { return };
        let wait = clock.when(member.next_tick_ns.max(boot)).saturating_sub(now);
        self.after_in(here, wait, "tick", move |world| world.tick(place));
    }

    fn tick(&mut self, place: usize) {
        let (boot, tick) = (self.boot_ns(place), self.places[place].store.tick_ns);
        let Some(member) = self.member_mut(place) else { return };
        // A late tick is dropped, never made up.
        member.next_tick_ns = (member.next_tick_ns + tick).max(boot + tick / 2);
        self.event(place, Event::Tick);
        self.tick_later(place);
    }

    /// The board first: a lease that ends must be seen before the message that ends it leaves.
    fn act(&mut self, place: usize, actions: Actions) {
        assert_eq!(actions.lost_log, None, "place {place}: a disk has lost what was synced");
        let mut changed = false;
        for published in actions.publish {
            self.checks.published(self.now, &self.places[place], &published);
            let Some(member) = self.member_mut(place) else { return };
            if published.gone {
                changed |= member.board.remove(&published.shard).is_some();
                continue;
            }
            let before = member.board.insert(published.shard, published.clone());
            let line = |of: &granary_store::Published| (of.role, of.term, of.leader, of.group.version);
            if before.as_ref().map(line) != Some(line(&published)) {
                changed = true;
                self.note(|| {
                    let granary_store::Published { shard, replica, role, term, leader, group, .. } = &published;
                    let role = format!("{role:?}").to_lowercase();
                    format!(
                        "place {place}: {shard} replica {replica} {role} term {term} leader {leader:?} v{}",
                        group.version
                    )
                });
            }
        }
        if changed && let Some(member) = self.member_mut(place) {
            member.changes.ring();
        }
        if let Some(persist) = actions.persist {
            self.persist(place, persist);
        }
        for send in actions.sends {
            self.send(place, send);
        }
        for apply in actions.applies {
            self.apply_later(place, ApplierJob::Apply(apply));
        }
        for (ticket, answer) in actions.answers {
            if let Some(member) = self.member_mut(place) {
                member.answer(ticket, reply(answer));
            }
        }
        for fetch in actions.fetches {
            self.fetch(place, fetch);
        }
        for (shard, replica) in actions.make_snapshots {
            self.export(place, shard, replica);
        }
        for wanted in actions.send_snapshots {
            self.send_snapshot(place, wanted);
        }
        for id in actions.drop_snapshots {
            if let Some(member) = self.member_mut(place) {
                member.offered.remove(&id);
            }
        }
        for install in actions.installs {
            // The one before may have been where its process ended.
            let Some(member) = self.member_mut(place) else { return };
            let received = member.inbox.remove(&install.snapshot_id);
            let received = received.expect("files of a snapshot that Raft has accepted stay until it is installed");
            self.apply_later(place, ApplierJob::Install(Box::new((install, received))));
        }
        for (shard, replica) in actions.destroys {
            self.destroy(place, shard, replica);
        }
        if let Some(member) = self.member_mut(place)
            && !member.reports.is_empty()
        {
            let mut led = actions.led;
            for shard in &mut led {
                shard.bytes = member.states.get(ShardId(shard.shard_id)).map_or(0, |replica| replica.state.bytes);
            }
            for waits in std::mem::take(&mut member.reports) {
                let _ = waits.send((led.clone(), actions.held.clone()));
            }
        }
    }

    fn send(&mut self, place: usize, send: granary_store::Send) {
        self.check_sent(place, &send.message);
        let Some(sender) = self.member(place).map(|member| member.sender.clone()) else { return };
        let Some(to) = self.route(place, send.to) else { return };
        let lane = u8::from(send.lane == Lane::Heartbeats);
        match self.network.send(&mut self.rng, self.now, (place, to, lane)) {
            Fate::Lost => {
                self.count("dropped message");
                if self.rng.hits(300_000) {
                    self.event(place, Event::Unreachable { node: send.to });
                }
            }
            Fate::Arrives(times) => {
                if times.len() > 1 {
                    self.count("duplicated message");
                }
                for at in times {
                    let (message, sender, meant) = (send.message.clone(), sender.clone(), send.to);
                    let deed = move |world: &mut World| world.arrive(place, to, meant, &sender, message);
                    let ns = at.saturating_sub(self.now);
                    match self.process(to).map(|process| process.epoch) {
                        Some(epoch) => self.after_in((to, epoch), ns, "message", deed),
                        None => self.after(ns, "message", deed),
                    }
                }
            }
        }
    }

    /// Where this node believes the other one to be.
    pub(super) fn route(&self, place: usize, node: NodeId) -> Option<usize> {
        let member = self.member(place)?;
        let known = granary_duties::map::node(&member.map, node);
        let address = known.and_then(|node| node.addresses.as_ref()).map(|addresses| addresses.peer.as_str());
        address.and_then(crate::operator::place_of_address).or_else(|| self.place_of(node))
    }

    fn arrive(&mut self, from: usize, to: usize, meant: NodeId, sender: &wire::Sender, message: wire::RaftMessage) {
        if !self.network.passes(from, to) {
            return;
        }
        let own = self.member(to).map(super::Member::id);
        if own != Some(meant) {
            // Nobody listens, or another node than meant: refused, and the sender hears of it.
            if self.network.passes(to, from) {
                self.event(from, Event::Unreachable { node: meant });
            }
            return;
        }
        if !self.admit(to, sender) {
            self.count("message not admitted");
            return;
        }
        if let Some(Body::Raft(body)) = &message.body
            && VOTE.contains(&body.r#type)
            && body.context == CAMPAIGN_TRANSFER
        {
            self.places[to].forced_votes.insert((message.shard_id, message.from_replica, body.term));
        }
        let clock = self.boot_ns(to);
        if let Some(member) = self.member_mut(to) {
            member.undecided.extend(snapshot_of(&message));
            member.store.handle(clock, Event::Message(message));
        }
        self.turn_soon(to);
    }

    /// Whether the sender is let in; by the rules of admission. One that speaks as a later start is noted on disk first.
    pub(super) fn admit(&mut self, place: usize, claim: &wire::Sender) -> bool {
        let now = self.instant();
        let Some(member) = self.member_mut(place) else { return false };
        let node = NodeId(claim.node_id);
        if node == member.id() {
            return true;
        }
        let uuid = granary_duties::map::node(&member.map, node).map(|node| node.uuid.clone());
        let standing = member.standings.entry(node).or_default();
        if standing.last.as_ref().is_some_and(|last| last.process == claim.process)
            && standing.heard_again(claim.incarnation, now)
        {
            return true;
        }
        if granary_duties::admission::admit(&member.sender, claim, uuid.as_deref(), standing, now).is_err() {
            return false;
        }
        if standing.heard(claim, now) {
            let op = crate::disk::Op::Incarnation(node, claim.incarnation);
            self.write_log(place, vec![op], true, |_| {});
        }
        true
    }

    fn check_sent(&mut self, place: usize, message: &wire::RaftMessage) {
        let Some(Body::Raft(body)) = &message.body else { return };
        if [APPEND, HEARTBEAT].contains(&body.r#type) {
            self.checks.leads(message.shard_id, body.term, message.from_replica);
        }
        if VOTE_ANSWER.contains(&body.r#type) && !body.reject {
            let forced = self.places[place].forced_votes.contains(&(message.shard_id, message.to_replica, body.term));
            let limit = self.places[place].store.election_timeout_ns() * 99 / 100;
            let Some(process) = self.process(place) else { return };
            let lived = process.member.as_ref().is_some_and(|member| member.restarted.contains(&message.from_replica));
            assert!(
                forced || !lived || self.now >= process.started_at + limit,
                "replica {} votes {} ms after its restart",
                message.from_replica,
                (self.now - process.started_at) / MS
            );
        }
    }

    /// The files of snapshots that Raft has no use for go; behind the drain, so that one it has taken was asked for.
    fn discard_snapshots(&mut self, place: usize) {
        let Some(member) = self.member_mut(place) else { return };
        let undecided = std::mem::take(&mut member.undecided);
        for (shard, id) in undecided {
            if member.store.awaits_snapshot(shard, id) {
                member.undecided.push((shard, id));
            } else {
                member.inbox.remove(&id);
            }
        }
    }

    /// All peers that can hear it learn that connections to this place broke.
    pub(super) fn connections_break(&mut self, place: usize, node: NodeId) {
        for other in 0..self.places.len() {
            if other != place && self.network.passes(place, other) {
                let ns = self.rng.between(MS / 10, 3 * MS);
                let epoch = self.places[other].epoch;
                self.after_in((other, epoch), ns, "reset", move |world| {
                    if let Some(standing) = world.member_mut(other).and_then(|member| member.standings.get_mut(&node)) {
                        standing.connection_broke();
                    }
                });
            }
        }
    }

    /// The replica ids of a shard that live here, for reports.
    pub fn replica_at(&self, place: usize, shard: ShardId) -> Option<ReplicaId> {
        self.member(place)?.board.get(&shard).map(|state| state.replica)
    }
}

/// The received snapshot that a message brings.
fn snapshot_of(message: &wire::RaftMessage) -> Option<(ShardId, u64)> {
    let Some(Body::Raft(raft)) = &message.body else { return None };
    raft.snapshot.as_ref().map(|snapshot| (ShardId(message.shard_id), snapshot.snapshot_id))
}

fn reply(answer: Answer) -> StoreReply {
    match answer {
        Answer::ReadReady => Ok(None),
        Answer::NotLeader { leader } => Err(StoreError::NotLeader(leader)),
        Answer::Busy => Err(StoreError::Busy),
        Answer::Unknown => Err(StoreError::Unknown),
        Answer::NoReplica => Err(StoreError::NoReplica),
    }
}
