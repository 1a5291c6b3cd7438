//! What one Pipe promises, without a network: on one thread, so that "nothing more happens" can be waited for.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use granary_proto::kv::{
    GetRequest, PipeRequest, PipeResponse, PutRequest, Reason, ScanRequest, pipe_request::Request,
    pipe_response::Response,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    fake::{Fake, NODE},
    in_flight::PipeLimits,
    pipe::{self, Answers},
};
use crate::http::Metrics;

const MIB: usize = 1 << 20;

fn serve(
    fake: &Arc<Fake>,
    limits: PipeLimits,
    requests: impl Stream<Item = Result<PipeRequest, Status>> + Send + 'static,
) -> Answers {
    let metrics = Arc::new(Metrics::new(|| None));
    pipe::serve(fake.clone(), metrics, limits, CancellationToken::new(), requests)
}

fn get(id: u64) -> PipeRequest {
    PipeRequest { id, timeout_ms: 0, request: Some(Request::Get(GetRequest { key: "k".into(), ..Default::default() })) }
}

fn put(id: u64) -> PipeRequest {
    let put = PutRequest { key: format!("k{id}").into(), value: "v".into(), ..Default::default() };
    PipeRequest { id, timeout_ms: 0, request: Some(Request::Put(put)) }
}

/// Lets every task on this thread run until none can.
async fn settle() {
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
}

/// The next answer to a request.
async fn next(answers: &mut Answers) -> PipeResponse {
    loop {
        let answer = said(answers).await;
        if answer.id != 0 {
            return answer;
        }
    }
}

/// What comes next, also a word that the node lives.
async fn said(answers: &mut Answers) -> PipeResponse {
    let deadline = std::time::Duration::from_secs(10);
    tokio::time::timeout(deadline, answers.next()).await.expect("no answer in time").expect("the stream ended").unwrap()
}

fn reason(answer: &PipeResponse) -> Option<Reason> {
    match &answer.response {
        Some(Response::Error(error)) => Some(error.reason()),
        _ => None,
    }
}

#[tokio::test]
async fn the_first_message_is_the_welcome_with_the_limits() {
    let limits = PipeLimits::default();
    let mut answers = serve(&Arc::new(Fake::new(0)), limits, stream::empty());
    let PipeResponse { id: 0, response: Some(Response::Welcome(welcome)) } = said(&mut answers).await else {
        panic!("no welcome");
    };
    assert_eq!(welcome.max_requests_in_flight, 1024);
    assert_eq!(welcome.max_bytes_in_flight, 32 << 20);
    assert_eq!(welcome.node_id, NODE);
    assert!(answers.next().await.is_none(), "the client has said all, and all is answered");
}

#[tokio::test]
async fn a_client_that_never_reads_its_pipe_costs_bounded_memory() {
    let fake = Arc::new(Fake::new(0));
    fake.set("k", vec![0; MIB]);
    let asked = 1000;
    let read = Arc::new(AtomicUsize::new(0));
    let counter = read.clone();
    let requests = stream::iter((1..=asked as u64).map(get)).map(Ok).inspect(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let mut answers = serve(&fake, PipeLimits { requests: 100, bytes: 8 * MIB }, requests);
    settle().await;

    let begun = fake.begun.load(Ordering::SeqCst);
    assert!((1..=9).contains(&begun), "{begun} answers of 1 MiB are held, with 8 MiB allowed and one more let through");
    assert_eq!(read.load(Ordering::SeqCst), begun + 1, "one request may wait for room, and nothing behind it is read");

    let mut answered = 0;
    said(&mut answers).await;
    while answered < asked {
        assert!(matches!(next(&mut answers).await.response, Some(Response::Get(_))));
        answered += 1;
    }
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn no_more_requests_than_promised_are_under_way() {
    let fake = Arc::new(Fake::new(0));
    let mut answers = serve(&fake, PipeLimits { requests: 4, bytes: MIB }, stream::iter((1..=100).map(put)).map(Ok));
    settle().await;
    assert_eq!(fake.waiting.load(Ordering::SeqCst), 4);
    said(&mut answers).await;

    fake.gate.add_permits(1);
    assert!(matches!(next(&mut answers).await.response, Some(Response::Put(_))));
    settle().await;
    assert_eq!(fake.begun.load(Ordering::SeqCst), 5, "an answer that was taken makes room for one more");

    fake.gate.add_permits(1);
    settle().await;
    assert_eq!(fake.begun.load(Ordering::SeqCst), 5, "an answer that was not taken makes none");
}

#[tokio::test]
async fn a_request_that_waits_holds_up_no_other() {
    let fake = Arc::new(Fake::new(0));
    let requests = stream::iter([Ok(put(1)), Ok(get(2))]).chain(stream::pending());
    let mut answers = serve(&fake, PipeLimits::default(), requests);
    said(&mut answers).await;
    assert_eq!(next(&mut answers).await.id, 2);
    assert!(answers.next().now_or_never().is_none());
    fake.gate.add_permits(1);
    assert_eq!(next(&mut answers).await.id, 1);
}

#[tokio::test]
async fn a_node_that_is_slow_says_that_it_lives_and_one_that_hangs_says_nothing() {
    let fake = Arc::new(Fake::new(0));
    let mut answers = serve(&fake, PipeLimits::default(), stream::iter([Ok(put(1))]).chain(stream::pending()));
    said(&mut answers).await;
    for _ in 0..2 {
        let word = said(&mut answers).await;
        assert!(matches!(word, PipeResponse { id: 0, response: Some(Response::Welcome(_)) }), "{word:?}");
    }
    fake.hangs.store(true, Ordering::SeqCst);
    // One may be on its way already.
    let silence = std::time::Duration::from_millis(250);
    let _ = tokio::time::timeout(silence, answers.next()).await;
    assert!(tokio::time::timeout(silence, answers.next()).await.is_err());
    fake.gate.add_permits(1);
    assert_eq!(said(&mut answers).await.id, 1);
}

#[tokio::test]
async fn words_that_nobody_takes_do_not_pile_up() {
    let fake = Arc::new(Fake::new(0));
    let requests = stream::iter((1..=4).map(put)).map(Ok).chain(stream::pending());
    let mut answers = serve(&fake, PipeLimits { requests: 4, bytes: MIB }, requests);
    tokio::time::sleep(std::time::Duration::from_millis(450)).await;
    fake.gate.add_permits(4);
    settle().await;
    let mut found = Vec::new();
    while let Some(Some(Ok(answer))) = answers.next().now_or_never() {
        found.push(answer.id);
    }
    found.sort_unstable();
    assert_eq!(found, [0, 0, 1, 2, 3, 4], "the welcome, one word, and an answer to each request");
}

#[tokio::test]
async fn a_request_that_cannot_be_understood_is_refused_and_the_pipe_goes_on() {
    let unknown = PipeRequest { id: 1, timeout_ms: 0, request: None };
    let slow = PipeRequest { timeout_ms: 600_001, ..get(2) };
    let busy = PipeRequest { id: 3, timeout_ms: 1, request: Some(Request::Delete(Default::default())) };
    let scan = PipeRequest { id: 4, timeout_ms: 600_000, request: Some(Request::Scan(ScanRequest::default())) };
    let mut answers =
        serve(&Arc::new(Fake::new(0)), PipeLimits::default(), stream::iter([unknown, slow, busy, scan]).map(Ok));
    said(&mut answers).await;
    let mut found =
        [next(&mut answers).await, next(&mut answers).await, next(&mut answers).await, next(&mut answers).await];
    found.sort_by_key(|answer| answer.id);
    let reasons = found.each_ref().map(reason);
    assert_eq!(reasons, [Some(Reason::Invalid), Some(Reason::Invalid), Some(Reason::Busy), None]);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_its_status_behind_what_was_answered() {
    let requests = stream::iter([Ok(get(1)), Err(Status::internal("cannot be decoded"))]);
    let mut answers = serve(&Arc::new(Fake::new(0)), PipeLimits::default(), requests);
    said(&mut answers).await;
    assert_eq!(next(&mut answers).await.id, 1);
    assert_eq!(answers.next().await.unwrap().unwrap_err().message(), "cannot be decoded");
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_stopping_node_answers_what_it_has_read_and_ends_the_stream() {
    let fake = Arc::new(Fake::new(0));
    let stopping = CancellationToken::new();
    let requests = stream::iter([Ok(put(1))]).chain(stream::pending());
    let metrics = Arc::new(Metrics::new(|| None));
    let mut answers = pipe::serve(fake.clone(), metrics, PipeLimits::default(), stopping.clone(), requests);
    said(&mut answers).await;
    settle().await;
    stopping.cancel();
    settle().await;
    fake.gate.add_permits(1);
    assert_eq!(next(&mut answers).await.id, 1);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_reading() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let guard = Dropped(dropped.clone());
    let requests = stream::pending().inspect(move |_| {
        let _ = &guard;
    });
    drop(serve(&Arc::new(Fake::new(0)), PipeLimits::default(), requests));
    settle().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
