//! The other nodes: who they are, where they are, and the connections to them. Addresses are hints that change; the
//! node behind one is believed only as far as [`admission`](super::admission) lets it in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use granary_common::{NodeId, limits::MAX_MESSAGE};
use granary_proto::{
    admin::admin_client::AdminClient,
    kv::kv_client::KvClient,
    map::Addresses,
    raft::{HelloRequest, KnownAddress, Sender, peer_client::PeerClient},
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::transport::Channel;

use super::{
    admission::{self, Refusal, Standing},
    channels::{Channels, Purpose, is_address},
    discovery::{self, Resolve},
};
use crate::map::{self, MapHolder};

/// Addresses that a node tells another at once.
pub const MAX_KNOWN: usize = 256;
/// Nodes that are remembered on others' word only.
const MAX_HEARSAY: usize = 4096;
/// Longest time that telling everyone goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);
/// A node's word that leaders shall stay away from it counts this long.
const SLOW_COUNTS: Duration = Duration::from_secs(5);

/// Puts the highest incarnation seen of a node on disk, synced, before it returns. Called once a start of a node.
pub type PersistIncarnation = Box<dyn Fn(NodeId, u64) + Send + Sync>;

/// The registry of all other nodes. Shared by everything that talks to them.
pub struct Peers {
    own: Sender,
    seeds: Vec<String>,
    map: MapHolder,
    persist: PersistIncarnation,
    pub(super) resolve: Resolve,
    /// Held while a higher incarnation goes to disk; taken before `nodes`.
    raising: Mutex<()>,
    pub(super) nodes: Mutex<BTreeMap<NodeId, Peer>>,
    /// A node is out of reach, or may be at another address.
    pub(super) wake: Notify,
    /// Leaders shall stay away from this node.
    slow_here: AtomicBool,
}

/// One other node.
#[derive(Default)]
pub(super) struct Peer {
    standing: Standing,
    /// With the incarnation that they are of.
    addresses: Option<(u64, Addresses)>,
    /// It answered at this address, and no connection to it broke since.
    pub(super) reached: bool,
    /// When it last said that leaders shall stay away from it; `None`: not since it said that they may come.
    slow: Option<Instant>,
    channels: Channels,
}

/// A message stream from a node that is open here. Dropped without [`OpenStream::ended_in_order`], its connection broke.
pub(super) struct OpenStream<'a> {
    peers: &'a Peers,
    node: NodeId,
    incarnation: u64,
    cut: bool,
}

impl OpenStream<'_> {
    pub(super) fn ended_in_order(&mut self) {
        self.cut = false;
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.peers.with(self.node, |peer| peer.standing.stream_ended(self.incarnation, self.cut));
    }
}

impl Peers {
    /// Made once a node has its identity, before its store.
    ///
    /// `own` is how this node introduces itself, with the incarnation of this start; `seeds` are addresses (host:port of
    /// peer ports) at which any node may answer; `incarnations` are the highest seen, from disk; `persist` writes a higher
    /// one there. Whoever makes it spawns [`Peers::discover`] too, and calls [`Peers::say_goodbye`] at a graceful stop.
    pub fn new(
        own: Sender,
        seeds: Vec<String>,
        map: MapHolder,
        incarnations: Vec<(NodeId, u64)>,
        persist: PersistIncarnation,
    ) -> Arc<Self> {
        Self::with_resolve(own, seeds, map, incarnations, persist, discovery::by_system())
    }

    pub(super) fn with_resolve(
        own: Sender,
        seeds: Vec<String>,
        map: MapHolder,
        incarnations: Vec<(NodeId, u64)>,
        persist: PersistIncarnation,
        resolve: Resolve,
    ) -> Arc<Self> {
        let nodes = incarnations
            .into_iter()
            .map(|(node, highest)| {
                let standing = Standing { highest, ..Standing::default() };
                (node, Peer { standing, ..Peer::default() })
            })
            .collect();
        // Whoever lists all nodes as seeds lists this one too.
        let own_address = own.addresses.as_ref().map_or("", |own| &own.peer);
        let seeds = seeds.into_iter().filter(|seed| seed != own_address).collect();
        let (raising, nodes) = (Mutex::default(), Mutex::new(nodes));
        Arc::new(Self {
            own,
            seeds,
            map,
            persist,
            resolve,
            raising,
            nodes,
            wake: Notify::new(),
            slow_here: AtomicBool::new(false),
        })
    }

    /// How this node introduces itself.
    pub fn own(&self) -> &Sender {
        &self.own
    }

    /// Own id.
    pub fn own_id(&self) -> NodeId {
        NodeId(self.own.node_id)
    }

    pub(super) fn seeds(&self) -> &[String] {
        &self.seeds
    }

    pub(super) fn map(&self) -> &MapHolder {
        &self.map
    }

    /// Lets a sender in, or not; notes that it was heard from. The first time that an incarnation speaks it is put on disk
    /// before this returns.
    ///
    /// # Errors
    /// [`Refusal`], whose text is for the other side and for the log.
    pub fn admit(&self, claim: &Sender) -> Result<(), Refusal> {
        let node = NodeId(claim.node_id);
        if !self.admit_known(claim)? {
            // One at a time, so that a lower incarnation is never written over a higher one. Without the lock of the nodes:
            // whoever is known is heard while the disk is slow. Nobody may take it for seen before it is on disk.
            let _one = self.raising.lock();
            if !self.admit_known(claim)? {
                (self.persist)(node, claim.incarnation);
                let mut nodes = self.nodes.lock();
                let standing = &mut nodes.entry(node).or_default().standing;
                standing.highest = standing.highest.max(claim.incarnation);
                drop(nodes);
                self.admit_known(claim)?;
            }
        }
        Ok(())
    }

    /// False: it may be let in, but its incarnation is higher than any before, and not on disk yet.
    fn admit_known(&self, claim: &Sender) -> Result<bool, Refusal> {
        let now = Instant::now();
        let node = NodeId(claim.node_id);
        let map = self.map.current();
        let map_uuid = map::node(&map, node).map(|node| node.uuid.as_str()).filter(|uuid| !uuid.is_empty());
        let mut nodes = self.nodes.lock();
        let unknown = Standing::default();
        let standing = nodes.get(&node).map_or(&unknown, |peer| &peer.standing);
        admission::admit(&self.own, claim, map_uuid, standing, now)?;
        if node == self.own_id() {
            return Ok(true);
        }
        let known = claim.incarnation <= standing.highest;
        if known {
            nodes.entry(node).or_default().standing.heard(claim, now);
        }
        Ok(known)
    }

    /// Whether a message meant for `to` is meant for this node.
    ///
    /// # Errors
    /// [`Refusal::NotMeant`].
    pub fn check_meant(&self, to: u64) -> Result<(), Refusal> {
        if to == self.own.node_id {
            return Ok(());
        }
        Err(Refusal::NotMeant { meant: NodeId(to), own: self.own_id() })
    }

    /// Notes a frame from an admitted sender. False: a later incarnation of the node was let in since.
    pub(super) fn heard_again(&self, node: NodeId, incarnation: u64, slow: bool) -> bool {
        let now = Instant::now();
        self.with(node, |peer| {
            let counts = peer.standing.heard_again(incarnation, now);
            if counts {
                peer.slow = slow.then_some(now);
            }
            counts
        })
        .unwrap_or(false)
    }

    /// From now on this node tells the others whether leaders shall stay away from it.
    pub fn set_slow_here(&self, slow: bool) {
        self.slow_here.store(slow, Relaxed);
    }

    pub(super) fn is_slow_here(&self) -> bool {
        self.slow_here.load(Relaxed)
    }

    /// Nodes that said within the last 5 s that leaders shall stay away from them, in order.
    pub fn slow_nodes(&self) -> Vec<NodeId> {
        let nodes = self.nodes.lock();
        let slow = nodes.iter().filter(|(_, peer)| peer.slow.is_some_and(|said| said.elapsed() < SLOW_COUNTS));
        slow.map(|(node, _)| *node).collect()
    }

    pub(super) fn stream_began(&self, node: NodeId, incarnation: u64) -> OpenStream<'_> {
        self.with(node, |peer| peer.standing.stream_began(incarnation));
        OpenStream { peers: self, node, incarnation, cut: true }
    }

    /// Notes that an admitted sender stops on purpose.
    pub(super) fn said_goodbye(&self, claim: &Sender) {
        self.with(NodeId(claim.node_id), |peer| {
            peer.standing.said_goodbye(claim.incarnation);
            peer.reached = false;
        });
    }

    /// Notes that talking to the node failed; looks for it at all addresses. `cut`: a connection that stood broke.
    pub fn failed(&self, node: NodeId, cut: bool) {
        self.with(node, |peer| {
            peer.reached = false;
            if cut {
                peer.standing.connection_broke();
            }
        });
        self.wake.notify_one();
    }

    /// Where the node last said it is, else the map's hint; `None` when neither is known, or when the hint is another
    /// node's address by now.
    pub fn addresses(&self, node: NodeId) -> Option<Addresses> {
        self.addresses_in(&self.nodes.lock(), node)
    }

    fn addresses_in(&self, nodes: &BTreeMap<NodeId, Peer>, node: NodeId) -> Option<Addresses> {
        if let Some((_, addresses)) = nodes.get(&node).and_then(|peer| peer.addresses.as_ref()) {
            return Some(addresses.clone());
        }
        let map = self.map.current();
        let hint = map::node(&map, node)?.addresses.clone()?;
        let taken = nodes.values().any(|peer| peer.addresses.as_ref().is_some_and(|(_, of)| of.peer == hint.peer));
        (!taken && hint.peer != self.own.addresses.as_ref().map_or("", |own| &own.peer)).then_some(hint)
    }

    /// Takes over where an admitted sender says it is. `answered`: it was asked there, and so can be reached.
    pub(super) fn learn_from_itself(&self, claim: &Sender, answered: bool) {
        let Some(addresses) = claim.addresses.clone().filter(|addresses| is_address(&addresses.peer)) else { return };
        let node = NodeId(claim.node_id);
        if node == self.own_id() {
            return;
        }
        let mut nodes = self.nodes.lock();
        for (other, peer) in nodes.iter_mut() {
            if *other != node && peer.addresses.as_ref().is_some_and(|(_, of)| of.peer == addresses.peer) {
                (peer.addresses, peer.reached) = (None, false);
            }
        }
        let peer = nodes.entry(node).or_default();
        let same = peer.addresses.as_ref().is_some_and(|(_, of)| *of == addresses);
        peer.reached = answered || (same && peer.reached);
        let look = !peer.reached;
        peer.addresses = Some((claim.incarnation, addresses));
        drop(nodes);
        if look {
            self.wake.notify_one();
        }
    }

    /// Takes over what a third node says of where a node is, if it is newer than what is known here.
    pub fn learn(&self, known: KnownAddress) {
        let Some(addresses) = known.addresses.filter(|addresses| is_address(&addresses.peer)) else { return };
        let node = NodeId(known.node_id);
        let mut nodes = self.nodes.lock();
        let newer = nodes
            .get(&node)
            .and_then(|peer| peer.addresses.as_ref())
            .is_none_or(|(incarnation, _)| *incarnation < known.incarnation);
        let room = nodes.contains_key(&node) || nodes.len() < MAX_HEARSAY;
        if node.0 == 0 || node == self.own_id() || !newer || !room {
            return;
        }
        let peer = nodes.entry(node).or_default();
        (peer.addresses, peer.reached) = (Some((known.incarnation, addresses)), false);
        drop(nodes);
        self.wake.notify_one();
    }

    /// Another node than this one answers at that address: forget that it is this one's.
    pub(super) fn not_at(&self, node: NodeId, address: &str) {
        self.with(node, |peer| {
            peer.reached = false;
            peer.addresses.take_if(|(_, of)| of.peer == address);
        });
    }

    /// What this node tells others: at most [`MAX_KNOWN`] addresses.
    pub fn known(&self) -> Vec<KnownAddress> {
        let nodes = self.nodes.lock();
        let known = nodes.iter().filter_map(|(node, peer)| {
            let (incarnation, addresses) = peer.addresses.clone()?;
            Some(KnownAddress { node_id: node.0, incarnation, addresses: Some(addresses) })
        });
        known.take(MAX_KNOWN).collect()
    }

    /// A connection to the node's peer port; made when it is first used. `None` while no address is known. Must be called
    /// inside a tokio runtime.
    pub fn channel(&self, node: NodeId) -> Option<Channel> {
        self.channel_for(node, Purpose::Calls)
    }

    pub(super) fn channel_for(&self, node: NodeId, purpose: Purpose) -> Option<Channel> {
        let mut nodes = self.nodes.lock();
        let addresses = self.addresses_in(&nodes, node)?;
        nodes.entry(node).or_default().channels.get(purpose, purpose.address(&addresses))
    }

    pub(super) fn peer_client_for(&self, node: NodeId, purpose: Purpose) -> Option<PeerClient<Channel>> {
        self.channel_for(node, purpose).map(peer_client)
    }

    /// For calls of the peer service; see [`Peers::channel`].
    pub fn peer_client(&self, node: NodeId) -> Option<PeerClient<Channel>> {
        self.peer_client_for(node, Purpose::Calls)
    }

    /// For calls of the admin service; see [`Peers::channel`].
    pub fn admin_client(&self, node: NodeId) -> Option<AdminClient<Channel>> {
        let client = AdminClient::new(self.channel(node)?);
        Some(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    /// For calls of the data service, at the node's Kv port; see [`Peers::channel`].
    pub fn kv_client(&self, node: NodeId) -> Option<KvClient<Channel>> {
        let client = KvClient::new(self.channel_for(node, Purpose::Kv)?);
        Some(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    /// Tells all nodes that this process stops on purpose, so that its next start is let in at once. Takes 200 ms at
    /// most; who does not hear it waits 10 s.
    pub async fn say_goodbye(&self) {
        let farewells =
            self.others().into_iter().filter_map(|node| self.peer_client(node)).map(|mut client| async move {
                let request = HelloRequest { sender: Some(self.own.clone()), known: Vec::new(), goodbye: true };
                // Who is gone as well needs no goodbye.
                let _ = client.hello(request).await;
            });
        let _ = tokio::time::timeout(GOODBYE_LIMIT, futures::future::join_all(farewells)).await;
    }

    /// All nodes of the map, and all heard of.
    pub(crate) fn others(&self) -> BTreeSet<NodeId> {
        let mut others: BTreeSet<_> = self.map.current().nodes.iter().map(|node| NodeId(node.id)).collect();
        others.extend(self.nodes.lock().keys());
        others.remove(&self.own_id());
        others
    }

    fn with<T>(&self, node: NodeId, change: impl FnOnce(&mut Peer) -> T) -> Option<T> {
        self.nodes.lock().get_mut(&node).map(change)
    }
}

/// A client of the peer service with our limits.
pub(super) fn peer_client(channel: Channel) -> PeerClient<Channel> {
    PeerClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
}
