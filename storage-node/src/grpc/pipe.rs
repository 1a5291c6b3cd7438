//! A Pipe: requests with ids in, answers in any order out. One task reads, the connection's task writes, and what must
//! wait has a task of its own; leased reads are answered by the reader itself.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt as _};
use granary_proto::kv::{Error, PipeRequest, PipeResponse, Welcome, pipe_response::Response};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::Status;

use super::{
    errors,
    execute::Execute,
    in_flight::{Credit, InFlight, PipeLimits},
    kind::{self, Kind},
};
use crate::http::Metrics;

/// Answers taken from the queue at once.
const ANSWERS_AT_ONCE: usize = 128;
/// What may be queued without a credit: the welcome, one that says that the node lives, and the status that ends the stream.
const UNCOUNTED: usize = 3;
/// While requests wait, something is said at least this often.
const WORD_EVERY: Duration = Duration::from_millis(100);

/// Serves one Pipe: the stream of answers. Dropping it ends the reading; what was proposed goes on.
pub(super) fn serve<E: Execute>(
    executor: Arc<E>,
    metrics: Arc<Metrics>,
    limits: PipeLimits,
    stopping: CancellationToken,
    requests: impl Stream<Item = Result<PipeRequest, Status>> + Send + 'static,
) -> Answers {
    // Every queued answer holds a credit, so this queue is never full.
    let (answers, queue) = mpsc::channel(limits.requests + UNCOUNTED);
    let welcome = Welcome {
        max_requests_in_flight: u32::try_from(limits.requests).unwrap_or(u32::MAX),
        max_bytes_in_flight: limits.bytes as u64,
        node_id: executor.node_id(),
    };
    let voice = Arc::new(Voice { welcome, opened: Instant::now(), said_ms: AtomicU64::new(0), queued: false.into() });
    let pipe = Pipe { executor, metrics, answers, in_flight: InFlight::new(limits), voice: voice.clone() };
    pipe.push(Answer { item: Ok(voice.welcome()), credit: None });
    let reader = AbortOnDropHandle::new(tokio::spawn(pipe.read(requests, stopping)));
    Answers { queue, taken: Vec::with_capacity(ANSWERS_AT_ONCE), voice, _reader: reader }
}

/// What is said of the node itself, and when anything was said last.
struct Voice {
    welcome: Welcome,
    opened: Instant,
    said_ms: AtomicU64,
    /// Such a word waits to be written: one at a time, for it has no credit.
    queued: AtomicBool,
}

impl Voice {
    fn welcome(&self) -> PipeResponse {
        response(0, Response::Welcome(self.welcome))
    }

    fn said(&self) {
        self.said_ms.store(self.now_ms(), Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether it is time for a word, by whoever asks first.
    fn is_due(&self) -> bool {
        let silent = self.now_ms().saturating_sub(self.said_ms.load(Relaxed));
        Duration::from_millis(silent) >= WORD_EVERY && !self.queued.swap(true, Relaxed)
    }
}

fn response(id: u64, response: Response) -> PipeResponse {
    PipeResponse { id, response: Some(response) }
}

/// One for the client, with what it counts for until it is written.
struct Answer {
    item: Result<PipeResponse, Status>,
    credit: Option<Credit>,
}

struct Pipe<E> {
    executor: Arc<E>,
    metrics: Arc<Metrics>,
    answers: mpsc::Sender<Answer>,
    in_flight: Arc<InFlight>,
    voice: Arc<Voice>,
}

impl<E> Clone for Pipe<E> {
    fn clone(&self) -> Self {
        Self {
            executor: self.executor.clone(),
            metrics: self.metrics.clone(),
            answers: self.answers.clone(),
            in_flight: self.in_flight.clone(),
            voice: self.voice.clone(),
        }
    }
}

impl<E: Execute> Pipe<E> {
    /// Reads until the client has said all, its stream broke, or the node stops. At most one request that was read waits
    /// for room; until it has that, nothing more is read.
    async fn read(
        self,
        requests: impl Stream<Item = Result<PipeRequest, Status>> + Send + 'static,
        stopping: CancellationToken,
    ) {
        let mut requests = std::pin::pin!(requests);
        let mut stopped = std::pin::pin!(stopping.cancelled());
        loop {
            let request = tokio::select! {
                biased;
                () = &mut stopped => break,
                request = requests.next() => request,
            };
            match request {
                Some(Ok(request)) => self.take(request).await,
                Some(Err(status)) => {
                    self.push(Answer { item: Err(status), credit: None });
                    break;
                }
                None => break,
            }
            // Leased reads never wait: others on this thread get their turn.
            tokio::task::coop::consume_budget().await;
        }
    }

    async fn take(&self, request: PipeRequest) {
        let started = Instant::now();
        let bytes = request.encoded_len();
        let PipeRequest { id, timeout_ms, request } = request;
        let reserve = request.as_ref().map_or(0, |request| Kind::of(request).answer_reserve());
        let credit = self.in_flight.take(bytes + reserve).await;
        let (request, limit) = match (request, kind::limit(timeout_ms)) {
            (Some(request), Ok(limit)) => (request, limit),
            (None, _) => {
                let error = errors::invalid("request", "is not set, or of a kind that this node does not know");
                return self.answer(id, Response::Error(error), credit);
            }
            (Some(_), Err(error)) => return self.answer(id, Response::Error(error), credit),
        };
        let kind = Kind::of(&request);
        if let Some(answer) = self.executor.at_once(&request) {
            self.metrics.request(kind, started.elapsed(), None);
            return self.answer(id, answer, credit);
        }
        let pipe = self.clone();
        tokio::spawn(async move {
            let left = limit.saturating_sub(started.elapsed());
            let answer = pipe.with_words(pipe.executor.execute(request, left)).await;
            pipe.metrics.request(kind, started.elapsed(), answer.as_ref().err().map(Error::reason));
            pipe.answer(id, answer.unwrap_or_else(Response::Error), credit);
        });
    }

    /// Waits for an answer, and says meanwhile that the node lives: so a client can tell a slow disk from a node that hangs.
    async fn with_words<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        loop {
            match tokio::time::timeout(WORD_EVERY, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if self.executor.is_turning() && self.voice.is_due() => {
                    self.voice.said();
                    self.push(Answer { item: Ok(self.voice.welcome()), credit: None });
                }
                Err(_) => {}
            }
        }
    }

    fn answer(&self, id: u64, answer: Response, mut credit: Credit) {
        self.voice.said();
        let answer = response(id, answer);
        credit.resize(answer.encoded_len());
        self.push(Answer { item: Ok(answer), credit: Some(credit) });
    }

    fn push(&self, answer: Answer) {
        // Never full (see `serve`); closed when the client is gone, who then needs no answer.
        let _ = self.answers.try_send(answer);
    }
}

/// The answers of one Pipe. Ends when all that was read is answered and no more will be.
pub struct Answers {
    queue: mpsc::Receiver<Answer>,
    /// Taken from the queue, the next one last.
    taken: Vec<Answer>,
    voice: Arc<Voice>,
    _reader: AbortOnDropHandle<()>,
}

impl Stream for Answers {
    type Item = Result<PipeResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.taken.is_empty() {
            let more = this.queue.poll_recv_many(context, &mut this.taken, ANSWERS_AT_ONCE);
            if more.is_pending() {
                return Poll::Pending;
            }
            this.taken.reverse();
        }
        // The connection asks for the next answer only when it can write it: that frees the credit.
        let answer = this.taken.pop();
        if answer.as_ref().is_some_and(|answer| answer.credit.is_none()) {
            this.voice.queued.store(false, Relaxed);
        }
        Poll::Ready(answer.map(|answer| answer.item))
    }
}
