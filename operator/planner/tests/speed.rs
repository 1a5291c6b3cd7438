//! How long a plan takes; printed, not asserted, as other work shares the machine. See it with `-- --nocapture`.

#![allow(clippy::expect_used, clippy::panic)]

mod sim;

use std::time::Instant;

use granary_planner::plan;
use sim::{World, desired};

#[test]
fn the_time_of_a_plan_is_printed() {
    for shards in [64, 1024] {
        let mut world = World::settled(desired(5, 3, shards), 0, 3);
        world.desired.replicas = 7;
        world.apply(&world.plan());
        world.apply(&world.plan());
        let run = |_| {
            let start = Instant::now();
            let _ = plan(&world.desired, &world.observed);
            start.elapsed().as_secs_f64() * 1000.0
        };
        let best = (0..10).map(run).fold(f64::MAX, f64::min);
        println!("{shards} shards, 5 to 7 nodes: {best:.3} ms");
    }
}
