//! What does not answer is stale or unknown, and never taken for absent.

mod world;

use granary_operator::{
    observe::{Observer, Sight},
    substrate::Substrate as _,
};
use granary_planner::observed::{Disk, Seen};

use self::world::World;

#[allow(clippy::expect_used)]
async fn look(world: &World, observer: &mut Observer) -> Sight {
    let look = world.look().await.expect("the world can be looked at");
    observer.observe(&look, world).await
}

async fn with_a_blank_node() -> World {
    let world = World::default();
    world.start_node(0).await.unwrap_or(granary_operator::substrate::Start::Running);
    world
}

fn disk(sight: &Sight) -> &Seen<Disk> {
    &sight.observed.places[0].disk
}

#[tokio::test]
async fn a_node_that_falls_silent_is_stale_to_who_heard_it_and_unknown_to_who_did_not() {
    let world = with_a_blank_node().await;
    let mut observer = Observer::default();
    assert!(matches!(disk(&look(&world, &mut observer).await), Seen::Fresh(Disk::Blank { uuid: Some(_) })));
    world.state.lock().places.get_mut(&0).unwrap().mute = true;
    assert!(matches!(disk(&look(&world, &mut observer).await), Seen::Stale(Disk::Blank { uuid: Some(_) })));
    assert!(matches!(disk(&look(&world, &mut Observer::default()).await), Seen::Unknown(_)));
}

#[tokio::test]
async fn a_node_that_answers_as_another_place_says_nothing_of_this_one() {
    let world = with_a_blank_node().await;
    world.state.lock().places.get_mut(&0).unwrap().poses_as = Some("node-7".into());
    let sight = look(&world, &mut Observer::default()).await;
    let Seen::Unknown(why) = disk(&sight) else { panic!("{:?}", disk(&sight)) };
    assert!(why.contains("node-7") && why.contains("node-0"), "{why}");
}

#[tokio::test]
async fn a_cluster_that_nobody_can_be_asked_about_is_unknown() {
    let world = with_a_blank_node().await;
    let sight = look(&world, &mut Observer::default()).await;
    assert!(matches!(sight.observed.cluster, Seen::Unknown(_)));
    assert!(sight.members().is_empty());
}
