//! Scaling under load.

use granary_tests::{
    balance::{balanced, least_moves, moved},
    wait::until,
};

use crate::fixture::{Fixture, LIMIT, nothing_lost};

#[tokio::test(flavor = "multi_thread")]
async fn three_to_five_to_three_under_load_is_even_loses_nothing_and_moves_no_more_than_it_must() {
    let cluster = Fixture::up(3, 3, 8).await;
    let writer = cluster.writer(8).await;
    for replicas in [5, 3] {
        let before = cluster.shards().await.unwrap();
        cluster.edit_replicas(replicas).unwrap();
        let nodes = cluster.ready(replicas, LIMIT).await.unwrap();
        let after = until("even replicas and leaders", LIMIT, || async {
            let shards = cluster.shards().await.map_err(|error| error.to_string())?;
            balanced(&shards, &nodes).map(|()| shards).map_err(|error| error.to_string())
        })
        .await
        .unwrap();
        let (moved, least) = (moved(&before, &after), least_moves(&before, &nodes));
        assert_eq!(moved, least, "to {replicas} nodes: {before:?} became {after:?}");
        assert_eq!(writer.check().await.unwrap().lost, 0, "{:?}", writer.errors());
    }
    until("what left is put aside", LIMIT, || async {
        let aside = |name: &str| cluster.dir.join("removed").join(name).is_dir();
        if aside("node-3.1") && aside("node-4.1") { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await
    .unwrap();
    nothing_lost(writer).await;
}
