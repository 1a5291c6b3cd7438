//! A program that is older than its cluster.

use granary_proto::admin::JoinRequest;
use granary_tests::cluster::{Cluster, Shape};

const ALONE: Shape = Shape { nodes: 1, factor: 1, shards: 4 };

#[tokio::test(flavor = "multi_thread")]
async fn a_program_older_than_the_cluster_is_refused_with_both_levels_and_a_code_of_its_own() {
    let mut cluster = Cluster::found(ALONE).await.unwrap();
    cluster.nodes[0].kill();
    cluster.nodes[0].env.push(("GRANARY_FEATURE_LEVEL".into(), "0".into()));
    let (code, said) = cluster.nodes[0].start_refused().await.unwrap();
    assert_eq!(code, 78, "{said}");
    for named in ["too old", "can do feature level 0", "at feature level 1", env!("CARGO_PKG_VERSION")] {
        assert!(said.contains(named), "{named:?} is not in {said}");
    }
    cluster.nodes[0].env.pop();
    cluster.nodes[0].start().unwrap();
    cluster.whole().await.unwrap();

    let older = cluster.add_blank().unwrap();
    cluster.nodes[older].kill();
    cluster.nodes[older].env.push(("GRANARY_FEATURE_LEVEL".into(), "0".into()));
    cluster.nodes[older].start().unwrap();
    let blank = cluster.nodes[older].identify().await.unwrap();
    assert_eq!((blank.feature_level, blank.ready), (0, false));
    assert!(blank.not_ready_reason.starts_with("blank"), "{blank:?}");
    let request = JoinRequest {
        cluster_id: cluster.cluster_id.clone(),
        seeds: vec![cluster.nodes[0].ports.peer.to_string()],
        operator_token: cluster.token,
        domains: None,
    };
    let refused = cluster.nodes[older].admin().unwrap().join(request).await.unwrap_err();
    assert!(refused.message().contains("the cluster is at 1"), "{refused}");
}
