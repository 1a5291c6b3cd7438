//! What comes from outside: wishes, faults, and their end.

use crate::{
    actions::{Action, Actions, Kind, State},
    world::{Disk, Process, World},
};

impl Actions<'_> {
    pub(super) fn outside(&mut self, state: &State) {
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
                    if matches!(action, Action::Lose(_) | Action::Wipe(_)) {
                        place.admitted = 0;
                    }
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
