//! One node: a store and simulated drivers around it, which do what the real ones do, in the same order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use granary_common::{ReplicaId, ShardId, log::Position};
use granary_proto::map;
use granary_store::{
    Actions, Answer, Apply, Config, Event, Fetch, Founding, Install, Published, Recovered, SnapshotMade, Store,
};

use crate::{
    checks::Checks,
    disk::{Disk, LogOp, Record, State, tombstone},
    rng::Rng,
};

pub const MS: u64 = 1_000_000;

/// One write of the log writer.
pub struct LogJob {
    ops: Vec<(u32, u64, LogOp)>,
    records: Vec<(u32, Record)>,
    after: After,
}

enum After {
    Persisted(u64),
    Installed { shard: u32, replica: u64, group: map::Group },
    Started { shard: u32, replica: u64, recovered: Box<Recovered>, founding: Founding },
    Destroying { shard: u32, replica: u64 },
    Destroyed { shard: u32 },
}

enum ApplierJob {
    Apply(Apply),
    Install(Box<Install>, State),
    Create { shard: u32, state: State, founding: Founding },
    Empty { shard: u32, replica: u64 },
}

enum WorkerJob {
    Fetch(Fetch),
    Export { shard: u32, replica: u64 },
}

/// What a node wants of the world outside.
#[derive(Default)]
pub struct Outbox {
    pub sends: Vec<granary_store::Send>,
    /// With the files; `None`: they are gone.
    pub snapshots: Vec<(granary_store::SendSnapshot, Option<State>)>,
    /// (ticket, answer); `None`: applied, at this position.
    pub answers: Vec<(u64, Option<Answer>)>,
    pub reports: Vec<(u32, map::Group)>,
}

/// Speeds of the simulated devices, in ns.
#[derive(Clone, Copy)]
pub struct Speeds {
    pub log: u64,
    pub apply: u64,
    pub install: u64,
    pub flush: u64,
}

pub struct Node {
    pub id: u64,
    pub config: Config,
    pub store: Option<Store>,
    /// Wiped and never to come back.
    pub lost: bool,
    pub disk: Disk,
    pub clock_offset: u64,
    pub speeds: Speeds,
    pub started_at: u64,
    /// Replicas that it began its life with.
    pub restarted: BTreeSet<u64>,
    pub paused_until: u64,
    /// The log writer does nothing until then.
    pub stalled_until: u64,
    pub board: BTreeMap<u32, Published>,
    pub inbox: BTreeMap<u64, State>,
    pub map: Vec<map::Shard>,
    pub away: bool,
    pub crash_at_install: bool,
    pub crashed_by_itself: bool,
    offered: BTreeMap<u64, State>,
    busy: BTreeSet<u32>,
    /// As far as it has told its store of time.
    ticked: u64,
    next_flush: u64,
    log: VecDeque<LogJob>,
    log_ready: Option<(u64, usize)>,
    applier: VecDeque<ApplierJob>,
    applier_ready: Option<u64>,
    worker: VecDeque<(u64, WorkerJob)>,
}

impl Node {
    pub fn new(id: u64, config: Config, clock_offset: u64, speeds: Speeds) -> Self {
        Self {
            id,
            config,
            store: None,
            lost: false,
            disk: Disk::default(),
            clock_offset,
            speeds,
            started_at: 0,
            restarted: BTreeSet::new(),
            paused_until: 0,
            stalled_until: 0,
            board: BTreeMap::new(),
            inbox: BTreeMap::new(),
            map: Vec::new(),
            away: false,
            crash_at_install: false,
            crashed_by_itself: false,
            offered: BTreeMap::new(),
            busy: BTreeSet::new(),
            ticked: 0,
            next_flush: 0,
            log: VecDeque::new(),
            log_ready: None,
            applier: VecDeque::new(),
            applier_ready: None,
            worker: VecDeque::new(),
        }
    }

    pub fn clock(&self, now: u64) -> u64 {
        now + self.clock_offset
    }

    pub fn is_up(&self) -> bool {
        self.store.is_some()
    }

    pub fn start(&mut self, now: u64, seed: u64) {
        let mut store = Store::new(Config { seed, ..self.config.clone() });
        self.restarted.clear();
        for (shard, replica, recovered) in self.disk.recover(self.config.memory_entries) {
            self.restarted.insert(replica);
            self.event_to(
                &mut store,
                now,
                Event::Start {
                    shard: ShardId(shard),
                    replica: ReplicaId(replica),
                    recovered: Box::new(recovered),
                    founding: Founding::Restarted,
                },
            );
        }
        self.store = Some(store);
        self.started_at = now;
        self.ticked = now;
        self.next_flush = now + self.speeds.flush;
        self.follow_map(now, self.map.clone());
    }

    fn event_to(&self, store: &mut Store, now: u64, event: Event) {
        store.handle(self.clock(now), event);
    }

    pub fn event(&mut self, now: u64, event: Event) {
        let clock = self.clock(now);
        if let Some(store) = &mut self.store {
            store.handle(clock, event);
        }
    }

    /// Ends the process. With `power`, what was not flushed may be gone too. Returns whether state was lost.
    pub fn crash(&mut self, rng: &mut Rng, checks: &mut Checks, power: bool) -> bool {
        self.store = None;
        self.board.clear();
        self.inbox.clear();
        self.offered.clear();
        self.busy.clear();
        self.away = false;
        self.paused_until = 0;
        self.stalled_until = 0;
        // Some of the writes that were not completed may have reached the disk all the same, in their order.
        let written = if rng.hits(300_000) { rng.between(0, self.log.len() as u64 + 1) as usize } else { 0 };
        for _ in 0..written {
            if let Some(job) = self.log.pop_front() {
                self.write(&job, checks);
            }
        }
        self.log.clear();
        self.log_ready = None;
        self.applier.clear();
        self.applier_ready = None;
        self.worker.clear();
        let lost = power && self.disk.data != self.disk.durable;
        if power {
            self.disk.data = self.disk.durable.clone();
        }
        self.crashed_by_itself = false;
        lost
    }

    fn write(&mut self, job: &LogJob, checks: &mut Checks) {
        for (shard, record) in &job.records {
            self.disk.records.insert(*shard, *record);
        }
        for (shard, replica, op) in &job.ops {
            if let LogOp::Append(entries) = op {
                checks.appended(*shard, *replica, entries);
            }
            self.disk.write_log(*shard, *replica, op.clone());
        }
    }

    /// What became due since the last step: devices, tick, flush.
    pub fn advance(&mut self, now: u64, rng: &mut Rng, checks: &mut Checks, out: &mut Outbox) {
        self.run_log(now, rng, checks);
        self.run_applier(now, rng, checks, out);
        self.run_worker(now);
        if now >= self.next_flush {
            self.next_flush = now + self.speeds.flush / 2 + rng.between(0, self.speeds.flush);
            self.disk.flush();
            let durable: Vec<(u32, u64, u64)> =
                self.disk.durable.iter().map(|(shard, state)| (*shard, state.replica, state.applied.index)).collect();
            for (shard, replica, index) in durable {
                self.event(now, Event::Durable { shard: ShardId(shard), replica: ReplicaId(replica), index });
            }
        }
        self.tick(now);
    }

    /// As the store's thread does: it sleeps for as long as nothing would happen.
    fn tick(&mut self, now: u64) {
        let tick = self.config.tick_ns;
        let idle = self.store.as_ref().map_or(0, Store::idle_ticks);
        if now >= self.ticked + (idle + 1) * tick {
            self.event(now, Event::Tick);
            self.ticked = (self.ticked + tick).max(now - tick / 2);
        }
    }

    /// Before anything else of a moment.
    pub fn skip_ticks(&mut self, now: u64) {
        let tick = self.config.tick_ns;
        let Some(store) = &mut self.store else { return };
        self.ticked += store.skip_ticks(now.saturating_sub(self.ticked) / tick) * tick;
    }

    fn run_log(&mut self, now: u64, rng: &mut Rng, checks: &mut Checks) {
        if now < self.stalled_until {
            return;
        }
        match self.log_ready {
            None if !self.log.is_empty() => {
                let jobs = rng.between(1, self.log.len() as u64 + 1) as usize;
                self.log_ready = Some((now + rng.between(0, self.speeds.log * 2), jobs));
            }
            Some((at, jobs)) if now >= at => {
                self.log_ready = None;
                let jobs: Vec<LogJob> = self.log.drain(..jobs).collect();
                for job in &jobs {
                    self.write(job, checks);
                }
                let persisted = jobs.iter().filter_map(|job| match job.after {
                    After::Persisted(number) => Some(number),
                    _ => None,
                });
                if let Some(number) = persisted.max() {
                    self.event(now, Event::Persisted { number });
                }
                for job in jobs {
                    self.written(now, job.after);
                }
            }
            _ => {}
        }
    }

    fn written(&mut self, now: u64, after: After) {
        match after {
            After::Persisted(_) => {}
            After::Installed { shard, replica, group } => {
                self.event(now, Event::Installed { shard: ShardId(shard), replica: ReplicaId(replica), group });
            }
            After::Started { shard, replica, recovered, founding } => {
                self.busy.remove(&shard);
                self.event(
                    now,
                    Event::Start { shard: ShardId(shard), replica: ReplicaId(replica), recovered, founding },
                );
                self.tell_target(now, shard);
            }
            After::Destroying { shard, replica } => {
                self.event(now, Event::Stop { shard: ShardId(shard), replica: ReplicaId(replica) });
                self.applier.push_back(ApplierJob::Empty { shard, replica });
            }
            After::Destroyed { shard } => {
                self.busy.remove(&shard);
                self.make_missing();
            }
        }
    }

    fn run_applier(&mut self, now: u64, rng: &mut Rng, checks: &mut Checks, out: &mut Outbox) {
        if self.applier_ready.is_none()
            && let Some(job) = self.applier.front()
        {
            let takes = match job {
                ApplierJob::Install(install, _) => {
                    // The marker is synced, and what was there is gone, before the files come in.
                    self.disk.data.remove(&install.shard.0);
                    self.disk.markers.push(install.shard.0);
                    self.disk.flush();
                    rng.between(0, self.speeds.install * 2)
                }
                _ => rng.between(0, self.speeds.apply * 2),
            };
            self.applier_ready = Some(now + takes);
        }
        if self.applier_ready.is_none_or(|at| now < at) {
            return;
        }
        self.applier_ready = None;
        match self.applier.pop_front() {
            Some(ApplierJob::Apply(apply)) => self.apply(now, apply, checks, out),
            Some(ApplierJob::Install(install, state)) => self.install(*install, state),
            Some(ApplierJob::Create { shard, state, founding }) => {
                let replica = state.replica;
                let recovered = Recovered::founder(state.group.clone());
                self.disk.data.insert(shard, state);
                self.disk.flush();
                let restart = LogOp::Restart(recovered.truncated, recovered.hard_state);
                let record = self.record(shard, replica);
                self.log.push_back(LogJob {
                    ops: vec![(shard, replica, restart)],
                    records: vec![(shard, record)],
                    after: After::Started { shard, replica, recovered: Box::new(recovered), founding },
                });
            }
            Some(ApplierJob::Empty { shard, replica }) => {
                self.disk.data.remove(&shard);
                self.disk.flush();
                let record = self.disk.records.get(&shard).copied().unwrap_or_default();
                self.log.push_back(LogJob {
                    ops: vec![(shard, replica, LogOp::Delete)],
                    records: vec![(shard, tombstone(record))],
                    after: After::Destroyed { shard },
                });
            }
            None => {}
        }
    }

    fn apply(&mut self, now: u64, apply: Apply, checks: &mut Checks, out: &mut Outbox) {
        let shard = apply.shard.0;
        let state = self.disk.data.get_mut(&shard).filter(|state| state.replica == apply.replica.0);
        let Some(state) = state else { panic!("node {} has no state of shard {shard} to apply to", self.id) };
        let mut answered = Vec::new();
        for applied in apply.entries {
            let entry = applied.entry;
            if entry.index <= state.applied.index {
                continue;
            }
            assert_eq!(entry.index, state.applied.index + 1, "node {} applies with a hole in shard {shard}", self.id);
            state.applied = Position { index: entry.index, term: entry.term };
            if let Some(change) = applied.membership {
                state.conf_state = change.conf_state;
                state.group = change.group;
            }
            checks.applied(shard, &entry, &state.conf_state, &state.group);
            let is_normal = entry.kind == granary_common::log::EntryKind::Normal;
            let commands = if is_normal { entry.commands().unwrap() } else { Vec::new() };
            state.values.extend(commands.iter().map(|command| (entry.index, command.clone())));
            if !applied.tickets.is_empty() {
                assert_eq!(applied.tickets.len(), commands.len(), "each command of an entry has its caller");
            }
            for (ticket, command) in applied.tickets.into_iter().zip(commands) {
                answered.push((ticket, state.applied, state.conf_state.clone(), command));
            }
        }
        let (replica, index) = (apply.replica, state.applied.index);
        for (ticket, at, conf, data) in answered {
            checks.acknowledge(now, shard, at, conf, data);
            out.answers.push((ticket, None));
        }
        self.event(now, Event::Applied { shard: ShardId(shard), replica, index });
    }

    fn install(&mut self, install: Install, mut state: State) {
        let (shard, replica) = (install.shard.0, install.replica.0);
        assert_eq!(state.applied, install.position, "a snapshot is not what its message says");
        state.replica = replica;
        let group = state.group.clone();
        self.disk.data.insert(shard, state);
        self.disk.markers.retain(|marked| *marked != shard);
        self.disk.flush();
        if self.crash_at_install {
            self.crash_at_install = false;
            self.crashed_by_itself = true;
            return;
        }
        self.log.push_back(LogJob {
            ops: vec![
                (shard, replica, LogOp::Restart(install.position, install.hard_state)),
                (shard, replica, LogOp::Append(install.entries)),
            ],
            records: Vec::new(),
            after: After::Installed { shard, replica, group },
        });
    }

    fn run_worker(&mut self, now: u64) {
        while self.worker.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, job)) = self.worker.pop_front() else { return };
            let event = match job {
                WorkerJob::Fetch(fetch) => {
                    let log = self.disk.logs.get(&(fetch.shard.0, fetch.replica.0));
                    let mut entries = Vec::new();
                    let mut bytes = 0;
                    for index in fetch.low..fetch.high {
                        let Some(entry) = log.and_then(|log| log.entries.get(&index)) else { break };
                        bytes += entry.weight() as u64;
                        if bytes > fetch.max_bytes && !entries.is_empty() {
                            break;
                        }
                        entries.push(entry.clone());
                    }
                    Event::Fetched { shard: fetch.shard, replica: fetch.replica, id: fetch.id, entries }
                }
                WorkerJob::Export { shard, replica } => {
                    let made = self.disk.data.get(&shard).cloned().map(|state| {
                        // Names are never used twice in a run, so that no two snapshots are taken for one another;
                        // those of two shards may be made at one moment.
                        let id = self.id << 48 | (now + u64::from(shard));
                        let made = SnapshotMade { id, position: state.applied, conf_state: state.conf_state.clone() };
                        self.offered.insert(id, state);
                        made
                    });
                    Event::SnapshotMade { shard: ShardId(shard), replica: ReplicaId(replica), made }
                }
            };
            self.event(now, event);
        }
    }

    /// Drains the store and does what it wants.
    pub fn act(&mut self, now: u64, rng: &mut Rng, checks: &mut Checks, out: &mut Outbox) {
        let clock = self.clock(now);
        let Some(store) = &mut self.store else { return };
        let actions = store.drain(clock);
        assert_eq!(actions.lost_log, None, "node {}: a disk has lost what was synced", self.id);
        let Actions { publish, sends, persist, applies, fetches, answers, make_snapshots, .. } = actions;
        for published in publish {
            checks.published(self.id, &published);
            if published.gone {
                self.board.remove(&published.shard.0);
            } else {
                self.board.insert(published.shard.0, published);
            }
        }
        if let Some(persist) = persist {
            let mut ops = Vec::new();
            for item in persist.items {
                let (shard, replica) = (item.shard.0, item.replica.0);
                if let Some(append) = item.append {
                    ops.push((shard, replica, LogOp::Append(append.entries)));
                }
                ops.extend(item.hard_state.map(|state| (shard, replica, LogOp::HardState(state))));
                ops.extend(item.truncate.map(|to| (shard, replica, LogOp::Truncate(to))));
            }
            self.log.push_back(LogJob { ops, records: Vec::new(), after: After::Persisted(persist.number) });
        }
        out.sends.extend(sends);
        self.applier.extend(applies.into_iter().map(ApplierJob::Apply));
        out.answers.extend(answers.into_iter().map(|(ticket, answer)| (ticket, Some(answer))));
        for fetch in fetches {
            self.worker.push_back((now + rng.between(0, 3 * MS), WorkerJob::Fetch(fetch)));
        }
        for (shard, replica) in make_snapshots {
            let job = WorkerJob::Export { shard: shard.0, replica: replica.0 };
            self.worker.push_back((now + rng.between(1, 20 * MS), job));
        }
        self.worker.make_contiguous().sort_by_key(|(at, _)| *at);
        for wanted in actions.send_snapshots {
            let files = self.offered.get(&wanted.snapshot_id).cloned();
            out.snapshots.push((wanted, files));
        }
        for id in actions.drop_snapshots {
            self.offered.remove(&id);
        }
        for install in actions.installs {
            let Some(state) = self.inbox.remove(&install.snapshot_id) else {
                panic!("node {}: the files of a snapshot that Raft has accepted are gone", self.id);
            };
            self.applier.push_back(ApplierJob::Install(Box::new(install), state));
        }
        for (shard, replica) in actions.destroys {
            self.destroy(shard.0, replica.0);
        }
        out.reports.extend(actions.led.into_iter().filter_map(|led| Some((led.shard_id, led.group?))));
    }

    fn destroy(&mut self, shard: u32, replica: u64) {
        let Some(record) = self.disk.records.get(&shard).copied().filter(|record| record.replica == replica) else {
            return;
        };
        self.busy.insert(shard);
        self.log.push_back(LogJob {
            ops: Vec::new(),
            records: vec![(shard, Record { destroying: true, ..record })],
            after: After::Destroying { shard, replica },
        });
    }

    fn record(&self, shard: u32, replica: u64) -> Record {
        let min = self.disk.records.get(&shard).map_or(0, |record| record.min_replica);
        Record { replica, min_replica: min.max(replica), destroying: false }
    }

    pub fn follow_map(&mut self, now: u64, map: Vec<map::Shard>) {
        self.map = map;
        if !self.is_up() {
            return;
        }
        self.make_missing();
        for shard in self.map.clone() {
            self.event(now, Event::Target { shard });
        }
    }

    fn tell_target(&mut self, now: u64, id: u32) {
        if let Some(shard) = self.map.iter().find(|shard| shard.id == id).cloned() {
            self.event(now, Event::Target { shard });
        }
    }

    /// As drivers/replicas.rs does it.
    fn make_missing(&mut self) {
        for shard in self.map.clone() {
            let Some(target) = &shard.target else { continue };
            let group = shard.group.clone().unwrap_or_default();
            let mine = |replicas: &[map::Replica]| {
                replicas.iter().find(|replica| replica.node_id == self.id).map(|replica| replica.id)
            };
            let Some(replica) = mine(&target.replicas).or_else(|| mine(&group.replicas)) else { continue };
            let record = self.disk.records.get(&shard.id);
            let may = record.is_none_or(|record| record.replica == 0 && replica >= record.min_replica);
            if !may || !self.busy.insert(shard.id) {
                continue;
            }
            let founder = group.version == 1 && target.number == 1 && mine(&group.replicas) == Some(replica);
            if founder {
                let preferred = target.replicas.first().is_some_and(|first| first.node_id == self.id);
                let recovered = Recovered::founder(group.clone());
                let state = State {
                    replica,
                    applied: recovered.truncated,
                    conf_state: recovered.conf_state,
                    group,
                    values: Vec::new(),
                };
                let founding = Founding::Founder { preferred };
                self.applier.push_back(ApplierJob::Create { shard: shard.id, state, founding });
            } else {
                let record = self.record(shard.id, replica);
                let after =
                    After::Started { shard: shard.id, replica, recovered: Box::default(), founding: Founding::Learner };
                self.log.push_back(LogJob { ops: Vec::new(), records: vec![(shard.id, record)], after });
            }
        }
    }

    /// Replicas that a target asks of this node, by (shard, id), and whose ids were used up here.
    pub fn spent(&self) -> Vec<(u32, u64)> {
        let spent = |shard: &map::Shard| {
            let mine = |replica: &&map::Replica| replica.node_id == self.id;
            let replica = shard.target.as_ref()?.replicas.iter().find(mine)?.id;
            let record = self.disk.records.get(&shard.id)?;
            (record.replica != replica && replica < record.min_replica).then_some((shard.id, replica))
        };
        self.map.iter().filter_map(spent).collect()
    }

    /// What waits in it, for the report of a failure.
    pub fn queues(&self, now: u64) -> String {
        format!(
            "clock {} ms, {} log jobs, {} applier jobs (next at {:?}), {} worker jobs",
            self.clock(now) / 1_000_000,
            self.log.len(),
            self.applier.len(),
            self.applier_ready.map(|at| at / 1_000_000),
            self.worker.len()
        )
    }

    pub fn applied(&self, shard: u32) -> u64 {
        self.disk.data.get(&shard).map_or(0, |state| state.applied.index)
    }
}
