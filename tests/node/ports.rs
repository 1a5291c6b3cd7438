//! What answers on a node's ports, and what happens to one who speaks nonsense there or takes them first.

use std::{net::TcpListener, time::Duration};

use granary_tests::{
    cluster::{Cluster, Shape},
    node::channel,
    ports::free,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_stream::StreamExt as _;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const ALONE: Shape = Shape { nodes: 1, factor: 1, shards: 4 };

async fn page(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reflection_metrics_and_probes_answer() {
    let mut cluster = Cluster::found(ALONE).await.unwrap();
    let blank = cluster.add_blank().unwrap();
    cluster.nodes[blank].identify().await.unwrap();
    let (node, blank) = (&cluster.nodes[0], &cluster.nodes[blank]);

    let health = async |service: &str| {
        let mut client = HealthClient::new(channel(&node.ports.kv.to_string()).unwrap());
        client.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner().status()
    };
    granary_tests::wait::until("the data API is healthy", granary_tests::node::LIMIT, || async {
        match health("granary.kv.v1.Kv").await {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(health("").await, ServingStatus::Serving);

    let mut reflection = ServerReflectionClient::new(channel(&node.ports.kv.to_string()).unwrap());
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([list])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) = answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let services: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    assert!(services.contains(&"granary.kv.v1.Kv".to_owned()), "{services:?}");
    assert!(services.contains(&"grpc.health.v1.Health".to_owned()), "{services:?}");

    assert!(page(node.ports.metrics, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(page(node.ports.metrics, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = page(node.ports.metrics, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("# TYPE granary_"), "{metrics}");
    assert!(page(blank.ports.metrics, "/livez").await.starts_with("HTTP/1.1 200"), "a blank node lives");
    let not_ready = page(blank.ports.metrics, "/readyz").await;
    assert!(not_ready.starts_with("HTTP/1.1 503") && not_ready.contains("blank: it waits to be asked"), "{not_ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_any_port_ends_that_connection_and_nothing_else() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let cluster = Cluster::found(ALONE).await.unwrap();
    let node = &cluster.nodes[0];
    let process = node.pid();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for address in [node.ports.kv, node.ports.peer, node.ports.metrics] {
        for round in 0..20 {
            let mut noise = vec![0u8; 4096];
            random.fill_bytes(&mut noise);
            let mut stream = TcpStream::connect(address).await.unwrap();
            if round % 2 == 0 {
                let _ = stream.write_all(preface).await;
            }
            let _ = stream.write_all(&noise).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{address} keeps a connection of nonsense open");
        }
    }
    let client = cluster.client().await.unwrap();
    client.put("key", "value").await.unwrap();
    assert_eq!(client.get("key").await.unwrap().unwrap().value, "value");
    assert_eq!((cluster.nodes[0].pid(), cluster.nodes[0].id().await.unwrap()), (process, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_ends_the_node_with_code_1_and_says_which_flag() {
    let mut cluster = Cluster::found(ALONE).await.unwrap();
    cluster.nodes[0].kill();
    let own = cluster.nodes[0].ports;
    for flag in ["kv-listen", "peer-listen", "metrics-listen"] {
        let taken = TcpListener::bind(free().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let ports = &mut cluster.nodes[0].ports;
        match flag {
            "kv-listen" => ports.kv = address,
            "peer-listen" => ports.peer = address,
            _ => ports.metrics = address,
        }
        let (code, said) = cluster.nodes[0].start_refused().await.unwrap();
        cluster.nodes[0].ports = own;
        assert!(code == 1 && said.contains(&format!("--{flag} {address}")), "{said}");
        assert!(said.contains("choose another port"), "{said}");
    }
}
