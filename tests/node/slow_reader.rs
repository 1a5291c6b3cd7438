//! A client that sends on a Pipe and never reads: it costs bounded memory, and others are served.

use std::time::{Duration, Instant};

use bytes::Bytes;
use granary_proto::kv::{GetRequest, PipeRequest, pipe_request::Request};
use granary_tests::{
    cluster::{Cluster, Shape},
    resources::resident_bytes,
};
use tokio_stream::wrappers::ReceiverStream;

const MIB: u64 = 1 << 20;
/// Pipes that do not read, each on a connection of its own.
const PIPES: usize = 4;
/// What each may cost: 32 MiB under way, the windows of HTTP/2, and as much again for what the allocator keeps.
const COST: u64 = 96 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_its_pipe_costs_bounded_memory_and_holds_up_no_one() {
    let cluster = Cluster::found(Shape { nodes: 1, factor: 1, shards: 4 }).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("large", Bytes::from(vec![7; MIB as usize])).await.unwrap();
    let pid = cluster.nodes[0].pid().unwrap();
    let before = resident_bytes(pid).unwrap();

    let mut unread = Vec::new();
    let mut senders = tokio::task::JoinSet::new();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    for _ in 0..PIPES {
        let (requests, queue) = tokio::sync::mpsc::channel(16);
        unread.push(cluster.nodes[0].kv().unwrap().pipe(ReceiverStream::new(queue)).await.unwrap());
        let sent = sent.clone();
        senders.spawn(async move {
            for id in 1.. {
                let get = Request::Get(GetRequest { key: "large".into(), ..Default::default() });
                if requests.send(PipeRequest { id, timeout_ms: 0, request: Some(get) }).await.is_err() {
                    return;
                }
                sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    // Each request asks for 1 MiB: without a bound, memory would grow by all that is sent.
    let started = Instant::now();
    let mut peak = 0;
    while started.elapsed() < Duration::from_secs(5) {
        peak = peak.max(resident_bytes(pid).unwrap());
        client.put("small", "value").await.unwrap();
        assert_eq!(client.get("small").await.unwrap().unwrap().value, "value");
    }
    let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
    println!("{} MiB before, {} MiB at most, {sent} reads of 1 MiB asked for", before / MIB, peak / MIB);
    assert!(sent > 200, "only {sent} reads were asked for: nothing was shown");
    assert!(peak < before + COST * PIPES as u64, "grew from {before} to {peak} bytes");
    senders.abort_all();
}
