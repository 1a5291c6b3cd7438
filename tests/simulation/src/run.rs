//! One run: a world is made, founded, tormented, healed, and judged.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use granary_common::{ShardId, SlotRange, slot_of};
use granary_history::{Budget, History, Origin, Report, Verdict, check, check_revisions, final_reads};
use granary_machine::shard;

use crate::{
    faults::{Fault, announce, count_of},
    operator::spec,
    rng::Rng,
    world::{MS, SECOND, Shape, Shared, World},
};

/// Simulated time within which a new cluster is as asked.
const FOUNDED_WITHIN: u64 = 60 * SECOND;
/// Simulated time within which everything is finished once all faults have ended.
pub const FINISHED_WITHIN: u64 = 180 * SECOND;
/// Simulated time for which faults wait for what they need, such as a whole cluster.
const LONGEST_STORM: u64 = 120 * SECOND;

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Of the run.
    pub seed: u64,
    /// Hash of all that happened.
    pub trace: u64,
    /// How much happened.
    pub happened: u64,
    /// Simulated time, in ns.
    pub simulated_ns: u64,
    /// Faults and other things, by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// From the end of all faults until everything was finished, in ns.
    pub finished_ns: u64,
    /// Longest time without an answered operation behind the end of all faults, in ns.
    pub longest_gap_ns: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Kinds that were announced.
    pub announced: Vec<Fault>,
}

/// Runs one seed. The error says what was violated.
pub fn run(seed: u64) -> Result<Outcome, String> {
    let mut last = String::new();
    let lines = &mut last;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let world = begin(seed);
        let done = catch_unwind(AssertUnwindSafe(|| play(&world)));
        granary_operator::clock::hold(None);
        if !matches!(done, Ok(Ok(_)))
            && let Ok(world) = world.try_borrow()
        {
            *lines = world.last_lines();
        }
        World::end(&world);
        done.map_err(|panic| words(&panic))
    }));
    match outcome {
        Ok(Ok(Ok(outcome))) => Ok(outcome),
        Ok(Ok(Err(error)) | Err(error)) => Err(format!("{error}\nwhat happened last:\n{last}")),
        Err(panic) => Err(words(&panic)),
    }
}

fn words(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A world of this shape, founded and as asked; without clients and faults.
///
/// # Errors
/// It is not as asked in time.
pub fn found(seed: u64, shape: Shape) -> Result<Shared, String> {
    let world = World::new(seed, shape);
    start(&world);
    settle(&world)?;
    Ok(world)
}

fn start(shared: &Shared) {
    let mut world = shared.borrow_mut();
    let shape = world.shape.clone();
    world.ask_for(spec(shape.nodes, shape.factor, shape.shards));
    world.start_operator();
}

fn settle(shared: &Shared) -> Result<(), String> {
    let founded = World::run_until(shared, FOUNDED_WITHIN, |world| world.is_ready());
    founded.map(drop).ok_or_else(|| format!("not founded in time: {}", describe(&shared.borrow())))
}

fn begin(seed: u64) -> Shared {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let shards = *rng.pick(&[1, 2, 2, 4]);
    let factor = *rng.pick(&[3, 3, 3, 3, 3, 5, 1]);
    let nodes = (factor + rng.between(0, 3) as u32).min(5);
    World::new(seed, Shape { places: 12, shards, factor, nodes })
}

fn play(shared: &Shared) -> Result<Outcome, String> {
    let announced = {
        let mut world = shared.borrow_mut();
        let shape = world.shape.clone();
        let announced = announce(&mut world.rng, &shape);
        world.note(|| format!("{shape:?} {announced:?}"));
        announced
    };
    start(shared);
    settle(shared)?;
    {
        let mut world = shared.borrow_mut();
        let (clients, workers) = (world.rng.between(1, 4), world.rng.between(1, 4));
        let keys = world.rng.between(3, 16);
        world.start_clients(clients, workers, keys);
        world.start_stray_writes();
        world.stormy = true;
    }
    storm(shared, &announced)?;
    shared.borrow_mut().heal();
    let healed_at = shared.borrow().now;
    let (mut longest_gap, mut last) = (0, healed_at);
    let wanted = |world: &mut World| {
        let answered = world.clients.answered_at.max(healed_at);
        if answered > last {
            longest_gap = longest_gap.max(answered - last);
            last = answered;
        }
        world.is_ready() && world.substrate.said.as_ref().is_some_and(|(_, at, _)| *at > healed_at) && world.is_whole()
    };
    let Some(finished_ns) = World::run_until(shared, FINISHED_WITHIN, wanted) else {
        return Err(format!(
            "not finished {} s after all faults ended: {}",
            FINISHED_WITHIN / SECOND,
            describe(&shared.borrow())
        ));
    };
    finish(shared)?;
    if World::run_until(shared, 20 * SECOND, |world| world.is_equal()).is_none() {
        return Err(format!("replicas are not equal at the end: {}", describe(&shared.borrow())));
    }
    let mut world = shared.borrow_mut();
    judge(&mut world, &announced)?;
    let (trace, happened) = world.trace();
    let checks = &world.checks;
    let seen = [
        ("elections", checks.elections),
        ("committed entries", checks.committed),
        ("rows compared", checks.compared),
        ("reads by lease", checks.lease_reads),
        ("reads by ReadIndex", checks.index_reads),
        ("writes sent again", world.clients.retried),
    ];
    let mut counts = world.counts.clone();
    counts.extend(seen);
    Ok(Outcome {
        seed: world.seed,
        trace,
        happened,
        simulated_ns: world.now,
        counts,
        finished_ns,
        longest_gap_ns: longest_gap,
        operations: world.clients.history.len() as u64,
        announced,
    })
}

/// Lets clients end what they have begun, and read every key once more.
///
/// # Errors
/// They do not end in time.
pub fn finish(shared: &Shared) -> Result<(), String> {
    shared.borrow_mut().over = true;
    if World::run_until(shared, 20 * SECOND, |world| world.clients.under_way == 0).is_none() {
        return Err(format!("operations of clients do not end: {}", describe(&shared.borrow())));
    }
    shared.borrow_mut().start_last_reads();
    if World::run_until(shared, 20 * SECOND, |world| world.clients.under_way == 0).is_none() {
        return Err(format!("the last reads do not end: {}", describe(&shared.borrow())));
    }
    Ok(())
}

/// Faults of the announced kinds, until each has happened.
fn storm(shared: &Shared, announced: &[Fault]) -> Result<(), String> {
    let begin = shared.borrow().now;
    let length = shared.borrow_mut().rng.between(5, 25) * SECOND;
    loop {
        let (fault, wait) = {
            let mut world = shared.borrow_mut();
            let missing: Vec<Fault> =
                announced.iter().copied().filter(|fault| !world.counts.contains_key(count_of(*fault))).collect();
            let passed = world.now - begin;
            if passed >= length && missing.is_empty() {
                return Ok(());
            }
            if passed >= LONGEST_STORM {
                return Err(format!("faults that were announced did not happen: {missing:?}"));
            }
            let rather_missing = passed >= length || world.rng.hits(300_000);
            let of = if rather_missing && !missing.is_empty() { &missing[..] } else { announced };
            let fault = *world.rng.pick(of);
            (fault, world.rng.between(50, 3_000) * MS)
        };
        shared.borrow_mut().inject(fault);
        World::run_for(shared, wait);
    }
}

/// Whether what was announced happened, and all that clients saw can be.
///
/// # Errors
/// What cannot be.
pub fn judge(world: &mut World, announced: &[Fault]) -> Result<(), String> {
    for fault in announced {
        if !world.counts.contains_key(count_of(*fault)) {
            return Err(format!("{fault:?} was announced and did not happen"));
        }
    }
    let replay = format!("cargo run --release -p granary-simulation -- --replay {}", world.seed);
    let origin = Origin { seed: world.seed, replay };
    let history = History { origin, operations: std::mem::take(&mut world.clients.history) };
    let report = check(&history, Budget::default()).map_err(|error| error.to_string())?;
    let failed = save_if(&history, &report);
    let finals = final_reads(&history).map_err(|error| error.to_string())?;
    let shards = world.shape.shards;
    let shard_of = |key: &str| {
        let slot = slot_of(key.as_bytes());
        (0..shards).find(|shard| SlotRange::of_shard(*shard, shards).contains(slot)).unwrap_or(shards)
    };
    let revisions = check_revisions(&history, shard_of).map_err(|error| error.to_string())?;
    world.clients.history = history.operations;
    failed?;
    if !finals.is_good() {
        return Err(format!("{} writes are lost: {:?}, unread {:?}", finals.lost, finals.violations, finals.unread));
    }
    if revisions.violated > 0 {
        return Err(format!("revisions of a shard do not grow: {:?}", revisions.violations));
    }
    Ok(())
}

fn save_if(history: &History, report: &Report) -> Result<(), String> {
    if report.verdict() == Verdict::Linearizable {
        return Ok(());
    }
    let path = std::env::temp_dir().join(format!("granary-simulation-{}.jsonl", history.origin.seed));
    let saved = history.save(&path).map_or_else(|error| error.to_string(), |()| path.display().to_string());
    let stuck = report.violations.iter().flat_map(|violation| &violation.stuck);
    let stuck: String = stuck.map(|operation| format!("\n  {operation} of {}", operation.key)).collect();
    Err(format!("the history (saved as {saved}) is not linearizable; no order explains:{stuck}"))
}

impl World {
    /// All replicas of each shard have applied the same, and their rows are equal.
    fn is_equal(&mut self) -> bool {
        (0..=self.shape.shards).map(ShardId).all(|id| {
            let states: Vec<(u64, u64)> = self
                .places
                .iter()
                .filter(|place| place.exists)
                .filter_map(|place| {
                    let state = shard::load(place.disk.data.view(), id).ok()??;
                    Some((state.applied_index, place.disk.data.hash(id)))
                })
                .collect();
            states.len() == self.shape.factor as usize && states.iter().all(|state| *state == states[0])
        })
    }
}

fn describe(world: &World) -> String {
    let mut text = format!("at {} ms; the loop said {:?}\n", world.now / MS, world.substrate.said);
    for place in world.places.iter().filter(|place| place.exists) {
        let node = place.disk.identity.as_ref().map(|identity| identity.node_id);
        text += &format!("  place {} node {node:?} runs {}\n", place.index, place.process.is_some());
        for (id, record) in &place.disk.raft.records {
            let log = place.disk.raft.logs.get(&(*id, granary_common::ReplicaId(record.replica_id)));
            let state = shard::load(place.disk.data.view(), *id).ok().flatten();
            let seen = world.member(place.index).and_then(|member| member.board.get(id));
            text += &format!(
                "    {id} replica {} log {:?}..{:?} {:?} applied {:?} board {:?}\n",
                record.replica_id,
                log.map(|log| log.truncated),
                log.map(crate::disk::Log::last),
                log.map(|log| log.hard_state),
                state.map(|state| (state.applied_index, state.conf_state)),
                seen.map(|seen| (seen.role, seen.term, seen.leader, seen.caught_up)),
            );
        }
    }
    text
}
