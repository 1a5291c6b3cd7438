//! One Raft group of this node: a `RawNode` and what stands around it.

mod collect;
mod lead;
mod notice;
mod publish;
mod quiesce;
mod stand;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use granary_common::{
    NodeId, ReplicaId, ShardId,
    log::{HardState, Position},
};
use granary_proto::{map, raft as wire};
use raft::{
    GetEntriesContext, RawNode, StateRole,
    eraftpb::{Entry, Message, MessageType},
};

pub(crate) use quiesce::Beat;

use crate::{
    action::{Actions, Answer, Install, LostLog, Published},
    config::Config,
    convert,
    event::{Founding, Recovered, SnapshotMade, Ticket},
    lease::Lease,
    logger::logger,
    membership,
    memlog::MemLog,
    packs,
    pauses::Pauses,
    retain::Sizes,
    rng::Rng,
    standstill::{Stands, Standstill},
};

/// For so long a replica that asks whether it would be voted for does not answer the same question of one that it outranks:
/// as long as the answers to its own may take.
const OUTRANKS_NS: u64 = 10_000_000;
/// Ticks behind its first question at which a replica asks again, within one timeout: whoever heard the leader a moment later
/// does not answer yet.
const ASKS_AGAIN: [u64; 2] = [2, 5];
/// How often a candidate at most doubles the time for which it waits for its votes.
const MAX_DOUBLINGS: u32 = 3;

/// A Ready whose writes are on their way to the disk, and the messages that wait for them.
struct Unpersisted {
    /// Of the store's batch.
    batch: u64,
    /// Of the Ready.
    ready: u64,
    /// Term that is on disk once this is.
    term: Option<u64>,
    held: Vec<Message>,
}

/// A snapshot that is being installed: the group hands out nothing until it is.
struct Installing {
    ready: u64,
    index: u64,
    /// Term that is on disk once it is installed.
    term: u64,
    held: Vec<Message>,
}

/// ReadIndex questions of one round.
struct Asked {
    context: u64,
    tickets: Vec<Ticket>,
    at_tick: u64,
}

/// Whether leaders shall leave this node.
#[derive(Clone, Copy)]
pub(crate) struct Leave<'a> {
    /// In any case.
    pub(crate) must: bool,
    /// Nodes whose disks are slow.
    pub(crate) slow: &'a BTreeSet<NodeId>,
}

pub(crate) struct Group {
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
    own_node: NodeId,
    node: RawNode<MemLog>,
    /// As of the last membership entry handed to the applier (or the snapshot); version 0: no state yet.
    group: map::Group,
    /// Index of the entry that made it; 0: it was on the disk at the start, or came with a snapshot.
    group_index: u64,
    /// Who went with it, and is to be told.
    removed: Vec<(u64, NodeId)>,
    target: map::Target,
    /// What the map says of the group: whom to ask when all own peers are gone.
    map_group: map::Group,
    /// Where replicas that spoke to us live, when the group does not tell.
    seen_nodes: BTreeMap<u64, NodeId>,
    lease: Lease,
    lease_ns: u64,
    /// This replica led and has handed over to that node, of which it has not heard since.
    heir: Option<NodeId>,
    /// Asked for while writes were on their way or a leader hands over: proposed behind that, all at once. Bounded by the
    /// credits that each holds.
    gathered: Vec<(Ticket, Entry)>,
    /// Proposed here and not yet handed out, by index: (term, whose commands).
    proposed: BTreeMap<u64, (u64, Vec<Ticket>)>,
    reads_new: Vec<Ticket>,
    reads_asked: VecDeque<Asked>,
    /// Ready once this index is applied.
    reads_waiting: Vec<(u64, Vec<Ticket>)>,
    next_read: u64,
    unpersisted: VecDeque<Unpersisted>,
    installing: Option<Installing>,
    /// Commit moved, nothing else: written with the next batch.
    lazy_commit: bool,
    synced_term: u64,
    /// (term, leads) as of the last look.
    last_seen: (u64, StateRole),
    sizes: Sizes,
    durable: u64,
    offered_snapshot: Option<(u64, u64, u64)>,
    making_snapshot: bool,
    waiting_for_snapshot: Vec<u64>,
    fetches: BTreeMap<u64, GetEntriesContext>,
    next_fetch: u64,
    refuse_votes_until_ns: u64,
    ticks: u64,
    /// Tick of the leader's last message, or of the last question to the group.
    heard_tick: u64,
    last_notice_tick: Option<u64>,
    destroying: bool,
    /// Last tick at which the map wanted this replica.
    wanted_tick: u64,
    /// Replicas that said that this one is out, with the group as they had it.
    told_out: BTreeMap<u64, map::Group>,
    /// Nothing is handed out until a snapshot has replaced the lost state.
    data_lost: bool,
    settled_at: Option<(u64, u64)>,
    published: Option<publish::Face>,
    quiesce: quiesce::Quiesce,
    /// Whether it sends heartbeats at this tick, if it leads.
    beat: Beat,
    /// Looked at once a heartbeat: what may be purged is worth no look at every drain.
    purge_due: bool,
    /// Voters, and those of the outgoing half, as Raft has them: asked for at every drain.
    voters: [Vec<u64>; 2],
    /// Of handing over because leaders shall leave this node.
    handing: Pauses,
    /// Tick of the last hand-over.
    handed_over_at: u64,
    /// When it last asked whether it would be voted for.
    asked_at_ns: u64,
    /// Tick at which it began to ask, with this timeout.
    asking_since: u64,
    /// Ticks that a candidate has waited for its own vote to be synced.
    vote_ticks: usize,
    standstill: Standstill,
    stands: Stands,
    /// Elections of its own since there was a leader.
    campaigns: u32,
    /// Campaigns later than others: leaders shall leave this node, or it gave one up just now.
    reluctant: bool,
    /// Until this tick, since it gave up.
    gave_up_until: u64,
}

impl Group {
    pub(crate) fn start(
        config: &Config,
        rng: &mut Rng,
        now_ns: u64,
        (shard, replica): (ShardId, ReplicaId),
        mut recovered: Recovered,
        founding: Founding,
    ) -> raft::Result<Self> {
        let raft_config = raft::Config {
            id: replica.0,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            // Above all that `Group::draw_timeout` and `Group::tick_raft` set.
            max_election_tick: (config.max_election_ticks * 4) << MAX_DOUBLINGS,
            applied: recovered.applied,
            max_size_per_msg: config.max_append_bytes,
            max_inflight_msgs: config.max_inflight_appends,
            max_uncommitted_size: config.max_uncommitted_bytes.max(config.max_append_bytes),
            max_committed_size_per_ready: config.max_apply_bytes,
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            ..raft::Config::default()
        };
        let durable = recovered.truncated.index;
        let data_lost = recovered.data_lost;
        let synced_term = recovered.hard_state.term;
        let log = MemLog::new(&mut recovered);
        let node = RawNode::new(&raft_config, log, &logger(shard.0))?;
        let mut group = Self {
            shard,
            replica,
            own_node: config.node,
            node,
            group: recovered.group,
            group_index: 0,
            removed: Vec::new(),
            target: map::Target::default(),
            map_group: map::Group::default(),
            seen_nodes: BTreeMap::new(),
            lease: Lease::default(),
            lease_ns: config.lease_ns(),
            heir: None,
            gathered: Vec::new(),
            proposed: BTreeMap::new(),
            reads_new: Vec::new(),
            reads_asked: VecDeque::new(),
            reads_waiting: Vec::new(),
            next_read: 0,
            unpersisted: VecDeque::new(),
            installing: None,
            lazy_commit: false,
            synced_term,
            last_seen: (0, StateRole::Follower),
            sizes: Sizes::default(),
            durable,
            offered_snapshot: None,
            making_snapshot: false,
            waiting_for_snapshot: Vec::new(),
            fetches: BTreeMap::new(),
            next_fetch: 0,
            refuse_votes_until_ns: 0,
            ticks: 0,
            heard_tick: 0,
            last_notice_tick: None,
            destroying: false,
            wanted_tick: 0,
            told_out: BTreeMap::new(),
            data_lost,
            settled_at: None,
            published: None,
            quiesce: quiesce::Quiesce::default(),
            beat: Beat::No,
            purge_due: false,
            voters: [Vec::new(), Vec::new()],
            handing: Pauses::default(),
            handed_over_at: 0,
            asked_at_ns: 0,
            asking_since: 0,
            vote_ticks: 0,
            standstill: Standstill::default(),
            stands: Stands::No,
            campaigns: 0,
            reluctant: false,
            gave_up_until: 0,
        };
        group.note_voters();
        group.look(config, rng);
        match founding {
            // It may have promised its leader not to vote for others, and does not remember (HAZARDS H16).
            Founding::Restarted => group.refuse_votes_until_ns = now_ns + config.election_timeout_ns(),
            Founding::Founder { preferred: true } => group.campaign(),
            Founding::Founder { preferred: false } | Founding::Learner => {}
        }
        if founding == Founding::Restarted && !data_lost && group.is_sole_voter() {
            group.campaign();
        }
        Ok(group)
    }

    fn campaign(&mut self) {
        // An error says that this replica cannot campaign now; elections go on by time.
        let _ = self.node.campaign();
    }

    /// After every change of the membership, and behind a snapshot.
    fn note_voters(&mut self) {
        let conf = self.node.raft.prs().conf().to_conf_state();
        self.voters = [conf.get_voters().to_vec(), conf.get_voters_outgoing().to_vec()];
    }

    fn is_sole_voter(&self) -> bool {
        let conf = self.node.raft.prs().conf();
        conf.voters().contains(self.replica.0) && self.node.raft.prs().is_singleton()
    }

    pub(crate) fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn leader_node(&self) -> Option<NodeId> {
        match self.node.raft.leader_id {
            0 => None,
            id => self.node_of(id),
        }
    }

    /// Whom to ask instead: the leader, or who was to become it.
    fn leader_hint(&self) -> Option<NodeId> {
        self.leader_node().or(self.heir)
    }

    fn node_of(&self, replica: u64) -> Option<NodeId> {
        let in_group = |group: &map::Group| group.replicas.iter().find(|r| r.id == replica).map(|r| NodeId(r.node_id));
        in_group(&self.group)
            .or_else(|| self.target.replicas.iter().find(|r| r.id == replica).map(|r| NodeId(r.node_id)))
            .or_else(|| self.seen_nodes.get(&replica).copied())
    }

    /// A tick: messages that were queued have been handled before it. Whether there is something to collect; in any case
    /// once a heartbeat, when what may be purged and published is looked at.
    pub(crate) fn tick(
        &mut self,
        config: &Config,
        rng: &mut Rng,
        now_ns: u64,
        leave: Leave<'_>,
        beat: Beat,
        out: &mut Actions,
    ) -> bool {
        let (stood, rested) = (self.stands, self.is_quiesced());
        // A group at rest ticks only now and then.
        self.beat = if self.is_quiesced() && beat == Beat::Fast { Beat::No } else { beat };
        self.turn(config, rng, now_ns, leave, out);
        self.beats()
            || self.stands != stood
            || self.is_quiesced() != rested
            || !self.reads_new.is_empty()
            || !self.gathered.is_empty()
            || self.node.has_ready()
    }

    fn turn(&mut self, config: &Config, rng: &mut Rng, now_ns: u64, leave: Leave<'_>, out: &mut Actions) {
        self.ticks += 1;
        self.hold_back(config, rng, leave);
        self.watch(config, rng);
        if self.destroying || self.installing.is_some() {
            // A pause is not silence of the leader.
            self.heard_tick = self.ticks;
            return;
        }
        if self.data_lost {
            // Its promise to the last leader must run out, or it would refuse its vote for good. It does not campaign:
            // without a membership it is not a voter in its own eyes.
            self.node.tick();
            self.look(config, rng);
            self.ask_for_snapshot();
            self.ask_when_unheard(now_ns, out);
            return;
        }
        self.look_at_rest(config, now_ns, leave, out);
        self.tick_raft(config, now_ns);
        self.look(config, rng);
        self.purge_due |= self.beats();
        self.retry_reads(config);
        self.expire_snapshot(out);
        self.tell_removed(now_ns, out);
        if self.leads() {
            self.heard_tick = self.ticks;
            if self.beats() {
                self.walk(leave);
            }
        } else {
            self.ask_when_unheard(now_ns, out);
            self.give_up_unwanted(out);
        }
    }

    /// Refused by Raft while there is no leader, or its first entry has not come: asked again.
    fn ask_for_snapshot(&mut self) {
        const EVERY_TICKS: u64 = 10;
        if self.ticks.is_multiple_of(EVERY_TICKS) {
            let _ = self.node.request_snapshot();
        }
    }

    fn tick_raft(&mut self, config: &Config, now_ns: u64) {
        // A voter that became the only one while writes are on their way would lead without having them on disk.
        if self.is_sole_voter() && !self.leads() && !self.unpersisted.is_empty() {
            return;
        }
        // The others hear of a campaign when its own vote is synced. Its time begins then, and is longer by what the votes
        // of disks like its own take: of the sync that each finds under way, and of its own.
        if self.node.raft.state == StateRole::Candidate {
            if self.synced_term < self.node.raft.term {
                self.vote_ticks += 1;
                return;
            }
            let longer = 2 * std::mem::take(&mut self.vote_ticks).min(config.max_election_ticks);
            let timeout = self.node.raft.randomized_election_timeout() + longer;
            self.node.raft.set_randomized_election_timeout(timeout);
        }
        // A new leader's first heartbeat waits for the others of its node.
        let would_beat = self.node.raft.heartbeat_elapsed() + 1 >= config.heartbeat_ticks;
        if self.leads() && would_beat && !self.beats() {
            return;
        }
        self.node.tick();
        let asks = self.node.raft.state == StateRole::PreCandidate && self.node.raft.promotable();
        if asks && self.node.raft.election_elapsed == 0 {
            (self.asking_since, self.asked_at_ns) = (self.ticks, now_ns);
        } else if asks && ASKS_AGAIN.contains(&(self.ticks - self.asking_since)) && self.node.campaign().is_ok() {
            self.asked_at_ns = now_ns;
        }
    }

    /// Two replicas that ask at the same moment whether they would be voted for would each be told yes, vote for themselves,
    /// and wait for another timeout. So the one with the higher id does not answer the other; not for long, as it may be the
    /// one that cannot win.
    fn outranks(&self, question: &Message, now_ns: u64) -> bool {
        let raft = &self.node.raft;
        let (own, theirs) = (self.last_position(), (question.log_term, question.index));
        question.get_msg_type() == MessageType::MsgRequestPreVote
            && raft.state == StateRole::PreCandidate
            && now_ns <= self.asked_at_ns + OUTRANKS_NS
            && self.replica.0 > question.from
            && question.term <= raft.term + 1
            && (own.term, own.index) >= theirs
    }

    fn beats(&self) -> bool {
        self.beat != Beat::No
    }

    /// Notices a change of term or role: timeouts are drawn anew from the store's own generator, the lease begins anew.
    fn look(&mut self, config: &Config, rng: &mut Rng) {
        let seen = (self.node.raft.term, self.node.raft.state);
        if seen == self.last_seen {
            return;
        }
        if seen.0 != self.last_seen.0 {
            self.lease.reset();
        }
        self.last_seen = seen;
        self.wake();
        self.vote_ticks = 0;
        if seen.1 == StateRole::Candidate {
            self.campaigns += 1;
        }
        self.draw_timeout(config, rng);
    }

    /// Who is reluctant draws a later moment. Who has failed before waits twice as long each time, a candidate for its votes and
    /// anyone before the next campaign: votes are behind two syncs, one behind the other, and where those take longer than an election timeout, nobody would ever be elected (HAZARDS H13). Such syncs also make
    /// candidates of all replicas at the same moment, so that the range doubles too.
    fn draw_timeout(&mut self, config: &Config, rng: &mut Rng) {
        let (first, latest) = (config.election_ticks, config.max_election_ticks);
        let doublings = self.campaigns.saturating_sub(1).min(MAX_DOUBLINGS);
        let latest = if doublings > 0 { latest.max(2 * first) } else { latest };
        let later = if self.reluctant { config.max_election_ticks } else { 0 };
        self.node.raft.set_randomized_election_timeout(rng.between(first << doublings, latest << doublings) + later);
    }

    pub(crate) fn message(
        &mut self,
        config: &Config,
        rng: &mut Rng,
        now_ns: u64,
        message: wire::RaftMessage,
        out: &mut Actions,
    ) {
        if self.destroying {
            return;
        }
        let (from, from_node) = (message.from_replica, NodeId(message.from_node));
        let body = match message.body {
            Some(wire::raft_message::Body::Notice(notice)) => {
                let to = (message.to_replica, message.commit_index);
                return self.notice(now_ns, (from, from_node), to, &notice, out);
            }
            Some(wire::raft_message::Body::Wake(_)) => return self.alert(config),
            Some(wire::raft_message::Body::Raft(body)) if message.to_replica == self.replica.0 => body,
            Some(wire::raft_message::Body::Raft(_)) | None => return,
        };
        let Some(body) = convert::body_to_raft(body, from, self.replica.0) else {
            tracing::warn!(shard = self.shard.0, from = from_node.0, "dropped a message of a kind that is not known");
            return;
        };
        let kind = body.get_msg_type();
        if self.outranks(&body, now_ns) {
            return;
        }
        if self.is_unfit(&body) || self.shows_lost_log(&body, out) {
            return;
        }
        let vote_request = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if vote_request && now_ns < self.refuse_votes_until_ns && &body.context[..] != raft::CAMPAIGN_TRANSFER {
            return;
        }
        if self.group.version > 0 && !self.group.replicas.iter().any(|replica| replica.id == from) {
            self.seen_nodes.insert(from, from_node);
            if vote_request || self.leads() {
                self.tell_group((from, from_node), now_ns, out);
            }
        } else if self.node_of(from).is_none() {
            self.seen_nodes.insert(from, from_node);
        }
        let (term, commit_of_append) = (body.term, message.commit_index);
        if !matches!(kind, MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse) {
            self.wake();
        }
        let heir = self.node.raft.lead_transferee;
        // An error names a message that is of no use here; Raft sends again what matters.
        let _ = self.node.step(body);
        self.look(config, rng);
        if self.node.raft.leader_id != raft::INVALID_ID {
            self.heir = None;
            self.campaigns = 0;
        } else if let Some(heir) = heir {
            self.heir = self.node_of(heir);
        }
        if term != self.node.raft.term {
            return;
        }
        let from_leader = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
        let response = matches!(kind, MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse);
        // Only messages of a leader make a follower refuse others, so only those are echoed, and only answers to them
        // count: a vote does not stop the voter from voting for somebody else in the next term.
        if from_leader && self.node.raft.leader_id == from {
            self.heard_tick = self.ticks;
            self.lease.handled(now_ns, from, message.sent_at_ns, 0);
            self.lease.leader_committed(message.echo_ns, commit_of_append, self.node.raft.raft_log.applied);
            if kind == MessageType::MsgHeartbeat {
                self.heard_beat(message.quiesced);
            }
        } else if response && self.leads() {
            self.lease.handled(now_ns, from, message.sent_at_ns, message.echo_ns);
            if kind == MessageType::MsgHeartbeatResponse {
                self.heard_answer(from, message.quiesced);
            }
        }
    }

    /// A heartbeat tells a follower to commit what all of the quorum has and the follower has acknowledged, never more: if
    /// its log does not reach so far, it has lost what it had. Raft itself would panic, at each heartbeat of each start.
    fn shows_lost_log(&self, message: &Message, out: &mut Actions) -> bool {
        let last = self.node.raft.raft_log.last_index();
        let counts = message.get_msg_type() == MessageType::MsgHeartbeat && message.term >= self.node.raft.term;
        if !counts || message.commit <= last {
            return false;
        }
        let (shard, replica, acknowledged) = (self.shard, self.replica, message.commit);
        out.lost_log.get_or_insert(LostLog { shard, replica, last, acknowledged });
        true
    }

    /// Messages that Raft would take badly in the state this replica is in; their senders send them again.
    fn is_unfit(&self, message: &Message) -> bool {
        match message.get_msg_type() {
            // An election looks at entries that are not applied: while a snapshot is being installed there is a hole.
            // A voter that became the only one would lead before its writes are on disk.
            MessageType::MsgTimeoutNow => {
                self.installing.is_some() || (!self.unpersisted.is_empty() && self.is_sole_voter())
            }
            // Asked for, so Raft would take one that cuts off what this replica has acknowledged.
            MessageType::MsgSnapshot => {
                self.data_lost && message.get_snapshot().get_metadata().index < self.node.store().last()
            }
            _ => false,
        }
    }

    pub(crate) fn propose(
        &mut self,
        ticket: Ticket,
        data: bytes::Bytes,
        (config, now_ns): (&Config, u64),
        out: &mut Actions,
    ) {
        let mut entry = Entry::default();
        entry.data = data;
        self.gather(ticket, entry, (config, now_ns), out);
    }

    pub(crate) fn mark(&mut self, ticket: Ticket, mark: u64, (config, now_ns): (&Config, u64), out: &mut Actions) {
        let mut entry = Entry::default();
        entry.context = granary_common::log::mark(mark);
        self.gather(ticket, entry, (config, now_ns), out);
    }

    fn gather(&mut self, ticket: Ticket, entry: Entry, (config, now_ns): (&Config, u64), out: &mut Actions) {
        self.rouse(config, now_ns, out);
        if self.leads() {
            self.gathered.push((ticket, entry));
        } else {
            out.answers.push((ticket, Answer::NotLeader { leader: self.leader_hint() }));
        }
    }

    pub(crate) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Proposes what was gathered: one entry for many small commands, and one message to each follower for all entries.
    pub(crate) fn propose_gathered(&mut self, config: &Config, out: &mut Actions) {
        if self.gathered.is_empty() || self.destroying {
            return;
        }
        if !self.leads() {
            let leader = self.leader_hint();
            out.answers.extend(self.gathered.drain(..).map(|(ticket, _)| (ticket, Answer::NotLeader { leader })));
            return;
        }
        // Raft takes none while it hands over, which ends within an election timeout: they go to the heir then, or here.
        if self.node.raft.lead_transferee.is_some() {
            return;
        }
        // What does not fit into one append would wait until the first of it is answered.
        let most = config.max_append_bytes / 2;
        let (mut tickets, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (whose, entry) in packs::pack(std::mem::take(&mut self.gathered), self.shard) {
            let weight = entry.data.len() as u64 + 32;
            if bytes + weight > most && !entries.is_empty() {
                self.propose_all(std::mem::take(&mut tickets), std::mem::take(&mut entries), out);
                bytes = 0;
            }
            bytes += weight;
            tickets.push(whose);
            entries.push(entry);
        }
        self.propose_all(tickets, entries, out);
    }

    /// All of them, or none.
    fn propose_all(&mut self, tickets: Vec<Vec<Ticket>>, entries: Vec<Entry>, out: &mut Actions) {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.replica.0;
        message.set_entries(entries.into());
        match self.node.raft.step(message) {
            Ok(()) => {
                let (term, last) = (self.node.raft.term, self.node.raft.raft_log.last_index());
                let first = last + 1 - tickets.len() as u64;
                self.proposed.extend((first..).zip(tickets.into_iter().map(|tickets| (term, tickets))));
            }
            Err(_) => out.answers.extend(tickets.into_iter().flatten().map(|ticket| (ticket, Answer::Busy))),
        }
    }

    pub(crate) fn read(&mut self, ticket: Ticket, (config, now_ns): (&Config, u64), out: &mut Actions) {
        if self.leads() {
            self.reads_at_rest();
            self.reads_new.push(ticket);
        } else {
            self.rouse(config, now_ns, out);
            out.answers.push((ticket, Answer::NotLeader { leader: self.leader_hint() }));
        }
    }

    pub(crate) fn persisted(&mut self, batch: u64, now_ns: u64, out: &mut Actions) {
        while let Some(done) = self.unpersisted.pop_front_if(|front| front.batch <= batch) {
            if let Some(term) = done.term {
                self.synced_term = term;
            }
            self.node.on_persist_ready(done.ready);
            self.send(done.held, now_ns, out);
        }
    }

    pub(crate) fn applied(&mut self, index: u64, config: &Config) {
        if index <= self.node.raft.raft_log.applied {
            return;
        }
        self.node.advance_apply_to(index);
        self.lease.applied(index);
        self.node.mut_store().trim(index, config.memory_entries, config.memory_bytes);
    }

    pub(crate) fn installed(&mut self, group: map::Group, now_ns: u64, out: &mut Actions) {
        let Some(installing) = self.installing.take() else { return };
        self.group = group;
        self.group_index = 0;
        self.synced_term = installing.term;
        self.node.on_persist_ready(installing.ready);
        self.node.advance_apply_to(installing.index);
        self.lease.applied(installing.index);
        self.durable = installing.index;
        self.data_lost = false;
        self.send(installing.held, now_ns, out);
    }

    pub(crate) fn fetched(&mut self, id: u64, entries: Vec<granary_common::log::Entry>) {
        let Some(context) = self.fetches.remove(&id) else { return };
        self.node.mut_store().set_fetched(entries.into_iter().map(convert::entry_to_raft).collect());
        self.node.on_entries_fetched(context);
        self.node.mut_store().clear_fetched();
    }

    pub(crate) fn durable(&mut self, index: u64) {
        self.durable = index.max(self.durable);
    }

    /// Puts the messages into envelopes. One that hands leadership over ends the lease first.
    fn send(&mut self, messages: Vec<Message>, now_ns: u64, out: &mut Actions) {
        for message in messages {
            let kind = message.get_msg_type();
            if kind == MessageType::MsgTimeoutNow {
                self.lease.hand_over();
            }
            let to = message.to;
            let Some(to_node) = self.node_of(to) else { continue };
            let snapshot_id = (kind == MessageType::MsgSnapshot).then(|| convert::snapshot_id(message.get_snapshot()));
            let envelope = wire::RaftMessage {
                echo_ns: self.lease.echo_for(to),
                body: Some(wire::raft_message::Body::Raft(convert::body_from_raft(message))),
                ..self.envelope(to, now_ns)
            };
            if let Some(snapshot_id) = snapshot_id {
                out.send_snapshots.push(crate::SendSnapshot { to: to_node, snapshot_id, message: envelope });
                continue;
            }
            let lane = match kind {
                MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse => crate::Lane::Heartbeats,
                _ => crate::Lane::Appends,
            };
            out.sends.push(crate::Send { to: to_node, lane, message: envelope });
        }
    }

    fn envelope(&self, to: u64, now_ns: u64) -> wire::RaftMessage {
        wire::RaftMessage {
            shard_id: self.shard.0,
            from_replica: self.replica.0,
            to_replica: to,
            from_node: self.own_node.0,
            sent_at_ns: now_ns,
            echo_ns: 0,
            commit_index: if self.vouches(to, now_ns) { self.node.raft.raft_log.committed } else { 0 },
            quiesced: self.says_quiesced(),
            body: None,
        }
    }

    /// Whether the own commit index covers all that was ever acknowledged: only while the lease holds, since a leader
    /// that was replaced, or that has not committed in its term, does not know what others have committed. Or while it held
    /// when that came which is echoed to `to`: a group at rest beats when its lease has lapsed.
    fn vouches(&self, to: u64, now_ns: u64) -> bool {
        let held = || {
            let [voters, outgoing] = &self.voters;
            let quorum = self.lease.quorum_clock(self.replica.0, now_ns, [voters, outgoing]);
            quorum.is_some_and(|from| self.lease.covered(to, from, self.lease_ns))
        };
        let holds = || self.published.is_some_and(|face| face.holds_lease(self.node.raft.term, now_ns));
        let ready = self.leads() && self.node.raft.apply_to_current_term();
        !self.lease.is_handed_over() && (holds() || (ready && self.is_quiesced() && held()))
    }

    pub(crate) fn unreachable(&mut self, config: &Config, node: NodeId) {
        self.wake_for(config, node);
        if !self.leads() {
            return;
        }
        let there: Vec<u64> =
            self.group.replicas.iter().filter(|replica| replica.node_id == node.0).map(|replica| replica.id).collect();
        for id in there.into_iter().filter(|id| *id != self.replica.0) {
            self.node.report_unreachable(id);
        }
    }

    pub(crate) fn snapshot_made(&mut self, made: Option<SnapshotMade>, out: &mut Actions) {
        self.making_snapshot = false;
        let waiting = std::mem::take(&mut self.waiting_for_snapshot);
        let Some(made) = made else { return };
        self.withdraw_snapshot(out);
        self.offered_snapshot = Some((made.id, made.position.index, self.ticks));
        self.node.mut_store().offer_snapshot(&made);
        if self.leads() {
            for to in waiting {
                // One that this does not serve asks again with its next heartbeat, not at once: the applier may lag.
                let serves = |progress: &raft::Progress| {
                    self.node.store().has_snapshot_for(progress.pending_request_snapshot, to)
                };
                if self.node.raft.prs().get(to).is_some_and(serves) {
                    self.node.raft.send_append(to);
                }
            }
        }
    }

    pub(crate) fn snapshot_sent(&mut self, to: ReplicaId, accepted: bool) {
        let status = if accepted { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.node.report_snapshot(to.0, status);
    }

    pub(crate) fn awaits_snapshot(&self, snapshot_id: u64) -> bool {
        let taken = self.node.raft.raft_log.unstable.snapshot.as_ref();
        taken.is_some_and(|snapshot| convert::snapshot_id(snapshot) == snapshot_id)
    }

    fn withdraw_snapshot(&mut self, out: &mut Actions) {
        if let Some((id, _, _)) = self.offered_snapshot.take() {
            self.node.mut_store().withdraw_snapshot();
            out.drop_snapshots.push(id);
        }
    }

    /// Hands out nothing more, and asks to be started anew without its state. What it has promised stays in its log.
    pub(crate) fn rebuild(&mut self, out: &mut Actions) {
        self.wake();
        let is_whole = self.installing.is_none() && !self.data_lost && self.group.version > 0;
        let has_leader = self.node.raft.leader_id != raft::INVALID_ID && !self.leads();
        if is_whole && has_leader && !std::mem::replace(&mut self.destroying, true) {
            out.rebuilds.push((self.shard, self.replica));
        }
    }

    fn last_position(&self) -> Position {
        let log = &self.node.raft.raft_log;
        Position { index: log.last_index(), term: log.last_term() }
    }

    fn hard_state(&self) -> HardState {
        convert::hard_state_from_raft(&self.node.raft.hard_state())
    }

    /// The group ends here: whoever waits learns that the outcome is open.
    pub(crate) fn stop(mut self, out: &mut Actions) {
        self.give_up_callers(out);
        self.withdraw_snapshot(out);
        out.publish.push(Published { shard: self.shard, replica: self.replica, gone: true, ..Published::default() });
    }

    fn give_up_callers(&mut self, out: &mut Actions) {
        let leader = self.leader_hint();
        let gathered = self.gathered.drain(..).map(|(ticket, _)| (ticket, Answer::NotLeader { leader }));
        out.answers.extend(gathered);
        let proposed = std::mem::take(&mut self.proposed);
        out.answers
            .extend(proposed.into_values().flat_map(|(_, tickets)| tickets).map(|ticket| (ticket, Answer::Unknown)));
        let asked = self.reads_asked.drain(..).flat_map(|asked| asked.tickets);
        let waiting = self.reads_waiting.drain(..).flat_map(|(_, tickets)| tickets);
        let reads = self.reads_new.drain(..).chain(asked).chain(waiting);
        out.answers.extend(reads.map(|ticket| (ticket, Answer::NotLeader { leader })));
    }
}
