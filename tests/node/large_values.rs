//! The largest value and the largest batch that are allowed go every way: unary, Pipe, between nodes, and out again.

use bytes::Bytes;
use granary_proto::kv::{pipe_request::Request, pipe_response::Response, *};
use granary_tests::{
    cluster::Cluster,
    pipe::{Pipe, unary},
};

const MIB: usize = 1 << 20;

fn value(seed: u8) -> Bytes {
    (0..4 * MIB).map(|at| seed.wrapping_add((at % 251) as u8)).collect::<Vec<u8>>().into()
}

/// Two values that make, with their keys of one tag, exactly 8 MiB.
fn full_batch(tag: &str, seed: u8) -> BatchRequest {
    let write = |key: String| {
        let length = 4 * MIB - key.len();
        Write { change: Some(write::Change::Value(value(seed).slice(..length))), key: key.into() }
    };
    let writes = vec![write(format!("{{{tag}}}1")), write(format!("{{{tag}}}2"))];
    BatchRequest { writes, routing: Some(Routing { forward: true }), retry: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_4_mib_and_a_batch_of_8_mib_go_through_and_outlive_the_leader() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    // With forward, whichever node is asked: two of three ways go between nodes as well.
    let forward = Some(Routing { forward: true });
    let put = |key: &'static str, seed| {
        Request::Put(PutRequest { key: key.into(), value: value(seed), routing: forward, retry: None })
    };
    for (index, node) in cluster.nodes.iter().enumerate() {
        let seed = index as u8;
        let mut pipe = Pipe::open(node).await.unwrap();
        let answers = [
            unary(node, put("unary", seed)).await.unwrap(),
            pipe.ask(put("pipe", seed)).await.unwrap(),
            unary(node, Request::Batch(full_batch("unary", seed))).await.unwrap(),
            pipe.ask(Request::Batch(full_batch("pipe", seed))).await.unwrap(),
        ];
        for answer in answers {
            match answer {
                Response::Put(done) => assert!(done.revision > 0),
                Response::Batch(done) => assert!(done.outcomes.len() == 1 && done.outcomes[0].revision > 0, "{done:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
    // One byte more is refused.
    let mut over = full_batch("over", 0);
    over.writes.push(Write { key: "{over}3".into(), change: Some(write::Change::Delete(true)) });
    let refused = unary(&cluster.nodes[0], Request::Batch(over)).await.unwrap();
    assert!(matches!(refused, Response::Error(Error { ref field, .. }) if field == "writes"), "{refused:?}");

    let leader = cluster.place(cluster.leader(1).await.unwrap()).await.unwrap();
    cluster.nodes[leader].kill();
    let client = cluster.client().await.unwrap();
    for key in ["unary", "pipe"] {
        assert!(client.get(key).await.unwrap().unwrap().value == value(2), "{key}");
        for number in 1..=2 {
            let found = client.get(format!("{{{key}}}{number}")).await.unwrap().unwrap().value;
            assert!(found == value(2).slice(..found.len()) && found.len() > 4 * MIB - 16, "{{{key}}}{number}");
        }
    }
    cluster.nodes[leader].start().unwrap();
    cluster.whole().await.unwrap();
    cluster.replicas_are_equal().await.unwrap();
}
