//! Finds nodes that do not answer where they were: says Hello to every address there is, until each node of the map has
//! answered somewhere. So all nodes may change their addresses at once, if they can reach a seed or each other.
//!
//! A seed may be a name that stands for many nodes. It is resolved anew in each round, and all its addresses are asked: some
//! may be dead, some may be others' by now, whom [`admission`](super::admission) refuses.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture};
use granary_common::NodeId;
use granary_proto::raft::{HelloRequest, HelloResponse};

use super::{
    Peers,
    backoff::Backoff,
    channels,
    peers::{MAX_KNOWN, peer_client},
};

/// Hellos under way at a time.
const AT_ONCE: usize = 8;
/// Longest wait for an answer, connecting included.
const HELLO_LIMIT: Duration = Duration::from_secs(1);
/// Longest wait for a name's addresses.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);
/// Addresses that are taken of one name.
const MAX_OF_NAME: usize = 256;
/// Between two rounds: first and longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Finds the addresses of a seed (host:port); none when the name is not known now.
pub(crate) type Resolve = Box<dyn Fn(String) -> BoxFuture<'static, Vec<SocketAddr>> + Send + Sync>;

/// As the system does: files and name servers.
pub(super) fn by_system() -> Resolve {
    Box::new(|seed| {
        Box::pin(async move {
            match tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host(&seed)).await {
                Ok(Ok(addresses)) => addresses.take(MAX_OF_NAME).collect(),
                Ok(Err(error)) => {
                    tracing::debug!(seed, %error, "the addresses of a seed are not known now");
                    Vec::new()
                }
                Err(_) => {
                    tracing::debug!(seed, "the addresses of a seed took longer than 2 s");
                    Vec::new()
                }
            }
        })
    })
}

impl Peers {
    /// Runs for the life of the node. Idle while every node of the map answers where it is thought to be.
    pub async fn discover(self: Arc<Self>) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut map = self.map().subscribe();
        let mut answered = 0;
        loop {
            // The seeds are asked at least until one of them answers: the map may be empty yet.
            if self.lost().is_empty() && (answered > 0 || self.seeds().is_empty()) {
                backoff.reset();
                tokio::select! {
                    () = self.wake.notified() => {}
                    changed = map.changed() => if changed.is_err() { return },
                }
                continue;
            }
            answered += self.round().await;
            if !self.lost().is_empty() || answered == 0 {
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }

    /// Nodes of the map that have not answered since they were last lost.
    fn lost(&self) -> Vec<NodeId> {
        let map = self.map().current();
        let nodes = self.nodes.lock();
        let others = map.nodes.iter().map(|node| NodeId(node.id)).filter(|node| *node != self.own_id());
        others.filter(|node| nodes.get(node).is_none_or(|peer| !peer.reached)).collect()
    }

    /// Every address, with the node that is thought to be there.
    async fn places(&self) -> BTreeMap<String, Option<NodeId>> {
        let resolved = futures::future::join_all(self.seeds().iter().map(|seed| (self.resolve)(seed.clone()))).await;
        let seeds = resolved.into_iter().flatten().map(|address| (address.to_string(), None));
        // Whoever is behind a name that stands for all nodes is behind it too.
        let own = self.own().addresses.as_ref().map_or("", |own| &own.peer);
        let mut places: BTreeMap<_, _> = seeds.filter(|(address, _)| address != own).collect();
        for node in self.others() {
            if let Some(addresses) = self.addresses(node) {
                places.insert(addresses.peer, Some(node));
            }
        }
        places
    }

    /// Says Hello once to every address. Gives the number of members that answered.
    async fn round(&self) -> usize {
        let hellos = self.places().await.into_iter().map(|(address, meant)| async move {
            match self.hello(&address).await {
                Ok(answer) => usize::from(self.answered(&address, meant, answer)),
                Err(error) => {
                    tracing::debug!(address, error, "no answer to Hello");
                    0
                }
            }
        });
        futures::stream::iter(hellos).buffer_unordered(AT_ONCE).fold(0, |sum, one| async move { sum + one }).await
    }

    async fn hello(&self, address: &str) -> Result<HelloResponse, String> {
        let endpoint = channels::endpoint(address).ok_or("it is no host:port")?;
        let request = HelloRequest { sender: Some(self.own().clone()), known: self.known(), goodbye: false };
        let ask = async {
            let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
            let answer = peer_client(channel).hello(request).await.map_err(|status| status.message().to_owned())?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(HELLO_LIMIT, ask).await.map_err(|_| "it took longer than 1 s")?
    }

    /// Takes an answer over: noted under the node that gave it, whoever was meant. False: not a member of this cluster.
    fn answered(&self, address: &str, meant: Option<NodeId>, answer: HelloResponse) -> bool {
        // A blank node may become who is meant: while a cluster is founded, each sees the others so for a moment.
        let Some(sender) = answer.sender.filter(|sender| !sender.cluster_id.is_empty()) else { return false };
        let is_meant = meant.is_none_or(|meant| meant.0 == sender.node_id);
        if let Some(meant) = meant.filter(|_| !is_meant) {
            tracing::info!(address, %meant, answered = %NodeId(sender.node_id), "another node than meant answers there");
            self.not_at(meant, address);
        }
        if sender.node_id == self.own().node_id && sender.process == self.own().process {
            return false;
        }
        if let Err(refusal) = self.admit(&sender) {
            tracing::warn!(address, %refusal, "who answers Hello is not let in");
            return false;
        }
        self.learn_from_itself(&sender, true);
        answer.known.into_iter().take(MAX_KNOWN).for_each(|known| self.learn(known));
        true
    }
}
