//! The calls of the data API.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use granary_common::slot_of;
use granary_proto::{
    kv::{
        self, BatchRequest, CompareAndSetRequest, DeleteRangeRequest, DeleteRequest, GetRequest, PutRequest, Row,
        ShardOutcome, TxnRequest, compare_and_set_request, pipe_request::Request, pipe_response::Response,
    },
    map::ClusterMap,
};

use crate::{
    Change, DeleteRange, Deleted, Error, Expected, Guard, Options, Part, Result, Scan, Swapped, TxnOutcome, Value,
    Write,
    backoff::Backoff,
    batch::{Parts, split},
    call::{Core, Kind, call},
    check,
    directory::Directory,
    options::bounded,
    scan,
    types::value_of,
};

/// Shards that a batch or delete-range is sent to at a time.
const SHARDS_AT_ONCE: usize = 32;

/// A client of one cluster; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    core: Arc<Core>,
    timeout: Duration,
}

impl Client {
    /// Finds the cluster by any of `endpoints` (host:port of the data API of a node each), and waits until its shards
    /// exist, within the timeout of `options`.
    pub async fn connect(endpoints: impl IntoIterator<Item = impl Into<String>>, options: Options) -> Result<Self> {
        let seeds = endpoints.into_iter().map(Into::into).collect();
        let timeout = bounded(options.timeout);
        let core = Core {
            directory: Directory::new(seeds, (&options).into(), options.forward),
            options,
            client_id: rand::random_range(1..=u64::MAX),
        };
        let mut tried = Vec::new();
        let found = async {
            let mut backoff = Backoff::overload();
            loop {
                match core.directory.refresh().await {
                    Ok(()) if !core.directory.routes().shards().is_empty() => return,
                    Ok(()) => tried = vec![("the cluster".to_owned(), "has no data shards yet".to_owned())],
                    Err(causes) => tried = causes,
                }
                tokio::time::sleep(backoff.next()).await;
            }
        };
        match tokio::time::timeout(timeout, found).await {
            Ok(()) => Ok(Self { core: Arc::new(core), timeout }),
            Err(_) => Err(Error::NoCluster { tried }),
        }
    }

    /// The same client with another timeout for each call (1 ms to 10 minutes).
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { core: self.core.clone(), timeout: bounded(timeout) }
    }

    /// What `key` holds, as of the latest acknowledged write.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Value>> {
        self.get_as(key.into(), Kind::Read, None).await
    }

    /// What `key` holds at any replica whose state is at most `max_staleness` old (1 ms to 1 day).
    pub async fn get_stale(&self, key: impl Into<Bytes>, max_staleness: Duration) -> Result<Option<Value>> {
        self.get_as(key.into(), Kind::StaleRead, Some(scan::stale(max_staleness))).await
    }

    async fn get_as(&self, key: Bytes, kind: Kind, consistency: Option<kv::Consistency>) -> Result<Option<Value>> {
        check::key(&key)?;
        let slot = slot_of(&key);
        match self.at_slot(slot, kind, Request::Get(GetRequest { key, consistency, routing: None })).await? {
            Response::Get(got) => Ok(got.found.then_some(Value { value: got.value, revision: got.revision })),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes `key` hold `value`; gives the revision of the write.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<u64> {
        let (key, value) = (key.into(), value.into());
        check::key(&key)?;
        check::value(&value)?;
        let slot = slot_of(&key);
        let put = PutRequest { key, value, retry: None, routing: None };
        match self.at_slot(slot, Kind::Write, Request::Put(put)).await? {
            Response::Put(put) => Ok(put.revision),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes `key` hold nothing.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Deleted> {
        let key = key.into();
        check::key(&key)?;
        let slot = slot_of(&key);
        let delete = DeleteRequest { key, retry: None, routing: None };
        match self.at_slot(slot, Kind::Write, Request::Delete(delete)).await? {
            Response::Delete(deleted) => Ok(Deleted { existed: deleted.existed, revision: deleted.revision }),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes `key` if it is as `expected`.
    pub async fn compare_and_set(&self, key: impl Into<Bytes>, expected: Expected, change: Change) -> Result<Swapped> {
        use compare_and_set_request::Change as Wire;
        let key = key.into();
        check::key(&key)?;
        check::expected(&expected)?;
        check::change(&change)?;
        let slot = slot_of(&key);
        let change = match change {
            Change::Put(value) => Wire::Value(value),
            Change::Delete => Wire::Delete(true),
        };
        let expected = Some(Guard { key, expected }.into());
        let swap = CompareAndSetRequest { expected, change: Some(change), retry: None, routing: None };
        match self.at_slot(slot, Kind::Write, Request::CompareAndSet(swap)).await? {
            Response::CompareAndSet(done) if done.succeeded => Ok(Swapped::Done { revision: done.revision }),
            Response::CompareAndSet(refused) => Ok(Swapped::Refused(refused.current.and_then(value_of))),
            other => Err(unexpected(&other)),
        }
    }

    /// Applies `writes` if all `guards` hold, all or nothing. All keys must be in one slot: give them a common tag.
    pub async fn txn(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<TxnOutcome> {
        let slot = check::txn(&guards, &writes)?;
        let guards = guards.into_iter().map(Into::into).collect();
        let writes = writes.into_iter().map(Into::into).collect();
        let txn = TxnRequest { guards, writes, retry: None, routing: None };
        match self.at_slot(slot, Kind::Write, Request::Txn(txn)).await? {
            Response::Txn(done) if done.succeeded => Ok(TxnOutcome::Done { revision: done.revision }),
            Response::Txn(refused) => {
                let failed = refused.failed.into_iter().map(|current| (current.key.clone(), value_of(current)));
                Ok(TxnOutcome::Refused(failed.collect()))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Applies any number of writes, split by shard and into parts of at most 4,096 writes and 8 MiB. Each part is
    /// atomic; the whole is not. Writes of one key are applied in order, unless a part fails: the parts of its shard
    /// behind it are not tried then, and left out of the answer.
    pub async fn batch(&self, writes: Vec<Write>) -> Result<Vec<Part>> {
        check::writes(&writes)?;
        let split = split(writes, &self.core.directory.routes()).ok_or_else(no_owner)?;
        let done = futures::stream::iter(split).map(|parts| self.parts_of_shard(parts));
        let mut parts = done.buffer_unordered(SHARDS_AT_ONCE).concat().await;
        parts.sort_by_key(|part| part.shard_id);
        Ok(parts)
    }

    async fn parts_of_shard(&self, Parts { shard_id, parts }: Parts) -> Vec<Part> {
        let mut done = Vec::with_capacity(parts.len());
        for part in parts {
            let count = part.len();
            let writes = part.into_iter().map(Into::into).collect();
            let batch = BatchRequest { writes, retry: None, routing: None };
            let result = match self.at_shard(shard_id, Kind::Write, Request::Batch(batch)).await {
                Ok(Response::Batch(batch)) => revision_of(&batch.outcomes),
                Ok(other) => Err(unexpected(&other)),
                Err(error) => Err(error),
            };
            let failed = result.is_err();
            done.push(Part { shard_id, writes: count, result });
            if failed {
                break;
            }
        }
        done
    }

    /// Deletes a range of keys: atomically within one tag, else shard by shard. One part for each shard.
    pub async fn delete_range(&self, range: DeleteRange) -> Result<Vec<Part>> {
        let routes = self.core.directory.routes();
        let shards: Vec<u32> = match range.tag.is_empty() {
            true => routes.shards().iter().map(|shard| shard.id).collect(),
            false => vec![routes.owner(slot_of_tag(&range.tag)).ok_or_else(no_owner)?.id],
        };
        let of_shard = |shard_id| {
            let DeleteRange { start, end, tag } = range.clone();
            let wire_shard = if tag.is_empty() { shard_id } else { 0 };
            let request = DeleteRangeRequest { start, end, tag, shard_id: wire_shard, retry: None, routing: None };
            async move {
                let result = match self.at_shard(shard_id, Kind::Write, Request::DeleteRange(request)).await {
                    Ok(Response::DeleteRange(deleted)) => revision_of(&deleted.outcomes),
                    Ok(other) => Err(unexpected(&other)),
                    Err(error) => Err(error),
                };
                Part { shard_id, writes: 0, result }
            }
        };
        Ok(futures::stream::iter(shards).map(of_shard).buffered(SHARDS_AT_ONCE).collect().await)
    }

    /// Rows, page by page as they are taken. The timeout of this client is that of each page. Ends after an error.
    pub fn scan(&self, scan: Scan) -> impl Stream<Item = Result<Row>> + Send + use<> {
        let routes = self.core.directory.routes();
        let shards = match scan.tag.is_empty() {
            true => routes.shards().iter().map(|shard| shard.id).collect(),
            false => routes.owner(slot_of_tag(&scan.tag)).map(|shard| shard.id).into_iter().collect(),
        };
        scan::rows(self.core.clone(), shards, scan, self.timeout)
    }

    /// The newest cluster map that some node has.
    pub async fn cluster_map(&self) -> Result<ClusterMap> {
        match tokio::time::timeout(self.timeout, self.core.directory.fetch()).await {
            Ok(result) => result.map_err(|tried| Error::NoCluster { tried }),
            Err(_) => Err(Error::Timeout { after: self.timeout, cause: "no node gave the cluster map".to_owned() }),
        }
    }

    async fn at_slot(&self, slot: u16, kind: Kind, request: Request) -> Result<Response> {
        let shard_id = self.core.directory.routes().owner(slot).ok_or_else(no_owner)?.id;
        self.at_shard(shard_id, kind, request).await
    }

    async fn at_shard(&self, shard_id: u32, kind: Kind, request: Request) -> Result<Response> {
        call(&self.core, shard_id, kind, request, self.timeout).await
    }
}

/// The slot of all keys that have this tag.
fn slot_of_tag(tag: &[u8]) -> u16 {
    granary_common::crc16(tag) % granary_common::SLOTS
}

fn revision_of(outcomes: &[ShardOutcome]) -> Result<u64> {
    let outcome = outcomes.first().map(|outcome| outcome.revision);
    outcome.ok_or_else(|| Error::Internal { message: "an answer names no shard".to_owned() })
}

fn no_owner() -> Error {
    Error::Internal { message: "the cluster map gives a slot to no shard".to_owned() }
}

fn unexpected(response: &Response) -> Error {
    let text: String = format!("{response:?}").chars().take_while(char::is_ascii_alphabetic).collect();
    Error::Internal { message: format!("the answer is of the wrong kind: {text}") }
}
