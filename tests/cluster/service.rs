//! A cluster behind one fixed address that leads to any of its nodes, as a Service of Kubernetes does or a port-forward.

use std::{net::SocketAddr, sync::Arc};

use granary_client::{Client, Options, Scan, Write};
use granary_tests::{cluster::Cluster, ports::Ports};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

/// Passes connections on to one node, which may change.
struct Service {
    address: String,
    backend: Arc<Mutex<SocketAddr>>,
}

impl Service {
    async fn before(backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let backend = Arc::new(Mutex::new(backend));
        let current = backend.clone();
        let pass_on = async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let node = *current.lock();
                tokio::spawn(async move {
                    if let Ok(mut node) = TcpStream::connect(node).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
                    }
                });
            }
        };
        tokio::spawn(pass_on);
        Self { address, backend }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_which_all_known_addresses_changed_finds_the_cluster_by_the_address_it_was_given() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let service = Service::before(cluster.nodes[0].ports.kv).await;
    let client = Client::connect([service.address.clone()], Options::default()).await.unwrap();
    client.put("key", "before").await.unwrap();
    for node in &mut cluster.nodes {
        node.kill();
        node.ports = Ports::free().unwrap();
    }
    let seeds: Vec<String> = cluster.nodes.iter().map(|node| node.ports.peer.to_string()).collect();
    for node in &mut cluster.nodes {
        node.seeds.clone_from(&seeds);
        node.start().unwrap();
    }
    *service.backend.lock() = cluster.nodes[2].ports.kv;
    let client = client.with_timeout(std::time::Duration::from_secs(60));
    assert_eq!(client.get("key").await.unwrap().unwrap().value, "before");
    client.put("key", "after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_calls_work_through_one_node_that_passes_them_on() {
    let cluster = Cluster::of_three(8).await.unwrap();
    let service = Service::before(cluster.nodes[1].ports.kv).await;
    let options = Options { forward: true, ..Options::default() };
    let client = Client::connect([service.address.clone()], options).await.unwrap();
    for number in 0..100 {
        client.put(format!("one/{number}"), "value").await.unwrap();
    }
    let writes = (0..100).map(|number| Write::put(format!("batch/{number}"), "value")).collect();
    for part in client.batch(writes).await.unwrap() {
        part.result.unwrap();
    }
    assert!(client.delete("one/0").await.unwrap().existed);
    let rows: Vec<_> = futures::TryStreamExt::try_collect(client.scan(Scan::prefix("one/"))).await.unwrap();
    assert_eq!(rows.len(), 99);
    for part in client.delete_range(granary_client::DeleteRange::default()).await.unwrap() {
        part.result.unwrap();
    }
    assert!(client.get("batch/1").await.unwrap().is_none());
    let stale = client.get_stale("one/1", std::time::Duration::from_secs(60)).await.unwrap();
    assert!(stale.is_none() || stale.unwrap().value == "value");
}
