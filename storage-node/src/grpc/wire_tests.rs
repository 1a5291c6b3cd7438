//! The data API over real connections of this machine: largest messages, errors, and bytes that are no gRPC.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use granary_common::limits::{MAX_BATCH, MAX_MESSAGE, MAX_VALUE};
use granary_proto::kv::{
    BatchRequest, DeleteRequest, GetRequest, PipeRequest, PipeResponse, PutRequest, Reason, ScanRequest, Write,
    kv_client::KvClient, pipe_request::Request, pipe_response::Response, write::Change,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming, transport::Channel};

use super::{KvService, PipeLimits, ServeError, errors, fake::Fake, kv_router, serve};
use crate::http::Metrics;

const DEADLINE: Duration = Duration::from_secs(30);

struct Server {
    address: SocketAddr,
    fake: Arc<Fake>,
    stopping: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    async fn start() -> Self {
        let fake = Arc::new(Fake::new(1000));
        let stopping = CancellationToken::new();
        let metrics = Arc::new(Metrics::new(|| None));
        let service = KvService::new(fake.clone(), metrics, PipeLimits::default(), stopping.clone());
        let (_, health) = tonic_health::server::health_reporter();
        let router = kv_router(service, health).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(router, listener, stopping.clone().cancelled_owned()));
        Self { address, fake, stopping, task }
    }

    async fn client(&self) -> KvClient<Channel> {
        let client = KvClient::connect(format!("http://{}", self.address)).await.unwrap();
        client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }

    async fn pipe(&self) -> (mpsc::Sender<PipeRequest>, Streaming<PipeResponse>) {
        let (requests, stream) = mpsc::channel(16);
        let mut answers = self.client().await.pipe(ReceiverStream::new(stream)).await.unwrap().into_inner();
        let welcome = answer(&mut answers).await;
        assert!(matches!(welcome, PipeResponse { id: 0, response: Some(Response::Welcome(_)) }));
        (requests, answers)
    }

    /// Ends although Pipes are open.
    async fn stop(self) {
        self.stopping.cancel();
        timeout(DEADLINE, self.task).await.expect("the server did not end").unwrap().unwrap();
    }
}

async fn answer(answers: &mut Streaming<PipeResponse>) -> PipeResponse {
    timeout(DEADLINE, answers.message()).await.expect("no answer in time").unwrap().expect("the stream ended")
}

fn largest_value() -> Bytes {
    (0..MAX_VALUE).map(|place| place as u8).collect::<Vec<_>>().into()
}

fn put(key: &'static str, value: Bytes) -> PutRequest {
    PutRequest { key: key.into(), value, ..Default::default() }
}

fn get(key: &'static str) -> GetRequest {
    GetRequest { key: key.into(), ..Default::default() }
}

/// Keys and values of exactly 8 MiB.
fn largest_batch() -> BatchRequest {
    let write = |key: &'static str, length: usize| Write {
        key: key.into(),
        change: Some(Change::Value(vec![1; length].into())),
    };
    let writes = vec![write("a", MAX_VALUE), write("b", MAX_BATCH - MAX_VALUE - 3), write("c", 0)];
    let bytes: usize = writes.iter().map(|write| write.key.len() + length(write)).sum();
    assert_eq!(bytes, MAX_BATCH);
    BatchRequest { writes, ..Default::default() }
}

fn length(write: &Write) -> usize {
    match &write.change {
        Some(Change::Value(value)) => value.len(),
        _ => 0,
    }
}

#[tokio::test]
async fn the_largest_value_and_batch_pass_over_unary_calls() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.put(put("k", largest_value())).await.unwrap();
    assert_eq!(client.get(get("k")).await.unwrap().into_inner().value, largest_value());
    let outcomes = client.batch(largest_batch()).await.unwrap().into_inner().outcomes;
    assert_eq!(outcomes[0].error, None);
    assert_eq!(client.get(get("a")).await.unwrap().into_inner().value.len(), MAX_VALUE);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn the_largest_value_and_batch_pass_over_a_pipe() {
    let server = Server::start().await;
    let (requests, mut answers) = server.pipe().await;
    let steps = [
        (1, Request::Put(put("k", largest_value()))),
        (2, Request::Get(get("k"))),
        (3, Request::Batch(largest_batch())),
    ];
    for (id, request) in steps {
        requests.send(PipeRequest { id, timeout_ms: 0, request: Some(request) }).await.unwrap();
        let answer = answer(&mut answers).await;
        assert_eq!(answer.id, id);
        match answer.response {
            Some(Response::Get(found)) => assert_eq!(found.value, largest_value()),
            Some(Response::Put(_) | Response::Batch(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_failed_unary_call_carries_the_error_in_its_details() {
    let server = Server::start().await;
    let status = server.client().await.delete(DeleteRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let error = errors::from_status(&status).unwrap();
    assert_eq!((error.reason(), error.retry_after_ms), (Reason::Busy, 5));
    server.stop().await;
}

#[tokio::test]
async fn a_unary_scan_streams_page_behind_page_to_the_end() {
    let server = Server::start().await;
    for key in ["a", "b", "c"] {
        server.fake.set(key, "v");
    }
    let mut pages = server.client().await.scan(ScanRequest::default()).await.unwrap().into_inner();
    let mut keys = Vec::new();
    while let Some(page) = timeout(DEADLINE, pages.message()).await.unwrap().unwrap() {
        keys.extend(page.rows.into_iter().map(|row| row.key));
    }
    assert_eq!(keys, ["a", "b", "c"]);
    server.stop().await;
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody_else() {
    let server = Server::start().await;
    for garbage in [&[0xff; 4096][..], b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\xff"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may close before all is written.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the server did not close");
    }
    server.client().await.put(put("k", Bytes::from_static(b"v"))).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_the_server_goes_on() {
    let server = Server::start().await;
    let mut client = server.client().await.max_encoding_message_size(2 * MAX_MESSAGE);
    let status = client.put(put("k", vec![0; MAX_MESSAGE + 1].into())).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    client.put(put("k", Bytes::new())).await.unwrap();
    drop(client);
    server.stop().await;
}

/// Run it alone, with `--ignored --nocapture`: client and server share the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_reads_over_one_pipe() {
    const READS: u64 = 500_000;
    let server = Server::start().await;
    server.fake.set("k", vec![1; 256]);
    let (requests, mut answers) = server.pipe().await;
    let started = std::time::Instant::now();
    // The server holds it back where too many are under way.
    let sender = tokio::spawn(async move {
        for id in 1..=READS {
            let request = Some(Request::Get(get("k")));
            requests.send(PipeRequest { id, timeout_ms: 0, request }).await.unwrap();
        }
    });
    for _ in 0..READS {
        answers.message().await.unwrap().unwrap();
    }
    sender.await.unwrap();
    println!("{:.0} reads/s over one Pipe", READS as f64 / started.elapsed().as_secs_f64());
    server.stop().await;
}
