//! Operators: a round is look, plan, steps. The real planner and its linter, asked once for each different view.

use std::{collections::HashMap, rc::Rc};

use granary_planner::{
    Observed, Plan, check,
    plan::{self, Step},
};

use crate::{
    bounds::Bounds,
    encode::{Ids, fingerprint},
    few::Few,
    orders::Act,
    view::{Blur, desired, observed},
    world::{Disk, MOST, Place, Process, World},
};

/// What is left of a round.
#[derive(Clone, Debug)]
pub struct Pending {
    pub acts: Rc<[Act]>,
    pub at: u8,
    /// Bits of shards whose groups changed since the plan was made.
    pub outdated: u8,
    /// A fault came since: what was right is not any more, and nobody could know.
    pub raced: bool,
    /// Of an operator that was overtaken by another one.
    pub overtaken: bool,
}

impl Pending {
    pub fn left(&self) -> &[Act] {
        &self.acts[self.at as usize..]
    }
}

/// Where an operator is.
#[derive(Clone, Debug, Default)]
pub enum Operator {
    /// Between two rounds.
    #[default]
    Idle,
    /// It has looked at the places, and will ask the cluster now.
    Looked(Few<Place, MOST>),
    /// In the middle of its steps.
    Busy(Pending),
}

/// A plan, in the model's words.
#[derive(Debug)]
pub struct Planned {
    pub acts: Rc<[Act]>,
    /// Nothing to do, to wait for, or to complain of.
    pub settled: bool,
    /// It says what it waits for or what is wrong.
    pub told: bool,
    /// What its linter has against it.
    pub problems: Vec<String>,
}

/// Asks the planner, and remembers its answers: it is pure.
pub struct Planner {
    pub bounds: Bounds,
    answers: HashMap<u128, Rc<Planned>>,
    /// Views it was asked about.
    pub asked: u64,
}

impl Planner {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, answers: HashMap::new(), asked: 0 }
    }

    /// Different views that there were.
    pub fn views(&self) -> usize {
        self.answers.len()
    }

    /// The plan for what an operator sees of this world; ids are the world's.
    pub fn plan(&mut self, world: &World, places: &[Place], blur: Blur) -> Rc<Planned> {
        self.asked += 1;
        let ids = Ids::of_world(world, places);
        let key = fingerprint(|pen| pen.view(world, places, blur, &ids));
        if let Some(known) = self.answers.get(&key) {
            return if ids.is_plain() { known.clone() } else { Rc::new(known.renamed(|id| ids.concrete(id))) };
        }
        let (_, plan, problems) = self.ask(world, places, blur);
        let planned = Planned {
            acts: acts(&plan, world, places),
            settled: plan.is_settled(),
            told: !plan.waiting.is_empty() || !plan.degraded.is_empty(),
            problems,
        };
        let kept = if ids.is_plain() { None } else { Some(planned.renamed(|id| ids.rank(id))) };
        let planned = Rc::new(planned);
        self.answers.insert(key, kept.map_or_else(|| planned.clone(), Rc::new));
        planned
    }

    /// The view and the plan in the planner's own words, and what its linter says.
    pub fn ask(&self, world: &World, places: &[Place], blur: Blur) -> (Observed, Plan, Vec<String>) {
        let broken = self.bounds.broken;
        let desired = desired(&self.bounds, world);
        let mut seen = observed(&self.bounds, world, places, blur);
        broken.tamper_view(&mut seen);
        let mut plan = granary_planner::plan(&desired, &seen);
        let lints = check::lint(&desired, &seen, &plan);
        broken.tamper_plan(&seen, &mut plan);
        (seen, plan, lints.iter().map(ToString::to_string).collect())
    }
}

impl Planned {
    fn renamed(&self, id: impl Fn(u8) -> u8) -> Self {
        let acts = self.acts.iter().map(|act| act.renamed(&id)).collect();
        Self { acts, problems: self.problems.clone(), ..*self }
    }
}

impl Act {
    /// With other ids of nodes.
    pub fn renamed(&self, id: &impl Fn(u8) -> u8) -> Self {
        let all = |nodes: &Few<u8, 3>| nodes.iter().map(|node| id(*node)).collect::<Few<u8, 3>>();
        match *self {
            Self::Create(shards) => Self::Create(shards.iter().map(all).collect()),
            Self::Reconfigure(moves) => {
                Self::Reconfigure(moves.iter().map(|(shard, nodes)| (*shard, all(nodes))).collect())
            }
            Self::Transfer(transfers) => {
                Self::Transfer(transfers.iter().map(|(shard, to)| (*shard, id(*to))).collect())
            }
            Self::Drain(node) => Self::Drain(id(node)),
            Self::CancelDrain(node) => Self::CancelDrain(id(node)),
            Self::Remove(node) => Self::Remove(id(node)),
            Self::Reserve(node) => Self::Reserve(id(node)),
            Self::LeadersAway(node) => Self::LeadersAway(id(node)),
            Self::Release(node) => Self::Release(id(node)),
            same => same,
        }
    }
}

/// The parts of a plan that an operator can be stopped between.
fn acts(plan: &Plan, world: &World, places: &[Place]) -> Rc<[Act]> {
    let mut acts = Vec::new();
    for planned in &plan.steps {
        match &planned.step {
            Step::Found { founders } => acts.extend(found(founders, world, places)),
            step => acts.push(act(step, places)),
        }
    }
    acts.into()
}

fn found(founders: &[u32], world: &World, places: &[Place]) -> Vec<Act> {
    let (mut epochs, mut all_blank) = ([0; 3], true);
    for place in places.iter().filter(|place| founders.contains(&place.index.into())) {
        epochs[place.index as usize] = place.epoch;
        all_blank &= place.disk == Disk::Blank;
    }
    let bootstraps = founders.iter().map(|index| Act::Bootstrap { index: *index as u8, epochs });
    std::iter::once(Act::Keep { epochs, all_blank, instead_of: world.kept }).chain(bootstraps).collect()
}

fn act(step: &Step, places: &[Place]) -> Act {
    let few = |nodes: &[u64]| nodes.iter().map(|node| *node as u8).collect::<Few<u8, 3>>();
    match step {
        Step::MintClusterId => Act::Mint,
        Step::StartNode { index } => Act::Start(*index as u8),
        Step::Found { .. } => unreachable!("see `found`"),
        Step::NoteFounded => Act::NoteFounded,
        Step::Join { index } => Act::Join(*index as u8),
        Step::CreateShards { placements } => Act::Create(placements.iter().map(|(_, nodes)| few(nodes)).collect()),
        Step::Reconfigure { moves } => {
            let one = |change: &plan::Move| (change.shard as u8, few(&change.nodes));
            Act::Reconfigure(moves.iter().map(one).collect())
        }
        Step::TransferLeaders { transfers } => {
            Act::Transfer(transfers.iter().map(|(shard, node)| (*shard as u8, *node as u8)).collect())
        }
        Step::Drain { node } => Act::Drain(*node as u8),
        Step::CancelDrain { node } => Act::CancelDrain(*node as u8),
        Step::RemoveNode { node } => Act::Remove(*node as u8),
        Step::ReserveStop { node } => Act::Reserve(*node as u8),
        Step::LeadersAway { node } => Act::LeadersAway(*node as u8),
        Step::ReleaseStop { node } => Act::Release(*node as u8),
        Step::RestartPlace { index } => {
            let place = places.iter().find(|place| u32::from(place.index) == *index);
            let starting = place.is_some_and(|place| place.process == Process::Starting);
            Act::Restart { index: *index as u8, starting }
        }
        Step::RetirePlace { index } => Act::Retire(*index as u8),
    }
}
