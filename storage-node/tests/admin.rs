//! The Admin service of real processes: a cluster is founded, grows by a node, and answers what it is asked from any node.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use granary_proto::{
    admin::{admin_client::AdminClient, *},
    map::{Addresses, NodeState},
};
use tonic::{Code, Status, transport::Channel};

struct Process {
    child: Child,
    peer: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(directory: &Path, index: usize) -> Self {
        let address = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let peer = address();
        let child = Command::new(env!("CARGO_BIN_EXE_granary-node"))
            .arg("--data")
            .arg(directory.join(index.to_string()))
            .args(["--name", &format!("node-{index}"), "--kv-listen", &address(), "--peer-listen", &peer])
            .args(["--metrics-listen", &address()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, peer }
    }

    fn admin(&self) -> AdminClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.peer)).unwrap();
        AdminClient::new(endpoint.timeout(Duration::from_secs(20)).connect_lazy())
    }
}

/// Asks until the answer is there and as wanted.
async fn until<T, F: Future<Output = Result<T, Status>>>(
    what: &str,
    ask: impl Fn() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let last = match ask().await {
            Ok(answer) if wanted(&answer) => return answer,
            Ok(_) => "not as wanted".to_owned(),
            Err(status) => status.to_string(),
        };
        assert!(Instant::now() < deadline, "{what}: {last}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn identify(process: &Process) -> IdentifyResponse {
    let ask = async || Ok(process.admin().identify(IdentifyRequest {}).await?.into_inner());
    until("identify", ask, |_| true).await
}

async fn state(
    process: &Process,
    what: &str,
    wanted: impl Fn(&GetClusterStateResponse) -> bool,
) -> GetClusterStateResponse {
    let ask = async || Ok(process.admin().get_cluster_state(GetClusterStateRequest {}).await?.into_inner());
    until(what, ask, wanted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_founded_grows_and_answers_from_any_node() {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes: Vec<Process> = (0..3).map(|index| Process::start(directory.path(), index)).collect();
    let mut founders = Vec::new();
    for (process, node_id) in nodes.iter().zip(1..) {
        let known = identify(process).await;
        let sender = known.sender.unwrap();
        assert_eq!((sender.node_id, known.ready), (0, false));
        let Some(Addresses { kv, peer }) = sender.addresses else { panic!("no addresses") };
        let addresses = Some(Addresses { kv, peer });
        founders.push(Founder { node_id, uuid: sender.uuid, name: known.name, addresses, domains: known.domains });
    }
    let cluster_id = uuid::Uuid::new_v4().to_string();
    let bootstrap = BootstrapRequest {
        cluster_id: cluster_id.clone(),
        founders,
        replication_factor: 3,
        shard_count: 4,
        feature_level: 1,
    };
    for (process, node_id) in nodes.iter().zip(1..) {
        for _ in 0..2 {
            let answer = process.admin().bootstrap(bootstrap.clone()).await.unwrap().into_inner();
            assert_eq!((answer.cluster_id, answer.node_id), (cluster_id.clone(), node_id));
        }
    }
    let foreign = BootstrapRequest { cluster_id: uuid::Uuid::new_v4().to_string(), ..bootstrap.clone() };
    let refused = nodes[0].admin().bootstrap(foreign.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains(&cluster_id) && refused.message().contains(&foreign.cluster_id), "{refused}");

    // Each node answers, for it passes the call on to the leader of the meta shard.
    for process in &nodes {
        state(process, "all nodes are heard", |state| state.nodes.iter().all(|node| node.heard)).await;
    }
    let acquire =
        |installation: &str| AcquireOperatorRequest { installation: installation.into(), process: "p".into() };
    let token = nodes[1].admin().acquire_operator(acquire("ours")).await.unwrap().into_inner().token;
    let other = nodes[2].admin().acquire_operator(acquire("theirs")).await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);

    let shards = (1..=4).map(|shard_id| Placement { shard_id, node_ids: vec![1, 2, 3] }).collect();
    let create = CreateShardsRequest { operator_token: token, shards };
    nodes[2].admin().create_shards(create).await.unwrap();
    let led = |state: &GetClusterStateResponse| {
        let caught_up = |shard: &ShardLiveness| shard.leader_node_id != 0 && shard.progress.iter().all(|p| p.caught_up);
        state.shards.len() == 5 && state.shards.iter().all(caught_up)
    };
    state(&nodes[0], "all shards are led by caught-up groups", led).await;

    // One node may be stopped, not two at once.
    let reserve = |node_id| ReserveStopRequest { operator_token: token, node_id };
    let held = nodes[0].admin().reserve_stop(reserve(1)).await.unwrap().into_inner();
    assert!(held.allowed && held.held_for_ms > 0, "{held:?}");
    let second = nodes[1].admin().reserve_stop(reserve(2)).await.unwrap().into_inner();
    assert!(!second.allowed && second.reasons[0].contains("node 1 is reserved"), "{second:?}");
    nodes[1].admin().release_stop(ReleaseStopRequest { operator_token: token, node_id: 1 }).await.unwrap();

    // A blank node joins through any seed; the same again answers the same.
    nodes.push(Process::start(directory.path(), 3));
    identify(&nodes[3]).await;
    let seeds = vec![nodes[2].peer.clone()];
    let join = JoinRequest { cluster_id: cluster_id.clone(), seeds, operator_token: token };
    for _ in 0..2 {
        assert_eq!(nodes[3].admin().join(join.clone()).await.unwrap().into_inner().node_id, 4);
    }
    state(&nodes[3], "the new node is heard", |state| state.nodes.len() == 4 && state.nodes[3].heard).await;

    // It drains (it holds nothing), and is removed; a node that holds replicas is not.
    nodes[0].admin().drain(DrainRequest { operator_token: token, node_id: 4 }).await.unwrap();
    let draining = state(&nodes[0], "node 4 drains", |state| {
        state.map.as_ref().is_some_and(|map| map.nodes[3].state() == NodeState::Draining)
    });
    draining.await;
    let drained =
        async || Ok(nodes[1].admin().get_drain_progress(GetDrainProgressRequest { node_id: 4 }).await?.into_inner());
    until("node 4 is drained", drained, |progress| progress.drained).await;
    let remove = |node_id| RemoveNodeRequest { operator_token: token, node_id };
    let needed = nodes[0].admin().remove_node(remove(1)).await.unwrap_err();
    assert!(needed.code() == Code::FailedPrecondition && needed.message().contains("shard 0"), "{needed}");
    nodes[0].admin().remove_node(remove(4)).await.unwrap();
    nodes[0].admin().remove_node(remove(4)).await.unwrap();
    let unknown = nodes[1].admin().can_stop(CanStopRequest { node_id: 4 }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    // With one of three gone, no other may stop.
    drop(nodes.remove(2));
    let ask = async || Ok(nodes[0].admin().can_stop(CanStopRequest { node_id: 1 }).await?.into_inner());
    let lost =
        |answer: &CanStopResponse| answer.reasons.iter().any(|reason| reason.ends_with("would keep 1 of 3 voters"));
    until("node 1 may not stop any more", ask, lost).await;
}
