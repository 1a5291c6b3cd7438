//! What is asked of etcd for each request.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use granary_load::{Op, Target};
use tonic::{Status, transport::Channel};

use super::api::{PutRequest, RangeRequest, RequestOp, TxnRequest, kv_client::KvClient, request_op::Request};

/// Writes of one transaction, which is the most that etcd takes by default.
const MOST_OPS: usize = 128;

/// One connection to each member, used in turn, as etcd's own client balances them. Reads are linearizable.
#[derive(Clone)]
pub struct EtcdTarget {
    clients: Arc<[KvClient<Channel>]>,
    next: Arc<AtomicUsize>,
}

impl EtcdTarget {
    pub(super) fn new(channels: Vec<Channel>) -> Self {
        let client = |channel| KvClient::new(channel).max_decoding_message_size(64 << 20);
        Self { clients: channels.into_iter().map(client).collect(), next: Arc::default() }
    }

    fn client(&self) -> KvClient<Channel> {
        self.clients[self.next.fetch_add(1, Relaxed) % self.clients.len()].clone()
    }
}

impl Target for EtcdTarget {
    async fn ask(&self, op: Op) -> Result<u64, String> {
        let words = |status: Status| status.message().to_owned();
        match op {
            Op::Put { key, value } => self.client().put(PutRequest { key, value }).await.map(|_| 1).map_err(words),
            Op::Get { key } => {
                let range = RangeRequest { key, ..RangeRequest::default() };
                self.client().range(range).await.map(|_| 1).map_err(words)
            }
            Op::Batch { rows } => {
                let put = |(key, value)| RequestOp { request: Some(Request::RequestPut(PutRequest { key, value })) };
                let mut written = 0;
                for part in rows.chunks(MOST_OPS) {
                    let success: Vec<RequestOp> = part.iter().cloned().map(put).collect();
                    written += success.len() as u64;
                    self.client().txn(TxnRequest { success }).await.map_err(words)?;
                }
                Ok(written)
            }
            Op::Scan { from, rows } => {
                // To the end of all keys that begin as the generator's do.
                let range = RangeRequest { key: from, range_end: "bench0".into(), limit: rows.into() };
                self.client().range(range).await.map(|answer| answer.into_inner().kvs.len() as u64).map_err(words)
            }
        }
    }
}
