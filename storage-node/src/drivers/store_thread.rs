//! The thread that steps the store: takes in what has happened, drains once, and hands the actions to those who do them.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use granary_common::ShardId;
use granary_proto::raft as wire;
use granary_store::{Actions, Answer, Event, Store};
use tokio::sync::oneshot;

use super::{
    AppliedTable, Board, Inbox, LogWriter, Outbound, StoreError, StoreInput, Waiters,
    applier::{self, apply_weight},
    clock,
    meters::Meters,
    pressure::Pressure,
    replicas::Lifecycle,
    worker::{self, Offered},
};

/// Events taken in before a drain at most.
const MAX_EVENTS: usize = 4096;
/// Ticks between two looks at which leases were used: some in the time behind which a group rests.
const LEASES_LOOKED_AT: u64 = 5;

type ReportReply = oneshot::Sender<(Vec<wire::LedShard>, Vec<wire::HeldReplica>)>;

pub(crate) struct StoreThread {
    pub(crate) store: Store,
    pub(crate) tick: Duration,
    /// The moment of the last tick.
    pub(crate) ticked: Instant,
    pub(crate) ticks: u64,
    pub(crate) control: Receiver<StoreInput>,
    pub(crate) intake: Receiver<StoreInput>,
    /// For what answers to actions come back by.
    pub(crate) completions: Sender<StoreInput>,
    pub(crate) log: LogWriter,
    pub(crate) applier: Sender<applier::Job>,
    pub(crate) worker: Sender<worker::Job>,
    pub(crate) offered: Arc<Offered>,
    pub(crate) inbox: Arc<Inbox>,
    /// Received snapshots whose message the store has, and that it may still ask for.
    pub(crate) undecided: Vec<(ShardId, u64)>,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) board: Arc<Board>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) applied: Arc<AppliedTable>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) meters: Arc<Meters>,
    /// Something waits for what is applied: the applier wakes this thread for it.
    pub(crate) awaits_applied: bool,
}

impl StoreThread {
    /// Until it is told to stop, or nobody could tell it anything any more.
    pub(crate) fn run(mut self) {
        self.ticked = Instant::now();
        loop {
            let mut reports = Vec::new();
            let next_tick = self.ticked + self.tick * (self.store.idle_ticks() as u32 + 1);
            // Waiting for nothing is no standstill.
            self.board.turned(clock::now_ns() + next_tick.saturating_duration_since(Instant::now()).as_nanos() as u64);
            let goes_on = self.take_in(next_tick, &mut reports);
            for (shard, (replica, index)) in self.applied.take_news() {
                self.store.handle(clock::now_ns(), Event::Applied { shard, replica, index });
            }
            self.board.turned(clock::now_ns());
            self.meters.store.begin();
            self.meters.store.end();
            self.meters.intake_waits.store(self.intake.len(), Relaxed);
            self.tick();
            let actions = self.store.drain(clock::now_ns());
            self.awaits_applied = actions.awaits_applied;
            self.act(actions, reports);
            self.discard_snapshots();
            if !goes_on {
                self.board.turned(0);
                self.waiters.stop();
                return;
            }
        }
    }

    /// Behind a wait, before what ended it.
    fn skip_ticks(&mut self) {
        let passed = self.ticked.elapsed().as_nanos() / self.tick.as_nanos().max(1);
        self.ticked += self.tick * self.store.skip_ticks(passed as u64) as u32;
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.ticked + self.tick {
            self.ticks += 1;
            // Reads by the lease pass the store by.
            if self.ticks.is_multiple_of(LEASES_LOOKED_AT) {
                for shard in self.board.take_asked() {
                    self.store.handle(clock::now_ns(), Event::LeaseUsed { shard });
                }
            }
            self.store.handle(clock::now_ns(), Event::Tick);
            // A late tick is dropped, never made up: followers must not hurry towards an election.
            self.ticked = (self.ticked + self.tick).max(now - self.tick / 2);
        }
    }

    /// Waits for something to happen, then takes in all that waits, up to a bound.
    fn take_in(&mut self, next_tick: Instant, reports: &mut Vec<ReportReply>) -> bool {
        let mut timeout = next_tick.saturating_duration_since(Instant::now());
        if self.applied.awaits(self.awaits_applied) {
            timeout = Duration::ZERO;
        }
        let first = if self.pressure.has_room() {
            select! {
                recv(self.control) -> input => Some(input.ok()),
                recv(self.intake) -> input => {
                    self.meters.intake.end();
                    Some(input.ok())
                }
                default(timeout) => None,
            }
        } else {
            select! {
                recv(self.control) -> input => Some(input.ok()),
                default(timeout) => None,
            }
        };
        self.skip_ticks();
        self.board.turned(clock::now_ns());
        let Some(first) = first else { return true };
        let Some(first) = first else { return false };
        if !self.input(first, reports) {
            return false;
        }
        // Whoever is about to say something more says it now: under load one drain then serves many, and an idle machine
        // comes back at once.
        std::thread::yield_now();
        for _ in 0..MAX_EVENTS {
            let input = match self.control.try_recv() {
                Err(TryRecvError::Empty) if self.pressure.has_room() => {
                    self.intake.try_recv().inspect(|_| self.meters.intake.end())
                }
                other => other,
            };
            match input {
                Ok(input) => {
                    if !self.input(input, reports) {
                        return false;
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn input(&mut self, input: StoreInput, reports: &mut Vec<ReportReply>) -> bool {
        let now = clock::now_ns();
        match input {
            StoreInput::Event(event) => self.store.handle(now, event),
            StoreInput::Messages(messages, _credit) => {
                for message in messages {
                    self.undecided.extend(snapshot_of(&message));
                    self.store.handle(now, Event::Message(message));
                }
            }
            // Taken with every turn.
            StoreInput::Applied => {}
            StoreInput::Report(reply) => {
                if reports.is_empty() {
                    self.store.handle(now, Event::Report);
                }
                reports.push(reply);
            }
            StoreInput::Stop => return false,
        }
        true
    }

    /// The board first: a lease that ends must be seen before the message that ends it leaves.
    fn act(&self, actions: Actions, reports: Vec<ReportReply>) {
        if let Some(lost) = actions.lost_log {
            self.lifecycle.lost_log(lost);
        }
        if !actions.publish.is_empty() {
            self.board.publish(actions.publish);
        }
        // What waits for the log is not among them. Others have the longer way to their disks.
        if !actions.sends.is_empty() {
            self.outbound.send(actions.sends);
        }
        if let Some(persist) = actions.persist {
            self.log.persist(persist);
        }
        for apply in actions.applies {
            self.pressure.add(apply_weight(&apply));
            let _ = self.applier.send(applier::Job::Apply(apply));
        }
        for (ticket, answer) in actions.answers {
            self.waiters.answer(ticket, reply(answer));
        }
        for fetch in actions.fetches {
            let _ = self.worker.send(worker::Job::Fetch(fetch));
        }
        for (shard, replica) in actions.make_snapshots {
            let _ = self.worker.send(worker::Job::Export(shard, replica));
        }
        for wanted in actions.send_snapshots {
            self.send_snapshot(wanted);
        }
        for id in actions.drop_snapshots {
            self.offered.drop_id(id);
        }
        for install in actions.installs {
            match self.inbox.take(install.snapshot_id) {
                Some(received) => {
                    let _ = self.applier.send(applier::Job::Install(Box::new((install, received))));
                }
                // Files stay until Raft has decided. It cannot be taken back: begin again from what is durable.
                None => super::fatal::fatal("installing a snapshot failed", &SnapshotGone(install.shard)),
            }
        }
        for (shard, replica) in actions.destroys {
            self.lifecycle.destroy(shard, replica);
        }
        for (shard, replica) in actions.rebuilds {
            self.lifecycle.rebuild(shard, replica);
        }
        if !reports.is_empty() {
            self.report(actions.led, &actions.held, reports);
        }
    }

    /// The files of snapshots that Raft has no use for go; behind the drain, so that one it has taken was asked for.
    fn discard_snapshots(&mut self) {
        let gone = self.undecided.extract_if(.., |(shard, id)| !self.store.awaits_snapshot(*shard, *id));
        for received in gone.filter_map(|(_, id)| self.inbox.take(id)) {
            let _ = self.worker.send(worker::Job::Discard(Box::new(received)));
        }
    }

    fn send_snapshot(&self, wanted: granary_store::SendSnapshot) {
        let shard = ShardId(wanted.message.shard_id);
        let to = granary_common::ReplicaId(wanted.message.to_replica);
        let completions = self.completions.clone();
        let done = Box::new(move |accepted| {
            let _ = completions.send(StoreInput::Event(Event::SnapshotSent { shard, to, accepted }));
        });
        match self.offered.get(wanted.snapshot_id) {
            Some(files) => self.outbound.send_snapshot(wanted, files, done),
            None => done(false),
        }
    }

    fn report(&self, mut led: Vec<wire::LedShard>, held: &[wire::HeldReplica], replies: Vec<ReportReply>) {
        for shard in &mut led {
            shard.bytes = self.applied.get(shard.shard_id.into()).map_or(0, |replica| replica.bytes);
        }
        for reply in replies {
            let _ = reply.send((led.clone(), held.to_vec()));
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the files of {0} that Raft has accepted are gone")]
struct SnapshotGone(ShardId);

/// The received snapshot that a message brings.
fn snapshot_of(message: &wire::RaftMessage) -> Option<(ShardId, u64)> {
    let Some(wire::raft_message::Body::Raft(raft)) = &message.body else { return None };
    raft.snapshot.as_ref().map(|snapshot| (ShardId(message.shard_id), snapshot.snapshot_id))
}

fn reply(answer: Answer) -> super::Reply {
    match answer {
        Answer::ReadReady => Ok(None),
        Answer::NotLeader { leader } => Err(StoreError::NotLeader { leader }),
        Answer::Busy => Err(StoreError::Busy),
        Answer::Unknown => Err(StoreError::Unknown),
        Answer::NoReplica => Err(StoreError::NoReplica),
    }
}
