//! The Kv service: what gRPC wants around [`Execute`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::limits::MAX_MESSAGE;
use granary_proto::kv::{
    BatchRequest, BatchResponse, CompareAndSetRequest, CompareAndSetResponse, DeleteRangeRequest, DeleteRangeResponse,
    DeleteRequest, DeleteResponse, Error, GetClusterMapRequest, GetClusterMapResponse, GetRequest, GetResponse,
    PipeRequest, PutRequest, PutResponse, ScanRequest, ScanResponse, TxnRequest, TxnResponse,
    kv_server::{Kv, KvServer},
    pipe_request, pipe_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    errors,
    execute::Execute,
    forward,
    in_flight::PipeLimits,
    kind::{DEFAULT_LIMIT, Kind, MAX_LIMIT},
    pipe::{self, Answers},
};
use crate::http::Metrics;

/// Pages of a unary scan that wait to be written.
const PAGES_AHEAD: usize = 1;

/// The data API over anything that answers requests.
pub struct KvService<E> {
    executor: Arc<E>,
    metrics: Arc<Metrics>,
    limits: PipeLimits,
    stopping: CancellationToken,
}

impl<E: Execute> KvService<E> {
    /// `stopping` ends the reading of all Pipes, so that the server can end.
    pub fn new(executor: Arc<E>, metrics: Arc<Metrics>, limits: PipeLimits, stopping: CancellationToken) -> Self {
        Self { executor, metrics, limits, stopping }
    }

    /// As a server that takes messages of [`MAX_MESSAGE`].
    pub fn into_server(self) -> KvServer<Self> {
        KvServer::new(self).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }

    async fn answer(
        executor: &E,
        metrics: &Metrics,
        request: pipe_request::Request,
        limit: Duration,
    ) -> Result<pipe_response::Response, Error> {
        let started = Instant::now();
        let kind = Kind::of(&request);
        let answer = match executor.at_once(&request) {
            Some(answer) => Ok(answer),
            None => executor.execute(request, limit).await,
        };
        metrics.request(kind, started.elapsed(), answer.as_ref().err().map(Error::reason));
        answer
    }
}

/// Answers a unary call of the kind `$kind`.
macro_rules! unary {
    ($service:ident, $request:ident, $kind:ident) => {{
        forward::check_meant($service.executor.cluster_id(), $request.metadata())?;
        let limit = limit($request.metadata());
        let request = pipe_request::Request::$kind($request.into_inner());
        match Self::answer(&$service.executor, &$service.metrics, request, limit).await {
            Ok(pipe_response::Response::$kind(answer)) => Ok(Response::new(answer)),
            Ok(_) => Err(errors::to_status(&errors::internal("a request was answered as one of another kind"))),
            Err(error) => Err(errors::to_status(&error)),
        }
    }};
}

#[tonic::async_trait]
impl<E: Execute> Kv for KvService<E> {
    type ScanStream = ReceiverStream<Result<ScanResponse, Status>>;
    type PipeStream = Answers;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        unary!(self, request, Get)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        unary!(self, request, Put)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        unary!(self, request, Delete)
    }

    async fn compare_and_set(
        &self,
        request: Request<CompareAndSetRequest>,
    ) -> Result<Response<CompareAndSetResponse>, Status> {
        unary!(self, request, CompareAndSet)
    }

    async fn batch(&self, request: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        unary!(self, request, Batch)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        unary!(self, request, Txn)
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        unary!(self, request, DeleteRange)
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        forward::check_meant(self.executor.cluster_id(), request.metadata())?;
        let limit = limit(request.metadata());
        let (pages, stream) = mpsc::channel(PAGES_AHEAD);
        let (executor, metrics) = (self.executor.clone(), self.metrics.clone());
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let walk = walk(&*executor, &metrics, request.into_inner(), limit, pages);
            // Ends when all pages are written, the client is gone, or the node stops.
            stopping.run_until_cancelled(walk).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn pipe(&self, request: Request<Streaming<PipeRequest>>) -> Result<Response<Answers>, Status> {
        forward::check_meant(self.executor.cluster_id(), request.metadata())?;
        let (executor, metrics) = (self.executor.clone(), self.metrics.clone());
        let answers = pipe::serve(executor, metrics, self.limits, self.stopping.clone(), request.into_inner());
        Ok(Response::new(answers))
    }

    async fn get_cluster_map(
        &self,
        request: Request<GetClusterMapRequest>,
    ) -> Result<Response<GetClusterMapResponse>, Status> {
        let map = self.executor.cluster_map(request.into_inner().known_version);
        map.map(Response::new).map_err(|error| errors::to_status(&error))
    }
}

/// Page behind page, each within `limit`.
async fn walk<E: Execute>(
    executor: &E,
    metrics: &Metrics,
    mut request: ScanRequest,
    limit: Duration,
    pages: mpsc::Sender<Result<ScanResponse, Status>>,
) {
    loop {
        let page = pipe_request::Request::Scan(request.clone());
        let page = match KvService::answer(executor, metrics, page, limit).await {
            Ok(pipe_response::Response::Scan(page)) => Ok(page),
            Ok(_) => Err(errors::internal("a scan was answered as a request of another kind")),
            Err(error) => Err(error),
        };
        let next = page.as_ref().ok().and_then(|page| page.next.clone());
        let sent = pages.send(page.map_err(|error| errors::to_status(&error))).await;
        match next {
            Some(cursor) if sent.is_ok() => request.cursor = Some(cursor),
            _ => return,
        }
    }
}

/// The time limit that the caller gave with the call, less a twentieth: so that it hears from this node what became of a
/// write, not from the transport that time is over.
fn limit(metadata: &MetadataMap) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_timeout);
    asked.map_or(DEFAULT_LIMIT, |asked| (asked - asked / 20).min(MAX_LIMIT))
}

/// Up to eight digits and a unit, as the specification of gRPC over HTTP/2 has it.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = &text[..unit_at];
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_of_calls_are_read_in_every_unit() {
        let second = Duration::from_secs(1);
        for (text, limit) in
            [("1S", second), ("1000m", second), ("1000000u", second), ("2M", second * 120), ("1H", second * 3600)]
        {
            assert_eq!(parse_timeout(text), Some(limit), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "123456789S", "1\u{e9}"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn a_call_without_a_time_limit_has_ten_seconds() {
        let mut metadata = MetadataMap::new();
        assert_eq!(limit(&metadata), Duration::from_secs(10));
        metadata.insert("grpc-timeout", "1S".parse().unwrap());
        assert_eq!(limit(&metadata), Duration::from_millis(950));
        metadata.insert("grpc-timeout", "99H".parse().unwrap());
        assert_eq!(limit(&metadata), Duration::from_secs(600));
    }
}
