//! The way to what must not be, for people: each action, what an operator planned, and what was there afterwards.

use std::fmt::Write as _;

use crate::{
    actions::{Action, Actions, Counts, Kind, State},
    bounds::Bounds,
    operator::{Operator, Planner},
    view::Blur,
    world::{Disk, Process, Role, SILENCE_MS, World},
};

/// The way to a state, then the action that must not be.
pub fn to(bounds: &Bounds, first: &State, way: &[Action], last: Option<Action>, why: &str) -> String {
    let mut text = format!("{}: {why}\n", bounds.name);
    let state = tell(bounds, first, way, &mut text);
    if let Some(last) = last {
        let _ = writeln!(text, "{:>3}. {last:?}", way.len() + 1);
        plan(bounds, &state, last, &mut text);
    }
    let _ = writeln!(text, "=> {why}");
    text
}

/// The way to a cycle, then once round it.
pub fn around(
    bounds: &Bounds,
    first: &State,
    way: &[Action],
    ring: &[u32],
    number: &dyn Fn(&State) -> Option<u32>,
) -> String {
    let why = "it goes round in circles, with no change from outside";
    let mut text = format!("{}: {why}\n", bounds.name);
    let mut state = tell(bounds, first, way, &mut text);
    let _ = writeln!(text, "--- and from here round:");
    for to in &ring[1..] {
        let next = all(bounds, &state).into_iter().find(|next| number(&next.1) == Some(*to));
        let Some((action, next)) = next else { break };
        let _ = writeln!(text, "     {action:?}");
        plan(bounds, &state, action, &mut text);
        let _ = writeln!(text, "       {}", summary(&next));
        state = next;
    }
    let _ = writeln!(text, "=> {why}");
    text
}

/// Where these actions lead.
pub fn replay(bounds: &Bounds, first: &State, way: &[Action]) -> State {
    tell(bounds, first, way, &mut String::new())
}

fn tell(bounds: &Bounds, first: &State, way: &[Action], text: &mut String) -> State {
    let mut state = first.clone();
    let _ = writeln!(text, "     {}", summary(&state));
    for (number, action) in way.iter().enumerate() {
        let _ = writeln!(text, "{:>3}. {action:?}", number + 1);
        plan(bounds, &state, *action, text);
        let next = all(bounds, &state).into_iter().find(|next| next.0 == *action);
        state = next.unwrap_or_else(|| panic!("{action:?} does not follow")).1;
        let _ = writeln!(text, "       {}", summary(&state));
    }
    state
}

fn all(bounds: &Bounds, state: &State) -> Vec<(Action, State)> {
    let (mut planner, mut counts) = (Planner::new(bounds.clone()), Counts::default());
    let mut actions = Actions { planner: &mut planner, counts: &mut counts, out: vec![] };
    // What must not be may come after what is looked for.
    let _ = actions.all(state);
    // What happens by itself first: it tells more of a cycle.
    actions.out.sort_by_key(|next| next.kind == Kind::Outside);
    actions.out.into_iter().map(|next| (next.action, next.state)).collect()
}

/// What the operator planned, when this is what it acts on.
fn plan(bounds: &Bounds, state: &State, action: Action, text: &mut String) {
    let planner = Planner::new(bounds.clone());
    let world = &state.world;
    let (_, plan, _) = match (action, &state.operator) {
        (Action::Round | Action::Crash(_) | Action::Unanswered(_) | Action::Pause(_), _) => {
            planner.ask(world, &world.places, Blur::Nothing)
        }
        (Action::Blurred(blur, _), _) => planner.ask(world, &world.places, blur),
        (Action::AskCluster, Operator::Looked(places)) => planner.ask(world, places, Blur::Nothing),
        (Action::Step, Operator::Busy(pending)) => {
            let _ = writeln!(text, "       | {:?}", pending.left()[0]);
            return;
        }
        (Action::OldStep, _) => {
            let act = state.old.as_ref().map(|old| old.left()[0]);
            let _ = writeln!(text, "       | {act:?}");
            return;
        }
        _ => return,
    };
    for line in plan.render().lines() {
        let _ = writeln!(text, "       | {line}");
    }
}

fn summary(state: &State) -> String {
    let world = &state.world;
    let mut text = format!("want {}", world.replicas);
    for place in world.places.iter() {
        let disk = match place.disk {
            Disk::Blank if place.admitted != 0 => format!("blank, n{}", place.admitted),
            Disk::Blank => "blank".to_owned(),
            Disk::Gone => "gone".to_owned(),
            Disk::Member(id) => format!("n{id}"),
        };
        let process = match place.process {
            Process::Running if place.cut => "~",
            Process::Running => "",
            Process::Starting => "^",
            Process::Stopped => "!",
        };
        let _ = write!(text, " [{}:{disk}{process}{}]", place.index, if place.restart { "*" } else { "" });
    }
    nodes(world, &mut text);
    for (shard, id) in world.shards.iter().zip(0..) {
        let _ = write!(text, " | s{id}");
        for replica in shard.replicas.iter() {
            let role = match replica.role {
                Role::Voter => "",
                Role::Learner => "l",
                Role::Incoming => "+",
                Role::Outgoing => "-",
            };
            let lead = if replica.node == shard.leader { "L" } else { "" };
            let _ = write!(text, " {}{role}{lead}{}", replica.node, if replica.data { "" } else { "?" });
        }
        if !shard.arrived() {
            let _ = write!(text, " -> {:?}", shard.target);
        }
    }
    if world.stop != 0 {
        let _ = write!(text, " | stop of {}", world.stop);
    }
    text
}

fn nodes(world: &World, text: &mut String) {
    for node in world.nodes.iter().filter(|node| node.draining || node.silence > 0 || node.away || !node.heard) {
        let drains = if node.draining { " drains" } else { "" };
        let away = if node.away { " leaders away" } else { "" };
        let silent = SILENCE_MS[node.silence as usize] / 1000;
        let heard = if node.heard { "" } else { " not heard yet" };
        let _ = write!(text, " (n{}{drains}{away} silent {silent} s{heard})", node.id);
    }
}
