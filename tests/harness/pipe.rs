//! A bare Pipe and bare unary calls, one request at a time: for requests that the client library would refuse itself.

use granary_proto::kv::{Error, PipeRequest, PipeResponse, Welcome, pipe_request::Request, pipe_response::Response};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{HarnessError, Result, node::Node};

/// Limit of each request, in ms.
const TIMEOUT_MS: u32 = 60_000;

/// One stream to one node.
pub struct Pipe {
    requests: mpsc::Sender<PipeRequest>,
    answers: Streaming<PipeResponse>,
    /// The node's first message.
    pub welcome: Welcome,
    next_id: u64,
}

impl Pipe {
    /// Opens one.
    pub async fn open(node: &Node) -> Result<Self> {
        let (requests, queue) = mpsc::channel(16);
        let failed = |status: Status| HarnessError::because("opening a Pipe", status);
        let mut answers = node.kv()?.pipe(ReceiverStream::new(queue)).await.map_err(failed)?.into_inner();
        match answers.message().await.map_err(failed)?.and_then(|first| first.response) {
            Some(Response::Welcome(welcome)) => Ok(Self { requests, answers, welcome, next_id: 1 }),
            other => Err(HarnessError(format!("a Pipe begins with {other:?}"))),
        }
    }

    /// Sends a request without waiting for its answer.
    pub async fn send(&mut self, request: Request) -> Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let request = PipeRequest { id, timeout_ms: TIMEOUT_MS, request: Some(request) };
        self.requests.send(request).await.map_err(|_| HarnessError("the Pipe has ended".into()))?;
        Ok(id)
    }

    /// The next answer, whichever it belongs to.
    pub async fn next(&mut self) -> Result<(u64, Response)> {
        let failed = |status: Status| HarnessError::because("reading a Pipe", status);
        loop {
            let answer = self.answers.message().await.map_err(failed)?;
            let answer = answer.ok_or_else(|| HarnessError("the Pipe has ended".into()))?;
            let response = answer.response.ok_or_else(|| HarnessError("an answer without content".into()))?;
            // Said while requests wait: the node lives.
            if !matches!(response, Response::Welcome(_)) {
                return Ok((answer.id, response));
            }
        }
    }

    /// Sends one request and waits for its answer.
    pub async fn ask(&mut self, request: Request) -> Result<Response> {
        let id = self.send(request).await?;
        match self.next().await? {
            (answered, response) if answered == id => Ok(response),
            (answered, _) => Err(HarnessError(format!("request {answered} was answered instead of {id}"))),
        }
    }
}

/// The same request as a unary call; a refusal comes back as a Pipe would give it.
pub async fn unary(node: &Node, request: Request) -> Result<Response> {
    let mut kv = node.kv()?;
    let answer = match request {
        Request::Get(get) => kv.get(get).await.map(|done| Response::Get(done.into_inner())),
        Request::Put(put) => kv.put(put).await.map(|done| Response::Put(done.into_inner())),
        Request::Delete(delete) => kv.delete(delete).await.map(|done| Response::Delete(done.into_inner())),
        Request::CompareAndSet(swap) => {
            kv.compare_and_set(swap).await.map(|done| Response::CompareAndSet(done.into_inner()))
        }
        Request::Batch(batch) => kv.batch(batch).await.map(|done| Response::Batch(done.into_inner())),
        Request::Txn(txn) => kv.txn(txn).await.map(|done| Response::Txn(done.into_inner())),
        Request::DeleteRange(range) => {
            kv.delete_range(range).await.map(|done| Response::DeleteRange(done.into_inner()))
        }
        Request::Scan(scan) => match kv.scan(scan).await {
            Ok(pages) => first_page(pages.into_inner()).await,
            Err(status) => Err(status),
        },
    };
    match answer {
        Ok(response) => Ok(response),
        Err(status) => match details(&status) {
            Some(error) => Ok(Response::Error(error)),
            None => Err(HarnessError::because("a call without details of ours", status)),
        },
    }
}

async fn first_page(mut pages: Streaming<granary_proto::kv::ScanResponse>) -> std::result::Result<Response, Status> {
    pages.message().await?.map(Response::Scan).ok_or_else(|| Status::internal("a scan without a page"))
}

/// The error in a status, as any client finds it: a google.rpc.Status whose details hold it.
fn details(status: &Status) -> Option<Error> {
    let details = tonic_types::pb::Status::decode(status.details()).ok()?.details;
    let error = details.into_iter().find(|detail| detail.type_url.ends_with("/granary.kv.v1.Error"))?;
    Error::decode(error.value.as_slice()).ok()
}
