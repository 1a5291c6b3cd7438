//! A node for tests of the wire: a map in memory, and a gate that writes wait at.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use granary_machine::kv::kv_error;
use granary_proto::kv::{
    BatchResponse, Error, GetClusterMapResponse, GetResponse, PutResponse, Reason, Row, ScanCursor, ScanResponse,
    ShardOutcome, pipe_request::Request, pipe_response::Response, write::Change,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::execute::Execute;

/// Id of the fake node.
pub(super) const NODE: u64 = 7;

/// See the module.
pub(super) struct Fake {
    rows: Mutex<BTreeMap<Bytes, Bytes>>,
    /// Each write takes one and does not give it back.
    pub(super) gate: Semaphore,
    /// Requests that were begun.
    pub(super) begun: AtomicUsize,
    /// Requests that wait.
    pub(super) waiting: AtomicUsize,
    /// It does not get on with its work.
    pub(super) hangs: AtomicBool,
}

impl Fake {
    /// Without rows; lets this many writes through.
    pub(super) fn new(writes: usize) -> Self {
        Self {
            rows: Mutex::default(),
            gate: Semaphore::new(writes),
            begun: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
        }
    }

    /// Sets a row, past the gate.
    pub(super) fn set(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.rows.lock().insert(key.into(), value.into());
    }

    async fn pass_gate(&self) -> Result<(), Error> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let pass = self.gate.acquire().await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        pass.map(|permit| permit.forget()).map_err(|_| kv_error(Reason::NotReady, "the gate is closed"))
    }

    fn get(&self, key: &Bytes) -> GetResponse {
        match self.rows.lock().get(key) {
            Some(value) => GetResponse { found: true, value: value.clone(), revision: 1 },
            None => GetResponse::default(),
        }
    }
}

impl Execute for Fake {
    fn node_id(&self) -> u64 {
        NODE
    }

    fn cluster_id(&self) -> Option<&str> {
        Some("cluster")
    }

    fn is_turning(&self) -> bool {
        !self.hangs.load(Ordering::SeqCst)
    }

    fn at_once(&self, request: &Request) -> Option<Response> {
        match request {
            Request::Get(request) => {
                self.begun.fetch_add(1, Ordering::SeqCst);
                Some(Response::Get(self.get(&request.key)))
            }
            _ => None,
        }
    }

    async fn execute(&self, request: Request, _limit: Duration) -> Result<Response, Error> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match request {
            Request::Put(request) => {
                self.pass_gate().await?;
                self.set(request.key, request.value);
                Ok(Response::Put(PutResponse { revision: 1 }))
            }
            Request::Batch(request) => {
                self.pass_gate().await?;
                for write in request.writes {
                    if let Some(Change::Value(value)) = write.change {
                        self.set(write.key, value);
                    }
                }
                let outcome = ShardOutcome { shard_id: 1, revision: 1, error: None };
                Ok(Response::Batch(BatchResponse { outcomes: vec![outcome] }))
            }
            // One row a page.
            Request::Scan(request) => {
                let after = request.cursor.map(|cursor| cursor.key);
                let rows = self.rows.lock();
                let mut behind = rows.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                let row = behind.next().map(|(key, value)| Row { key: key.clone(), value: value.clone(), revision: 1 });
                let next = behind.next().and(row.as_ref()).map(|row| ScanCursor { slot: 0, key: row.key.clone() });
                Ok(Response::Scan(ScanResponse { rows: row.into_iter().collect(), next, ..Default::default() }))
            }
            _ => Err(Error { retry_after_ms: 5, ..kv_error(Reason::Busy, "always busy") }),
        }
    }

    fn cluster_map(&self, _known_version: u64) -> Result<GetClusterMapResponse, Error> {
        Ok(GetClusterMapResponse::default())
    }
}
