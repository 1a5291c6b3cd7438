//! Breadth first over everything that can happen, then over the graph of what happens by itself: it must come to rest, and
//! must not go round in circles.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::OnceLock,
    time::Instant,
};

use crate::{
    actions::{Action, Actions, Counts, Kind, State},
    bounds::Bounds,
    circles::{Circle, Graph},
    encode::{Ids, fingerprint},
    operator::Planner,
    rules, trace,
    view::Blur,
    world::World,
};

/// More states than this are more than any bound is meant to have.
const MOST_STATES: usize = 200_000_000;

/// What was explored, all of it.
#[derive(Clone, Copy, Debug)]
pub struct Explored {
    pub states: usize,
    pub transitions: u64,
    /// Most actions on the shortest way to a state.
    pub depth: u32,
    /// States in which nothing happens by itself any more.
    pub at_rest: usize,
    pub views: usize,
    pub plans: u64,
    pub counts: Counts,
    /// Of one processor.
    pub seconds: f64,
}

/// Takes what is a fingerprint already.
#[derive(Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.0 = chunk.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        }
    }
    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

/// By fingerprint.
pub type Seen<T> = HashMap<u128, T, BuildHasherDefault<Same>>;

/// Seconds for which this thread has had a processor; of the clock where that is not told.
fn busy() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let clock = START.get_or_init(Instant::now).elapsed().as_secs_f64();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|told| told.split_whitespace().next()?.parse::<f64>().ok());
    ns.map_or(clock, |ns| ns / 1e9)
}

fn name(state: &State) -> u128 {
    let ids = Ids::of_state(&state.world, &state.operator, state.old.as_ref());
    fingerprint(|pen| pen.state(&state.world, &state.operator, state.old.as_ref(), &ids))
}

/// The cluster that a search begins with: settled on its own, or nothing at all.
pub fn first(bounds: &Bounds) -> State {
    let mut planner = Planner::new(Bounds { broken: crate::broken::Broken::Nothing, ..bounds.clone() });
    let mut counts = Counts::default();
    let world = World { replicas: bounds.nodes, next_node: 1, ..World::default() };
    let mut state = State { world, ..State::default() };
    if bounds.nodes == 0 {
        state.world.replicas = bounds.replicas[0];
        state.world.left = bounds.left;
        return state;
    }
    loop {
        let mut actions = Actions { planner: &mut planner, counts: &mut counts, out: vec![] };
        actions.all(&state).unwrap_or_else(|(_, why)| panic!("the first cluster of {:?}: {why}", bounds.name));
        let inside = actions.out.into_iter().filter(|next| next.kind != Kind::Outside);
        let Some(next) = inside.max_by_key(|next| next.action == Action::Round) else { break };
        state = next.state;
    }
    state.world.replicas = bounds.replicas[0];
    state.world.left = bounds.left;
    state
}

/// Explores all of it.
///
/// # Errors
/// The shortest way to what must not be, step by step.
pub fn explore(bounds: &Bounds) -> Result<Explored, String> {
    let start = busy();
    let mut planner = Planner::new(bounds.clone());
    let mut counts = Counts::default();
    let first = first(bounds);
    let mut seen: Seen<u32> = Seen::default();
    let mut parents: Vec<(u32, Action)> = vec![(0, Action::Round)];
    let mut depths: Vec<u16> = vec![0];
    let mut graph = Graph::default();
    let mut queue = VecDeque::from([first.clone()]);
    seen.insert(name(&first), 0);
    let (mut transitions, mut at_rest, mut at) = (0, 0, 0_u32);
    while let Some(state) = queue.pop_front() {
        let way = |parents: &[(u32, Action)], last: Option<Action>, why: &str| {
            trace::to(bounds, &first, &way_to(parents, at), last, why)
        };
        rules::always(bounds, &state.world).map_err(|why| way(&parents, None, &why))?;
        let mut actions = Actions { planner: &mut planner, counts: &mut counts, out: vec![] };
        actions.all(&state).map_err(|(action, why)| way(&parents, Some(action), &why))?;
        let out = actions.out;
        graph.begin();
        let mut moves = false;
        for next in out {
            transitions += 1;
            let id = *seen.entry(name(&next.state)).or_insert_with(|| {
                parents.push((at, next.action));
                depths.push(depths[at as usize] + 1);
                queue.push_back(next.state);
                parents.len() as u32 - 1
            });
            if next.kind != Kind::Outside && id != at {
                moves = true;
                graph.edge(id, next.kind == Kind::Work);
            }
        }
        if !moves {
            at_rest += 1;
            let planned = planner.plan(&state.world, &state.world.places, Blur::Nothing);
            rules::settled(bounds, &state.world, &planned).map_err(|why| way(&parents, Some(Action::Round), &why))?;
        }
        assert!(parents.len() < MOST_STATES, "{}: too many states", bounds.name);
        at += 1;
    }
    for circle in graph.circles() {
        let (way, ring) = match &circle {
            Circle::Works(ring) => (way_to(&parents, ring[0]), ring.clone()),
            Circle::NeverRests(ring) => (way_to(&parents, ring[0]), ring.clone()),
        };
        let state = trace::replay(bounds, &first, &way);
        let planned = planner.plan(&state.world, &state.world.places, Blur::Nothing);
        if let Circle::NeverRests(_) = circle
            && rules::settled(bounds, &state.world, &planned).is_ok()
        {
            continue;
        }
        return Err(trace::around(bounds, &first, &way, &ring, &|state| seen.get(&name(state)).copied()));
    }
    let depth = depths.iter().copied().max().unwrap_or(0).into();
    let (views, plans, seconds) = (planner.views(), planner.asked, busy() - start);
    Ok(Explored { states: parents.len(), transitions, depth, at_rest, views, plans, counts, seconds })
}

fn way_to(parents: &[(u32, Action)], mut at: u32) -> Vec<Action> {
    let mut way = vec![];
    while at != 0 {
        let (parent, action) = parents[at as usize];
        way.push(action);
        at = parent;
    }
    way.reverse();
    way
}

impl std::fmt::Display for Explored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { states, transitions, depth, at_rest, views, plans, counts, seconds } = self;
        write!(f, "{states:>9} states, {transitions:>9} transitions, depth {depth:>3}, {at_rest:>6} at rest, ")?;
        write!(f, "{views:>7} views, {plans:>8} plans, ")?;
        write!(f, "{:>6} steps refused, {:>4} raced, {seconds:6.1} s", counts.refused, counts.raced)
    }
}
