//! The linter against plans that are known to be bad.

#![allow(clippy::expect_used, clippy::panic)]

mod sim;

use granary_planner::Plan;
use granary_planner::check::lint;
use granary_planner::observed::Seen;
use granary_planner::plan::{Move, PlannedStep, Step};
use sim::{World, desired};

fn refused(world: &World, steps: Vec<Step>, rule: &str) {
    let steps = steps.into_iter().map(|step| PlannedStep { reversible: true, step, reason: "test".to_owned() });
    let plan = Plan { steps: steps.collect(), ..Plan::default() };
    let problems = lint(&world.desired, &world.observed, &plan);
    assert!(problems.iter().any(|problem| problem.rule.contains(rule)), "{rule}: {problems:?}");
}

fn to(shard: u32, nodes: &[u64]) -> Step {
    let change = Move { shard, nodes: nodes.to_vec(), expected_version: 1, bytes: 0 };
    Step::Reconfigure { moves: vec![change] }
}

fn moves(step: Step) -> Vec<Move> {
    let Step::Reconfigure { moves } = step else { return Vec::new() };
    moves
}

#[test]
fn bad_plans_are_refused_by_the_rule_they_break() {
    let mut world = World::settled(desired(5, 3, 16), 0, 7);
    refused(&world, vec![Step::RetirePlace { index: 0 }, Step::RetirePlace { index: 1 }], "disruptive");
    refused(&world, vec![Step::RetirePlace { index: 0 }], "is a member");
    refused(&world, vec![Step::RemoveNode { node: 1 }], "neither draining nor lost");
    refused(&world, vec![Step::RemoveNode { node: 1 }], "needs it");
    world.cluster().stop_reserved = Some(2);
    refused(&world, vec![Step::RemoveNode { node: 1 }], "of another node");
    world.cluster().stop_reserved = None;
    refused(&world, vec![to(1, &[1, 2])], "distinct");
    refused(&world, vec![to(1, &[1, 1, 2])], "distinct");
    refused(&world, vec![to(0, &[1, 2, 9])], "no member");
    refused(&world, vec![to(1, &[1, 2, 3]), to(99, &[1, 2, 3])], "does not exist");
    refused(&world, vec![Step::StartNode { index: 0 }], "in use");
    refused(&world, vec![Step::Join { index: 0 }], "blank");
    refused(&world, vec![Step::Found { founders: vec![0, 1, 2] }], "founded before");
    refused(&world, vec![Step::MintClusterId], "there is an id");
    refused(&world, vec![Step::TransferLeaders { transfers: vec![(1, 9)] }], "no caught-up voter");
    world.desired.paused = true;
    refused(&world, vec![Step::NoteFounded], "paused");
    world.observed.cluster = Seen::Unknown("test".to_owned());
    refused(&world, vec![Step::Drain { node: 1 }], "not fresh");
}

#[test]
fn bad_restarts_are_refused_by_the_rule_they_break() {
    let mut world = World::settled(desired(3, 3, 16), 0, 7);
    let (reserve, restart) = (|node| Step::ReserveStop { node }, |index| Step::RestartPlace { index });
    refused(&world, vec![restart(0)], "nobody asked");
    world.revise(false);
    refused(&world, vec![restart(0)], "not reserved");
    refused(&world, vec![reserve(1), restart(0)], "it leads");
    refused(&world, vec![reserve(1), restart(0), restart(1)], "disruptive");
    refused(&world, vec![reserve(1), reserve(2)], "of another node");
    refused(&world, vec![Step::LeadersAway { node: 1 }], "not reserved");
    refused(&world, vec![Step::ReleaseStop { node: 1 }], "not reserved");
    world.cluster().stop_reserved = Some(2);
    refused(&world, vec![reserve(1), restart(0)], "of another node");
    world.cluster().stop_reserved = None;
    world.silence(3, 5_000);
    refused(&world, vec![reserve(2), restart(1)], "would keep 1 of 3 voters");
    world.observed.cluster = Seen::Unknown("test".to_owned());
    refused(&world, vec![restart(0)], "not fresh");
    world.observed.taken = vec![3];
    refused(&world, vec![Step::StartNode { index: 3 }], "taken");
}

#[test]
fn bad_moves_are_refused_by_the_rule_they_break() {
    let mut world = World::settled(desired(5, 3, 16), 0, 7);
    let at: Vec<Vec<u64>> = world.cluster().shards.iter().map(|shard| shard.target.clone()).collect();
    let others = |shard: usize| (1..=5).filter(|node| !at[shard].contains(node)).collect::<Vec<u64>>();
    let one = |shard: usize| to(shard as u32, &[at[shard][0], at[shard][1], others(shard)[0]]);

    refused(&world, vec![to(1, &[at[1][0], others(1)[0], others(1)[1]])], "more than one replica at a time");
    refused(
        &world,
        vec![Step::Reconfigure { moves: (1..=9).flat_map(|shard| moves(one(shard))).collect() }],
        "at most 8",
    );
    refused(
        &world,
        vec![Step::Reconfigure { moves: moves(one(1)).into_iter().chain(moves(one(1))).collect() }],
        "twice",
    );
    let mut old = moves(one(1));
    old[0].expected_version = 7;
    refused(&world, vec![Step::Reconfigure { moves: old }], "was not seen");

    world.cluster().shards[2].replicas[1].caught_up = false;
    world.cluster().shards[2].replicas[2].caught_up = false;
    refused(&world, vec![one(2)], "no quorum to move with");
    refused(&world, vec![to(2, &[at[2][1], at[2][2], others(2)[0]])], "every caught-up copy");
    world.cluster().shards[3].fresh = false;
    refused(&world, vec![one(3)], "no quorum to move with");
    world.cluster().shards[4].target = vec![at[4][0], at[4][1], others(4)[0]];
    refused(&world, vec![to(4, &[at[4][0], others(4)[0], others(4)[1]])], "under a change already");

    let bad = others(5)[0];
    world.cluster().nodes[bad as usize - 1].draining = true;
    refused(&world, vec![one(5)], "drains");
    world.cluster().nodes[bad as usize - 1].draining = false;
    world.silence(bad, 300_000);
    refused(&world, vec![one(5)], "is lost");
}
