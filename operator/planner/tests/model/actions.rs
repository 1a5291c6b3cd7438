//! Everything that can happen next in a state.

use std::rc::Rc;

use crate::{
    broken::Broken,
    operator::{Operator, Pending, Planned, Planner},
    orders::{Act, Refused},
    rules,
    view::Blur,
    world::{Disk, Process, Role, SILENCE_MS, SILENT, World},
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

    fn push(&mut self, state: &State, action: Action, kind: Kind, change: impl FnOnce(&mut State)) {
        let mut next = state.clone();
        change(&mut next);
        next.world.settle();
        self.add(state, action, kind, next, false);
    }

    fn add(&mut self, before: &State, action: Action, kind: Kind, mut state: State, fault: bool) {
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
        let comes_up = |place: &&crate::world::Place| place.process == Process::Starting && place.disk != Disk::Gone;
        for place in world.places.iter().filter(comes_up) {
            self.push(state, Action::ComeUp(place.index), Kind::Inside, |next| {
                next.world.place_mut(place.index).into_iter().for_each(|place| place.process = Process::Running);
            });
        }
        if world.stop != 0 || world.nodes.iter().any(|node| node.away) {
            self.push(state, Action::HoldsEnd, Kind::Inside, |next| {
                next.world.stop = 0;
                next.world.nodes.iter_mut().for_each(|node| node.away = false);
            });
        }
        Ok(())
    }

    /// Does acts one after the other until one is refused. How many were done, whether they were work, and the refusal.
    fn perform(
        &mut self,
        world: &mut World,
        acts: &[Act],
        (outdated, raced): (u8, bool),
    ) -> Result<(usize, bool, Option<Refused>), String> {
        let mut work = false;
        for (done, act) in acts.iter().enumerate() {
            let before = *world;
            if let Err(refused) = world.obey(&self.planner.bounds, act, outdated) {
                self.counts.refused += 1;
                // Of several moves some may have been taken.
                return Ok((done, work || *world != before, Some(refused)));
            }
            self.counts.raced += u64::from(raced && matches!(act, Act::Restart { .. }));
            rules::own_act(&self.planner.bounds, &before, world, Some(act), raced)?;
            work |= act.is_work() && *world != before;
        }
        Ok((acts.len(), work, None))
    }

    fn planned(&mut self, state: &State, blur: Blur, action: Action) -> Result<Rc<Planned>, Wrong> {
        let planned = self.planner.plan(&state.world, &state.world.places, blur);
        match planned.problems.first() {
            Some(problem) if self.planner.bounds.broken.is_linted() => Err((action, format!("lint: {problem}"))),
            _ => Ok(planned),
        }
    }

    fn operator(&mut self, state: &State) -> Result<(), Wrong> {
        match &state.operator {
            Operator::Idle => self.rounds(state),
            Operator::Looked(places) => {
                let planned = self.planner.plan(&state.world, places, Blur::Nothing);
                if let Some(problem) = planned.problems.first().filter(|_| self.planner.bounds.broken.is_linted()) {
                    return Err((Action::AskCluster, format!("lint: {problem}")));
                }
                let pending = Pending::new(planned.acts.clone(), 0);
                self.push(state, Action::AskCluster, Kind::Inside, |next| next.operator = pending.into_operator());
                self.push(state, Action::Die, Kind::Outside, |next| next.operator = Operator::Idle);
                Ok(())
            }
            Operator::Busy(pending) => {
                let mut next = state.clone();
                let act = &pending.left()[..1];
                let done = self.perform(&mut next.world, act, (pending.outdated, pending.raced));
                let (_, work, refused) = done.map_err(|why| (Action::Step, why))?;
                next.operator = Operator::Idle;
                if refused.is_none() {
                    next.operator = Pending { at: pending.at + 1, ..pending.clone() }.into_operator();
                }
                let kind = if work { Kind::Work } else { Kind::Inside };
                self.add(state, Action::Step, kind, next, false);
                self.push(state, Action::Die, Kind::Outside, |next| next.operator = Operator::Idle);
                if state.world.left.takeovers > 0 && state.old.is_none() {
                    self.push(state, Action::TakeOver, Kind::Outside, |next| {
                        next.world.left.takeovers -= 1;
                        next.operator = Operator::Idle;
                        next.old = Some(Pending { overtaken: true, ..pending.clone() });
                    });
                }
                Ok(())
            }
        }
    }

    fn rounds(&mut self, state: &State) -> Result<(), Wrong> {
        let planned = self.planned(state, Blur::Nothing, Action::Round)?;
        let acts = &planned.acts;
        // What was seen is true, so nothing that is asked can be wrong.
        let (mut world, mut work) = (state.world, false);
        for done in 0..acts.len() {
            let action = if done + 1 == acts.len() { Action::Round } else { Action::Crash(done as u8 + 1) };
            rules::knowable(&world, &acts[done]).map_err(|why| (action, why))?;
            let step = self.perform(&mut world, &acts[done..=done], (0, false)).map_err(|why| (action, why))?;
            work |= step.1;
            let last = match step.2 {
                Some(Refused::Wrong(why)) => {
                    return Err((action, format!("the nodes refuse {:?}: {why}", acts[done])));
                }
                refused => refused.is_some() || done + 1 == acts.len(),
            };
            let mut next = State { world, ..state.clone() };
            if last {
                if world != state.world {
                    self.add(state, Action::Round, if work { Kind::Work } else { Kind::Inside }, next, false);
                }
                break;
            }
            if world != state.world {
                self.add(state, action, Kind::Outside, next.clone(), false);
            }
            if state.world.left.delays > 0 {
                next.world.left.delays -= 1;
                next.operator = Pending::new(acts.clone(), done as u8 + 1).into_operator();
                self.add(state, Action::Pause(done as u8 + 1), Kind::Outside, next, false);
            }
        }
        if state.world.left.delays > 0 && !acts.is_empty() {
            self.push(state, Action::Pause(0), Kind::Outside, |next| {
                next.world.left.delays -= 1;
                next.operator = Pending::new(acts.clone(), 0).into_operator();
            });
        }
        if state.world.left.blurs > 0 {
            for blur in Blur::all(&state.world) {
                self.blurred(state, blur, acts)?;
            }
            if state.world.answers() {
                self.push(state, Action::Look, Kind::Outside, |next| {
                    next.world.left.blurs -= 1;
                    next.operator = Operator::Looked(state.world.places);
                });
            }
        }
        Ok(())
    }

    fn blurred(&mut self, state: &State, blur: Blur, clear: &[Act]) -> Result<(), Wrong> {
        let planned = self.planned(state, blur, Action::Blurred(blur, 0))?;
        // What begins as the clear round does is a crash of that one.
        if clear.starts_with(&planned.acts) {
            return Ok(());
        }
        let mut world = state.world;
        world.left.blurs -= 1;
        for (act, done) in planned.acts.iter().zip(1..) {
            let action = Action::Blurred(blur, done);
            let step = self.perform(&mut world, std::slice::from_ref(act), (0, false)).map_err(|why| (action, why))?;
            let next = State { world, ..state.clone() };
            self.add(state, action, Kind::Outside, next, false);
            if step.2.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The overtaken operator. The nodes do not listen to it any more, and what takes something away it confirms first;
    /// whether that is enough is what is looked for.
    fn old(&mut self, state: &State) -> Result<(), Wrong> {
        let Some(old) = &state.old else { return Ok(()) };
        self.push(state, Action::OldDie, Kind::Outside, |next| next.old = None);
        let act = old.left()[0];
        let stopped = act.is_confirmed() && self.planner.bounds.broken != Broken::Unconfirmed && state.world.answers();
        if act.is_fenced() || stopped {
            return Ok(());
        }
        let mut next = state.clone();
        let done = self.perform(&mut next.world, &[act], (old.outdated, old.raced));
        let (_, _, refused) = done.map_err(|why| (Action::OldStep, why))?;
        let rest = Pending { at: old.at + 1, ..old.clone() };
        next.old = (refused.is_none() && !rest.left().is_empty()).then_some(rest);
        self.add(state, Action::OldStep, Kind::Outside, next, false);
        Ok(())
    }

    fn outside(&mut self, state: &State) {
        let (bounds, world) = (self.planner.bounds.clone(), &state.world);
        let events = bounds.events;
        for place in world.places.iter().filter(|place| place.cut) {
            self.push(state, Action::Heal(place.index), Kind::Outside, |next| {
                next.world.place_mut(place.index).into_iter().for_each(|place| place.cut = false);
            });
        }
        if world.left.wishes > 0 {
            let mut wish = |action: Action, change: &dyn Fn(&mut World)| {
                self.push(state, action, Kind::Outside, |next| {
                    next.world.left.wishes -= 1;
                    change(&mut next.world);
                });
            };
            for replicas in bounds.replicas.iter().filter(|replicas| **replicas != world.replicas) {
                wish(Action::Replicas(*replicas), &|world| world.replicas = *replicas);
            }
            if events.restarts && world.places.iter().any(|place| !place.restart) && world.shards.len() > 1 {
                wish(Action::RestartAll, &|world| world.places.iter_mut().for_each(|place| place.restart = true));
            }
            if events.drains && world.drain_wish == 0 {
                for node in world.nodes.iter() {
                    wish(Action::DrainWish(node.id), &|world| world.drain_wish = node.id);
                }
            } else if events.drains {
                wish(Action::DrainWish(0), &|world| world.drain_wish = 0);
            }
            for place in world.places.iter().filter(|_| events.moves && bounds.zones > 1) {
                wish(Action::Move(place.index), &|world| {
                    let zone = world.place_mut(place.index).into_iter();
                    zone.for_each(|place| place.zone = (place.zone + 1) % bounds.zones);
                });
            }
        }
        if world.left.faults > 0 {
            self.faults(state);
        }
    }

    fn faults(&mut self, state: &State) {
        let events = self.planner.bounds.events;
        for place in state.world.places.iter() {
            let up = place.is_up();
            let faults = [
                (events.cuts && up, Action::Cut(place.index)),
                (events.kills && up, Action::Kill(place.index)),
                (events.losses && place.disk != Disk::Gone, Action::Lose(place.index)),
                (events.wipes && matches!(place.disk, Disk::Member(_)), Action::Wipe(place.index)),
            ];
            for (_, action) in faults.into_iter().filter(|(may, _)| *may) {
                let mut next = state.clone();
                next.world.left.faults -= 1;
                if let Some(place) = next.world.place_mut(place.index) {
                    match action {
                        Action::Cut(_) => place.cut = true,
                        Action::Kill(_) => place.process = Process::Stopped,
                        Action::Lose(_) => {
                            (place.disk, place.process, place.cut) = (Disk::Gone, Process::Starting, false)
                        }
                        _ => {
                            (place.disk, place.process, place.cut) = (Disk::Blank, Process::Running, false);
                            place.epoch += 1;
                        }
                    }
                }
                next.world.settle();
                self.add(state, action, Kind::Outside, next, true);
            }
        }
    }
}

impl Pending {
    pub fn new(acts: Rc<[Act]>, at: u8) -> Self {
        Self { acts, at, outdated: 0, raced: false, overtaken: false }
    }

    pub fn into_operator(self) -> Operator {
        if self.left().is_empty() { Operator::Idle } else { Operator::Busy(self) }
    }
}
