//! The linter against plans that are known to be bad.

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

#[test]
fn bad_plans_are_refused_by_the_rule_they_break() {
    let mut world = World::settled(desired(5, 3, 16), 0, 7);
    refused(&world, vec![Step::RetirePlace { index: 0 }, Step::RetirePlace { index: 1 }], "disruptive");
    refused(&world, vec![Step::RetirePlace { index: 0 }], "is a member");
    refused(&world, vec![Step::RemoveNode { node: 1 }], "neither draining nor lost");
    refused(&world, vec![Step::RemoveNode { node: 1 }], "needs it");
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
