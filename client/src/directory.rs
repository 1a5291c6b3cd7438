//! Keeps the snapshot of [`Routes`] fresh: asks any node for the newest map, one refresh at a time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use granary_proto::{kv::GetClusterMapResponse, map::ClusterMap};
use parking_lot::{Mutex, RwLock};

use crate::{link::Link, pipe::Limits, routes::Routes};

/// Least time between two refreshes.
const PAUSE: Duration = Duration::from_millis(20);
/// A node that is slower than this is not waited for alone: the next is asked as well.
const STAGGER: Duration = Duration::from_millis(50);
/// A node that has not answered within this does not count.
const PATIENCE: Duration = Duration::from_secs(1);

/// What each address answered that did not help.
pub(crate) type Tried = Vec<(String, String)>;

/// Keeps the snapshot of [`Routes`] fresh.
#[derive(Debug)]
pub(crate) struct Directory {
    routes: RwLock<Arc<Routes>>,
    /// As the user gave them; asked when no node of the map answers.
    seeds: Vec<String>,
    links: Mutex<HashMap<String, Arc<Link>>>,
    limits: Limits,
    /// Only the seeds are spoken to.
    only_seeds: bool,
    turn: AtomicUsize,
    /// When the last refresh ended.
    refreshed: tokio::sync::Mutex<Option<Instant>>,
}

impl Directory {
    /// Knows nothing but `seeds` (host:port each), and with `only_seeds` speaks to no other address ever.
    pub(crate) fn new(seeds: Vec<String>, limits: Limits, only_seeds: bool) -> Self {
        Self {
            routes: RwLock::default(),
            seeds,
            links: Mutex::default(),
            limits,
            only_seeds,
            turn: AtomicUsize::new(0),
            refreshed: tokio::sync::Mutex::default(),
        }
    }

    /// The newest snapshot.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.read().clone()
    }

    /// A seed to speak to next: in turn, those that did not just fail first; `None`: there are none.
    pub(crate) fn next_seed(&self) -> Option<Arc<Link>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = |offset: usize| self.link(&self.seeds[turn.wrapping_add(offset) % self.seeds.len()]);
        let mut links = (0..self.seeds.len()).map(in_turn);
        links.clone().find(|link| !link.is_suspect()).or_else(|| links.next())
    }

    /// Whether a seed answers, and none of the addresses that the map has could ever be connected to.
    pub(crate) fn nodes_are_out_of_reach(&self) -> bool {
        let routes = self.routes();
        let is_of_map = |seed: &String| routes.links().any(|link| link.address == *seed);
        let mut seeds = self.seeds.iter().filter(|seed| !is_of_map(seed));
        !self.only_seeds
            && routes.links().all(|link| !link.has_worked())
            && routes.links().any(|link| link.has_only_failed())
            && seeds.any(|seed| self.link(seed).has_worked())
    }

    /// Asks for a newer map, unless another caller did so since this call began. Says what each node answered when
    /// none had a map.
    pub(crate) async fn refresh(&self) -> Result<(), Tried> {
        let called = Instant::now();
        let mut refreshed = self.refreshed.lock().await;
        if let Some(last) = *refreshed {
            if last > called {
                return Ok(());
            }
            tokio::time::sleep(PAUSE.saturating_sub(last.elapsed())).await;
        }
        let result = self.ask(self.routes().version).await;
        *refreshed = Some(Instant::now());
        let answer = result?;
        if let Some(map) = &answer.map {
            self.install(map);
        }
        let routes = self.routes();
        for hint in &answer.leaders {
            let (shard, link) = (routes.shard(hint.shard_id), routes.link(hint.node_id));
            if let (Some(shard), Some(link)) = (shard, link)
                && !link.is_suspect()
            {
                shard.memory.suggest(hint.node_id);
            }
        }
        Ok(())
    }

    /// The newest map that a node has.
    pub(crate) async fn fetch(&self) -> Result<ClusterMap, Tried> {
        let answer = self.ask(0).await?;
        answer.map.ok_or_else(|| vec![("the node".to_owned(), "has no cluster map".to_owned())])
    }

    /// Asks nodes in turn, a slow one beside the next, until one answers.
    async fn ask(&self, known_version: u64) -> Result<GetClusterMapResponse, Tried> {
        let mut asked: FuturesUnordered<_> = self
            .candidates()
            .into_iter()
            .enumerate()
            .map(|(place, link)| async move {
                tokio::time::sleep(STAGGER * u32::try_from(place).unwrap_or(u32::MAX)).await;
                let asking = async { link.pipe(PATIENCE).await?.cluster_map(known_version).await };
                let answer = tokio::time::timeout(PATIENCE, asking).await;
                (link.address.clone(), answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))))
            })
            .collect();
        let mut tried = Tried::new();
        while let Some((address, answer)) = asked.next().await {
            match answer {
                Ok(answer) => match self.objection(&answer) {
                    None => return Ok(answer),
                    Some(objection) => tried.push((address, objection)),
                },
                Err(cause) => tried.push((address, cause)),
            }
        }
        Err(tried)
    }

    /// Why an answer is of no use.
    fn objection(&self, answer: &GetClusterMapResponse) -> Option<String> {
        let routes = self.routes();
        match &answer.map {
            Some(map) if !routes.cluster_id.is_empty() && map.cluster_id != routes.cluster_id => {
                Some(format!("is of another cluster: {}, not {}", map.cluster_id, routes.cluster_id))
            }
            None if routes.version == 0 => Some("is not part of a cluster yet".to_owned()),
            _ => None,
        }
    }

    /// Nodes to ask: those of the map in random order, then the seeds; at the end those that failed a moment ago.
    fn candidates(&self) -> Vec<Arc<Link>> {
        let routes = self.routes();
        let mut links: Vec<Arc<Link>> = match self.only_seeds {
            true => Vec::new(),
            false => routes.links().cloned().collect(),
        };
        if links.len() > 1 {
            let first = rand::random_range(0..links.len());
            links.rotate_left(first);
        }
        for seed in &self.seeds {
            if !links.iter().any(|link| link.address == *seed) {
                links.push(self.link(seed));
            }
        }
        links.sort_by_key(|link| link.is_suspect());
        links
    }

    fn install(&self, map: &ClusterMap) {
        // The first one stays: maps of other clusters are objected to.
        let _ = self.limits.cluster_id.set(map.cluster_id.clone());
        let mut routes = self.routes.write();
        if map.version > routes.version {
            let fresh = Arc::new(Routes::new(map, &routes, |address| self.link(address)));
            let kept = |address: &str| {
                self.seeds.iter().any(|seed| seed == address) || fresh.links().any(|link| link.address == address)
            };
            self.links.lock().retain(|address, _| kept(address));
            tracing::debug!(version = map.version, shards = fresh.shards().len(), "new cluster map");
            *routes = fresh;
        }
    }

    fn link(&self, address: &str) -> Arc<Link> {
        let mut links = self.links.lock();
        let fresh = || Arc::new(Link::new(address.to_owned(), self.limits.clone()));
        links.entry(address.to_owned()).or_insert_with(fresh).clone()
    }
}
