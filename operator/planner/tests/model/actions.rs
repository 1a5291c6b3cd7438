//! Everything that can happen next in a state: what the nodes and the time do is here, the rest in `rounds` and `outside`.

use crate::{
    operator::{Operator, Pending, Planner},
    rules,
    view::Blur,
    world::{Disk, Place, Process, Role, SILENCE_MS, SILENT, World},
};

/// A state of the search.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub world: World,
    pub operator: Operator,
    /// What is left of the round of an operator that was overtaken.
    pub old: Option<Pending>,
}

/// What happens. Places by index, nodes by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The nodes and the time, which nobody can hold up.
    Elect(u8, u8),
    Walk(u8, u8),
    CatchUp(u8, u8),
    HandOff(u8, u8),
    Unheard(u8),
    ComeUp(u8),
    HoldsEnd,
    /// The operator: a whole round, or the next part of one that takes long.
    Round,
    AskCluster,
    Step,
    /// From here on what comes from outside. A round that is cut off after so many steps, by a crash.
    Crash(u8),
    /// A round that ends in a join whose answer is lost, the step of this number.
    Unanswered(u8),
    /// A round that takes long after so many steps.
    Pause(u8),
    /// A round that sees less, and ends after so many steps.
    Blurred(Blur, u8),
    /// The operator looks at the places, and asks the cluster later.
    Look,
    /// The operator dies in the middle of its round.
    Die,
    /// Another operator begins while this one is in the middle of its round.
    TakeOver,
    /// The overtaken one wakes up and takes its next step, or never does.
    OldStep,
    OldDie,
    Replicas(u8),
    RestartAll,
    DrainWish(u8),
    Move(u8),
    Cut(u8),
    Heal(u8),
    Kill(u8),
    Lose(u8),
    Wipe(u8),
}

/// How an action counts where nothing comes from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// From outside.
    Outside,
    /// By itself.
    Inside,
    /// By itself, and an operator did some work: it must not come round again.
    Work,
}

/// A state that follows.
pub struct Next {
    pub action: Action,
    pub state: State,
    pub kind: Kind,
}

/// What was counted beside states.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Steps that the nodes refused.
    pub refused: u64,
    /// Restarts that raced with a fault.
    pub raced: u64,
}

/// Enumerates.
pub struct Actions<'a> {
    pub planner: &'a mut Planner,
    pub counts: &'a mut Counts,
    pub out: Vec<Next>,
}

/// What must not be, and by which action.
pub type Wrong = (Action, String);

impl Actions<'_> {
    /// Fills `out` with all that follows from `state`.
    pub fn all(&mut self, state: &State) -> Result<(), Wrong> {
        self.nodes(state)?;
        self.operator(state)?;
        self.old(state)?;
        self.outside(state);
        Ok(())
    }

    pub(super) fn push(&mut self, state: &State, action: Action, kind: Kind, change: impl FnOnce(&mut State)) {
        let mut next = state.clone();
        change(&mut next);
        next.world.settle();
        self.add(state, action, kind, next, false);
    }

    pub(super) fn add(&mut self, before: &State, action: Action, kind: Kind, mut state: State, fault: bool) {
        let mut changed = 0_u8;
        for (at, (was, is)) in before.world.shards.iter().zip(state.world.shards.iter()).enumerate() {
            changed |= u8::from(was.group() != is.group()) << at;
        }
        let note = |pending: &mut Pending| {
            pending.outdated |= changed;
            pending.raced |= fault;
        };
        if let Operator::Busy(pending) = &mut state.operator {
            note(pending);
        }
        state.old.iter_mut().for_each(note);
        self.out.push(Next { action, state, kind });
    }

    fn nodes(&mut self, state: &State) -> Result<(), Wrong> {
        let bounds = self.planner.bounds.clone();
        let world = &state.world;
        let alive = world.alive();
        let from = self.out.len();
        for (shard, at) in world.shards.iter().zip(0_u8..) {
            let away = |id: u8| world.node(id).is_some_and(|node| node.away);
            let able = |only_at_home: bool| {
                let ids = shard.replicas.iter().map(|replica| replica.node);
                let able = ids.filter(|id| shard.can_lead(*id, alive) && !(only_at_home && away(*id)));
                able.take(if bounds.any_leader { usize::MAX } else { 1 }).collect::<Vec<u8>>()
            };
            if shard.leader == 0 {
                let at_home = able(true);
                for id in if at_home.is_empty() { able(false) } else { at_home } {
                    self.push(state, Action::Elect(at, id), Kind::Inside, |next| next.world.lead(at.into(), id));
                }
                continue;
            }
            if away(shard.leader) && shard.commits(alive) {
                let votes = |id: u8| shard.replica(id).is_some_and(|r| matches!(r.role, Role::Voter | Role::Incoming));
                for id in able(true).into_iter().filter(|id| votes(*id)) {
                    self.push(state, Action::HandOff(at, id), Kind::Inside, |next| next.world.lead(at.into(), id));
                }
            }
            let next = shard.walk(alive, bounds.broken.walks_over_the_unheard());
            for (walked, choice) in next.iter().zip(0..).take(if bounds.any_leader { usize::MAX } else { 1 }) {
                self.push(state, Action::Walk(at, choice), Kind::Inside, |next| {
                    next.world.shards[at as usize] = *walked;
                    if walked.leader != shard.leader {
                        next.world.lead(at.into(), walked.leader);
                    }
                });
            }
            for replica in shard.replicas.iter().filter(|r| !r.data && alive & 1 << r.node != 0) {
                self.push(state, Action::CatchUp(at, replica.node), Kind::Inside, |next| {
                    let replicas = next.world.shards[at as usize].replicas.iter_mut();
                    replicas.filter(|r| r.node == replica.node).for_each(|r| r.data = true);
                });
            }
        }
        for next in &self.out[from..] {
            rules::own_act(&bounds, world, &next.state.world, None, false).map_err(|why| (next.action, why))?;
        }
        for node in world.nodes.iter().filter(|node| alive & 1 << node.id == 0) {
            let comes_up = world
                .places
                .iter()
                .any(|place| place.disk == Disk::Member(node.id) && place.process == Process::Starting && !place.cut);
            let most = if comes_up || bounds.never_replaced { SILENT } else { SILENCE_MS.len() as u8 - 1 };
            if world.answers() && node.silence < most {
                self.push(state, Action::Unheard(node.id), Kind::Inside, |next| {
                    next.world.node_mut(node.id).into_iter().for_each(|node| node.silence += 1);
                });
            }
        }
        let comes_up = |place: &&Place| place.process == Process::Starting && place.disk != Disk::Gone;
        for place in world.places.iter().filter(comes_up) {
            self.push(state, Action::ComeUp(place.index), Kind::Inside, |next| {
                next.world.place_mut(place.index).into_iter().for_each(|place| place.process = Process::Running);
            });
        }
        let held = if bounds.holds_last { world.stop } else { 0 };
        if world.stop != held || world.nodes.iter().any(|node| node.away) {
            self.push(state, Action::HoldsEnd, Kind::Inside, |next| {
                next.world.stop = held;
                next.world.nodes.iter_mut().for_each(|node| node.away = false);
            });
        }
        Ok(())
    }
}
