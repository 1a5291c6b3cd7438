//! The Admin service: a cluster is founded, grows by a node, and answers what it is asked from any node.

use granary_proto::{admin::*, map::NodeState};
use granary_tests::{cluster::Cluster, node::LIMIT, wait::until};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_founded_once_and_answers_from_any_node() {
    let cluster = Cluster::of_three(4).await.unwrap();
    for (node, node_id) in cluster.nodes.iter().zip(1..) {
        let known = node.identify().await.unwrap();
        let sender = known.sender.unwrap();
        assert_eq!((sender.node_id, sender.cluster_id.as_str()), (node_id, cluster.cluster_id.as_str()));
        let state = node.admin().unwrap().get_cluster_state(GetClusterStateRequest {}).await.unwrap().into_inner();
        assert!(state.nodes.len() == 3 && state.nodes.iter().all(|node| node.heard), "{state:?}");
    }
    let foreign = uuid::Uuid::new_v4().to_string();
    let sender = cluster.nodes[0].identify().await.unwrap().sender.unwrap();
    let founder = Founder { node_id: 1, uuid: sender.uuid, addresses: sender.addresses, ..Founder::default() };
    let bootstrap = BootstrapRequest {
        cluster_id: foreign.clone(),
        founders: vec![founder],
        replication_factor: 1,
        shard_count: 4,
        feature_level: 1,
    };
    let refused = cluster.nodes[0].admin().unwrap().bootstrap(bootstrap).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains(&cluster.cluster_id) && refused.message().contains(&foreign), "{refused}");

    let theirs = AcquireOperatorRequest { installation: "theirs".into(), process: "p".into() };
    let other = cluster.nodes[2].admin().unwrap().acquire_operator(theirs).await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition, "another installation was active just now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_drains_and_is_removed_and_one_that_is_needed_is_not() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let token = cluster.token;
    let blank = cluster.add_blank().unwrap();
    for _ in 0..2 {
        assert_eq!(cluster.join(blank).await.unwrap(), 4, "the same Join again answers the same");
    }
    cluster
        .state_until("the new node is heard", LIMIT, |state| match state.nodes.get(3) {
            Some(node) if node.heard => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await
        .unwrap();

    let admin = |index: usize| cluster.nodes[index].admin().unwrap();
    admin(0).drain(DrainRequest { operator_token: token, node_id: 4 }).await.unwrap();
    let draining = |state: &GetClusterStateResponse| match state.map.as_ref().map(|map| map.nodes[3].state()) {
        Some(NodeState::Draining) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    cluster.state_until("node 4 drains", LIMIT, draining).await.unwrap();
    until("node 4 is drained", LIMIT, || async {
        let asked = admin(1).get_drain_progress(GetDrainProgressRequest { node_id: 4 }).await;
        let progress = asked.map_err(|status| status.to_string())?.into_inner();
        if progress.drained { Ok(()) } else { Err(format!("{progress:?}")) }
    })
    .await
    .unwrap();

    let remove = |node_id| RemoveNodeRequest { operator_token: token, node_id };
    let needed = admin(0).remove_node(remove(1)).await.unwrap_err();
    assert!(needed.code() == Code::FailedPrecondition && needed.message().contains("shard 0"), "{needed}");
    for _ in 0..2 {
        admin(0).remove_node(remove(4)).await.unwrap();
    }
    let unknown = admin(1).can_stop(CanStopRequest { node_id: 4 }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_and_old_tokens_are_refused_with_their_value_and_what_there_is() {
    let cluster = Cluster::found(granary_tests::cluster::Shape { nodes: 1, factor: 1, shards: 4 }).await.unwrap();
    let mut admin = cluster.nodes[0].admin().unwrap();
    let token = cluster.token;
    let item = |shard_id, node_ids| Reconfiguration { shard_id, node_ids, expected_version: 1 };
    let items = vec![item(9, vec![1]), item(1, vec![7])];
    let outcomes = admin.reconfigure(ReconfigureRequest { operator_token: token, items }).await.unwrap().into_inner();
    let said: Vec<&str> = outcomes.outcomes.iter().map(|outcome| outcome.message.as_str()).collect();
    assert!(outcomes.outcomes.iter().all(|outcome| !outcome.accepted), "{said:?}");
    assert!(said[0].contains("shard_id 9") && said[0].contains("0 to 4"), "{said:?}");
    assert!(said[1].contains('7'), "{said:?}");

    let drain = admin.drain(DrainRequest { operator_token: token, node_id: 7 }).await.unwrap_err();
    assert!(drain.code() == Code::NotFound && drain.message().contains('7'), "{drain}");
    let stop = admin.can_stop(CanStopRequest { node_id: 7 }).await.unwrap_err();
    assert!(stop.code() == Code::NotFound && stop.message().contains("node_id 7"), "{stop}");
    let hash = admin.replica_hash(ReplicaHashRequest { shard_id: 77 }).await.unwrap_err();
    assert!(hash.code() == Code::NotFound && hash.message().contains("shard_id 77"), "{hash}");
    let transfers = vec![Transfer { shard_id: 88, to_node_id: 1 }];
    let transfer = TransferLeadersRequest { operator_token: token, transfers, ..Default::default() };
    let unknown = admin.transfer_leaders(transfer).await.unwrap_err();
    assert!(unknown.code() == Code::NotFound && unknown.message().contains("shard_id 88"), "{unknown}");

    let old = admin.drain(DrainRequest { operator_token: token + 5, node_id: 1 }).await.unwrap_err();
    assert!(old.code() == Code::FailedPrecondition && old.message().contains(&(token + 5).to_string()), "{old}");
}
