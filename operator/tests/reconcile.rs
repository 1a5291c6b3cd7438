//! The loop over a cluster in memory: it reaches what is asked, also when it is killed after every change that it makes.

mod world;

use std::sync::Arc;

use granary_crds::{StorageClusterSpec, parse, status::Phase};
use granary_operator::{
    node_admin::AdminError,
    reconcile::{LoopError, Reconciler, Round, preview},
    substrate::Substrate as _,
};
use granary_planner::plan::Step;

use self::world::World;

/// Rounds within which everything here settles, kills counted.
const MOST_ROUNDS: usize = 2_000;

#[allow(clippy::expect_used)]
fn spec(replicas: i32) -> StorageClusterSpec {
    let example = parse(include_str!("../../examples/cluster.yaml")).expect("the example is valid");
    StorageClusterSpec { replicas, shards: 16, ..example.spec }
}

fn reconciler(world: &Arc<World>) -> Reconciler {
    Reconciler::new(world.clone(), world.clone())
}

/// Runs the loop until the cluster is as asked; a new loop after each kill, which comes after `fuse` changes.
#[allow(clippy::expect_used, clippy::panic)]
async fn settle(world: &Arc<World>, spec: &StorageClusterSpec, fuse: Option<u32>) -> Round {
    let mut reconciler = reconciler(world);
    world.state.lock().fuse = fuse;
    let mut last = None;
    for _ in 0..MOST_ROUNDS {
        let round = reconciler.round(spec, 1, None).await.expect("the loop goes on");
        if round.status.phase == Phase::Ready {
            return round;
        }
        let mut state = world.state.lock();
        if std::mem::take(&mut state.killed) {
            state.fuse = fuse;
            reconciler = Reconciler::new(world.clone(), world.clone());
        }
        last = Some(round);
    }
    panic!("not settled with fuse {fuse:?}: {:?}", last.map(|round| (round.plan, round.status, round.error)));
}

fn members(world: &World) -> Vec<u64> {
    world.state.lock().map.iter().flat_map(|map| &map.nodes).map(|node| node.id).collect()
}

/// Replica counts and leader counts differ by one at most.
fn assert_balanced(world: &World) {
    let counts: Vec<_> = members(world).into_iter().map(|node| world.state.lock().replicas(node)).collect();
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    // The meta shard's replicas are counted here too, and it may be anywhere.
    assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 2, "{counts:?}");
    let (least, most) = world.state.lock().leaders();
    assert!(most - least <= 1, "{least} to {most} leaders");
}

#[tokio::test]
async fn a_cluster_is_founded_grows_and_shrinks() {
    let world = Arc::new(World::default());
    for replicas in [3, 5, 3] {
        settle(&world, &spec(replicas), None).await;
        assert_eq!(members(&world).len(), replicas as usize);
        assert_eq!(world.state.lock().places.len(), replicas as usize);
        assert_balanced(&world);
    }
}

#[tokio::test]
async fn a_loop_killed_after_every_change_and_started_again_converges() {
    // 2 also comes between two calls of one step; 1 is a loop that can only ever make one change.
    for fuse in [2, 3, 5, 7] {
        let world = Arc::new(World::default());
        for replicas in [3, 5, 3] {
            settle(&world, &spec(replicas), Some(fuse)).await;
            assert_eq!(members(&world).len(), replicas as usize, "fuse {fuse}");
        }
        assert_balanced(&world);
    }
}

#[tokio::test]
async fn a_loop_killed_after_any_one_change_goes_on_from_there() {
    let counting = Arc::new(World::default());
    settle(&counting, &spec(3), None).await;
    let changes = counting.state.lock().changes;
    for kill in 1..=changes {
        let world = Arc::new(World::default());
        world.state.lock().fuse = Some(kill);
        let mut first = reconciler(&world);
        while !world.state.lock().killed {
            first.round(&spec(3), 1, None).await.unwrap();
        }
        drop(first);
        world.state.lock().killed = false;
        settle(&world, &spec(3), None).await;
        assert_eq!(members(&world), [1, 2, 3], "killed after change {kill}");
    }
}

#[tokio::test]
async fn a_settled_cluster_is_left_alone() {
    let world = Arc::new(World::default());
    settle(&world, &spec(3), None).await;
    let mut reconciler = reconciler(&world);
    // A new process takes the token, so that another installation knows that somebody is there; then it does nothing.
    assert!(reconciler.round(&spec(3), 1, None).await.unwrap().settled);
    let before = world.state.lock().changes;
    for _ in 0..10 {
        assert!(reconciler.round(&spec(3), 1, None).await.unwrap().settled);
    }
    assert_eq!(world.state.lock().changes, before);
}

#[tokio::test]
async fn a_process_whose_token_was_overtaken_stops_for_good() {
    let world = Arc::new(World::default());
    let mut old = reconciler(&world);
    while old.round(&spec(3), 1, None).await.unwrap().status.phase != Phase::Ready {}
    world.state.lock().token += 1;
    let mut rounds = 0;
    let error = loop {
        match old.round(&spec(5), 1, None).await {
            Ok(_) => rounds += 1,
            Err(error) => break error,
        }
        assert!(rounds < 100, "it did not stop");
    };
    let LoopError::TakenOver(AdminError::TakenOver { ours, theirs, .. }) = error else { panic!("{error}") };
    assert!(theirs > ours);
}

#[tokio::test]
async fn a_node_that_a_person_wants_drained_is_emptied_and_filled_again_when_the_wish_is_taken_back() {
    let world = Arc::new(World::default());
    settle(&world, &spec(5), None).await;
    world.state.lock().draining_wishes = vec![4];
    let mut reconciler = reconciler(&world);
    for _ in 0..MOST_ROUNDS {
        reconciler.round(&spec(5), 1, None).await.unwrap();
    }
    assert_eq!(world.state.lock().replicas(4), 0);
    assert!(members(&world).contains(&4), "a drained node stays a member");
    world.state.lock().draining_wishes = Vec::new();
    settle(&world, &spec(5), None).await;
    assert!(world.state.lock().replicas(4) > 0);
    assert_balanced(&world);
}

#[tokio::test]
async fn a_process_that_was_overtaken_within_its_round_gives_no_place_up() {
    let world = Arc::new(World::default());
    settle(&world, &spec(4), None).await;
    let mut old = reconciler(&world);
    old.round(&spec(5), 1, None).await.unwrap();
    // The place is not needed any more, and to give it up is no order to the nodes.
    let look = world.look().await.unwrap();
    let (_, _, plan) = preview(&spec(4), &look, world.as_ref()).await;
    let steps: Vec<Step> = plan.steps.into_iter().map(|planned| planned.step).collect();
    assert!(matches!(steps[..], [Step::RetirePlace { .. }]), "{steps:?}");
    let places = world.state.lock().places.len();
    world.state.lock().token += 1;
    let error = old.round(&spec(4), 1, None).await.unwrap_err();
    assert!(matches!(error, LoopError::TakenOver(_)), "{error}");
    assert_eq!(world.state.lock().places.len(), places);
}

/// World 1945: it stood still between its look and its first token, for as long as another process worked.
#[tokio::test]
async fn what_a_process_saw_before_it_got_its_token_is_looked_at_again_before_anything_is_given_up() {
    let world = Arc::new(World::default());
    settle(&world, &spec(4), None).await;
    reconciler(&world).round(&spec(5), 1, None).await.unwrap();
    // Before another process makes the blank node a member, its place is one too many.
    let look = world.look().await.unwrap();
    let (_, _, plan) = preview(&spec(4), &look, world.as_ref()).await;
    let steps: Vec<Step> = plan.steps.into_iter().map(|planned| planned.step).collect();
    assert_eq!(steps, [Step::RetirePlace { index: 4 }]);
    world.state.lock().other_join = Some(4);
    let round = reconciler(&world).round(&spec(4), 1, None).await.unwrap();
    let steps: Vec<Step> = round.plan.steps.into_iter().map(|planned| planned.step).collect();
    assert_eq!((steps, round.error), (vec![Step::Drain { node: 5 }], None));
    assert_eq!(members(&world), [1, 2, 3, 4, 5]);
    assert_eq!(world.state.lock().places.len(), 5);
}

#[tokio::test]
async fn what_another_process_has_kept_of_the_founding_since_this_one_looked_is_not_replaced_or_passed_over() {
    let counting = Arc::new(World::default());
    let mut first = reconciler(&counting);
    while counting.state.lock().founding.is_none() {
        first.round(&spec(3), 1, None).await.unwrap();
    }
    let mut theirs = counting.state.lock().founding.clone().expect("kept");
    theirs.founders[0].uuid = "an empty disk of before".into();

    let world = Arc::new(World::default());
    let mut late = reconciler(&world);
    while world.state.lock().places.len() < 3 {
        late.round(&spec(3), 1, None).await.unwrap();
    }
    world.state.lock().other_founding = Some(theirs.clone());
    let round = late.round(&spec(3), 1, None).await.unwrap();
    assert!(round.error.is_some_and(|error| error.contains("was chosen to found the cluster")));
    let state = world.state.lock();
    assert_eq!(state.founding.as_ref(), Some(&theirs));
    assert!(state.places.values().all(|node| node.id == 0), "a founder was told another content");
}
