//! What operators do next: the one at work, whole rounds or parts of them, and one that was overtaken.

use std::rc::Rc;

use crate::{
    actions::{Action, Actions, Kind, State, Wrong},
    acts::Act,
    broken::Broken,
    operator::{Operator, Pending, Planned},
    orders::Refused,
    rules,
    view::Blur,
    world::World,
};

impl Actions<'_> {
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

    pub(super) fn operator(&mut self, state: &State) -> Result<(), Wrong> {
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
            self.unanswered(state, world, acts, done)?;
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

    /// What is done by the cluster and not heard by who asked. Of other steps that is a crash right behind them.
    fn unanswered(&mut self, state: &State, before: World, acts: &[Act], done: usize) -> Result<(), Wrong> {
        let (Act::Join(index), mut world) = (&acts[done], before) else { return Ok(()) };
        if !world.answers() || world.admit(&self.planner.bounds, *index).is_err() {
            return Ok(());
        }
        let action = Action::Unanswered(done as u8 + 1);
        world.settle();
        rules::own_act(&self.planner.bounds, &before, &world, Some(&acts[done]), false).map_err(|why| (action, why))?;
        if world != state.world {
            self.add(state, action, Kind::Outside, State { world, ..state.clone() }, false);
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
    pub(super) fn old(&mut self, state: &State) -> Result<(), Wrong> {
        let Some(old) = &state.old else { return Ok(()) };
        self.push(state, Action::OldDie, Kind::Outside, |next| next.old = None);
        let act = old.left()[0];
        let stopped = act.is_confirmed() && self.planner.bounds.broken != Broken::Unconfirmed;
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
}

impl Pending {
    pub fn new(acts: Rc<[Act]>, at: u8) -> Self {
        Self { acts, at, outdated: 0, raced: false, overtaken: false }
    }

    pub fn into_operator(self) -> Operator {
        if self.left().is_empty() { Operator::Idle } else { Operator::Busy(self) }
    }
}
