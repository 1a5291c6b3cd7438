//! Apply: takes the steps of a plan in order; the first that fails ends the round. Each step may be repeated, so a round
//! that was cut off anywhere is completed by the next plan.

use granary_common::limits::FEATURE_LEVEL;
use granary_planner::{
    observed::{Disk, Place, Process},
    plan::{Move, Plan, Step},
};
use granary_proto::{
    admin::{
        BootstrapRequest, CreateShardsRequest, Founder as FounderMessage, JoinRequest, Placement, Reconfiguration,
        ReconfigureRequest, Transfer, TransferLeadersRequest,
    },
    map::{Addresses, Domains},
};
use thiserror::Error;

use crate::{
    crash,
    node_admin::{AdminError, Fence, NodeAdmin, Order},
    observe::Sight,
    substrate::{Founder, Founding, Start, Substrate, SubstrateError},
};

/// How long leaders stay away from a node that is about to be started anew, in ms: longer than a stop takes, and over by
/// itself soon when the operator ends in between.
const LEADERS_AWAY_MS: u64 = 60_000;

/// Why a step was not done.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The substrate could not.
    #[error(transparent)]
    Substrate(#[from] SubstrateError),
    /// The nodes could not, or would not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// What the step needs was not seen.
    #[error("{0}")]
    Missing(String),
    /// The nodes took a part of it only.
    #[error("{0}")]
    Partly(String),
}

impl ApplyError {
    /// Whether this process must stop.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Admin(AdminError::TakenOver { .. }))
    }
}

/// What the steps act on.
pub struct Applier<'a> {
    /// Runs nodes.
    pub substrate: &'a dyn Substrate,
    /// Speaks to them.
    pub admin: &'a dyn NodeAdmin,
    /// The right to order.
    pub fence: &'a mut Fence,
    /// What the plan was made from.
    pub sight: &'a Sight,
    /// Copies of each shard, for founding.
    pub replication_factor: u32,
    /// Data shards, for founding.
    pub shards: u32,
}

impl Applier<'_> {
    /// Takes all steps. What is put off is told as notes.
    ///
    /// # Errors
    /// The first that failed; those before it were taken.
    pub async fn apply(&mut self, plan: &Plan) -> Result<Vec<String>, ApplyError> {
        let mut notes = Vec::new();
        for planned in &plan.steps {
            tracing::debug!(step = ?planned.step, reason = planned.reason, "apply");
            notes.extend(self.step(&planned.step).await?);
            crash::after("step");
        }
        Ok(notes)
    }

    async fn step(&mut self, step: &Step) -> Result<Option<String>, ApplyError> {
        match step {
            Step::MintClusterId => self.substrate.mint_cluster_id().await?,
            Step::StartNode { index } => {
                if let Start::Later(why) = self.substrate.start_node(*index).await? {
                    return Ok(Some(why));
                }
            }
            Step::Found { founders } => self.found(founders).await?,
            Step::NoteFounded => self.substrate.note_founded().await?,
            Step::Join { index } => self.join(*index).await?,
            Step::CreateShards { placements } => {
                let placement = |(shard_id, node_ids): &(u32, Vec<u64>)| Placement {
                    shard_id: *shard_id,
                    node_ids: node_ids.clone(),
                };
                let shards = placements.iter().map(placement).collect();
                self.order(Order::CreateShards(CreateShardsRequest { operator_token: 0, shards })).await?;
            }
            Step::Reconfigure { moves } => self.reconfigure(moves).await?,
            Step::TransferLeaders { transfers } => {
                let transfers =
                    transfers.iter().map(|(shard_id, node)| Transfer { shard_id: *shard_id, to_node_id: *node });
                let request = TransferLeadersRequest { transfers: transfers.collect(), ..Default::default() };
                self.order(Order::TransferLeaders(request)).await?;
            }
            Step::Drain { node } => self.order(Order::Drain(*node)).await?,
            Step::CancelDrain { node } => self.order(Order::CancelDrain(*node)).await?,
            Step::RemoveNode { node } => self.order(Order::RemoveNode(*node)).await?,
            Step::ReserveStop { node } => self.order(Order::ReserveStop(*node)).await?,
            Step::LeadersAway { node } => {
                let request = TransferLeadersRequest {
                    away_from_node_id: *node,
                    lease_ms: LEADERS_AWAY_MS,
                    ..Default::default()
                };
                self.order(Order::TransferLeaders(request)).await?;
            }
            Step::ReleaseStop { node } => {
                let back = TransferLeadersRequest { away_from_node_id: *node, lease_ms: 0, ..Default::default() };
                self.order(Order::TransferLeaders(back)).await?;
                self.order(Order::ReleaseStop(*node)).await?;
            }
            Step::RestartPlace { index } => self.restart(*index).await?,
            Step::RetirePlace { index } => {
                self.fence.confirm(self.admin, &self.sight.members()).await?;
                self.substrate.retire(*index).await?;
            }
        }
        Ok(None)
    }

    /// What runs goes only by an order of the process that works on the cluster now; one that was overtaken in the middle
    /// of its round may have slept for long. While the cluster does not answer only what runs nothing goes.
    async fn restart(&mut self, index: u32) -> Result<(), ApplyError> {
        if self.sight.observed.cluster.fresh().is_some() {
            self.fence.confirm(self.admin, &self.sight.members()).await?;
        }
        let place = self.sight.observed.places.iter().find(|place| place.index == index);
        if place.is_some_and(|place| place.process.fresh() == Some(&Process::Starting)) {
            self.substrate.restart_starting(index).await?;
        } else {
            self.substrate.restart(index).await?;
        }
        Ok(())
    }

    async fn order(&mut self, order: Order) -> Result<(), ApplyError> {
        self.fence.order(self.admin, &self.sight.members(), order).await?;
        Ok(())
    }

    async fn reconfigure(&mut self, moves: &[Move]) -> Result<(), ApplyError> {
        let item = |planned: &Move| Reconfiguration {
            shard_id: planned.shard,
            node_ids: planned.nodes.clone(),
            expected_version: planned.expected_version,
        };
        let request = ReconfigureRequest { operator_token: 0, items: moves.iter().map(item).collect() };
        let outcomes = self.fence.order(self.admin, &self.sight.members(), Order::Reconfigure(request)).await?;
        let refused: Vec<_> = outcomes.iter().filter(|outcome| !outcome.accepted).collect();
        match refused.first() {
            None => Ok(()),
            Some(first) => Err(ApplyError::Partly(format!(
                "{} of {} shards were not moved; shard {}: {}",
                refused.len(),
                moves.len(),
                first.shard_id,
                first.message
            ))),
        }
    }

    /// Makes the blank node there a member. A founder whose Bootstrap was never sent gets that instead: as node N it is a
    /// voter of the meta shard already, and joining would make it another node.
    async fn join(&mut self, index: u32) -> Result<(), ApplyError> {
        let (place, address) = self.place(index)?;
        let domains = Some(Domains { zone: place.domains.zone.clone(), machine: place.domains.machine.clone() });
        let cluster_id = self.cluster_id()?;
        if let Some(founding) = self.sight.founding.as_ref().filter(|founding| self.is_awaited(founding, index)) {
            self.admin.bootstrap(&address, bootstrap(cluster_id, founding)).await?;
            return Ok(());
        }
        let seeds = self.sight.members();
        let operator_token = self.fence.token()?;
        let request = JoinRequest { cluster_id, seeds: seeds.clone(), operator_token, domains };
        match self.admin.join(&address, request).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fence.explain(self.admin, &seeds, error).await.into()),
        }
    }

    /// Sends the same content to each founder: what is kept, else what is seen now and kept from here on.
    async fn found(&mut self, indexes: &[u32]) -> Result<(), ApplyError> {
        let cluster_id = self.cluster_id()?;
        let kept = self.founding(indexes).await?;
        let request = bootstrap(cluster_id, &kept);
        for founder in &kept.founders {
            let (_, address) = self.place(founder.index)?;
            // Another process may have found the disks wiped and begun anew since: two contents would be two clusters.
            if self.substrate.keep_founding(kept.clone(), false).await? != kept {
                return Err(ApplyError::Missing("another process has begun to found the cluster anew".into()));
            }
            self.admin.bootstrap(&address, request.clone()).await?;
            crash::after("bootstrap");
        }
        Ok(())
    }

    /// Whether the blank disk at this place is that of a founder, still a member, that has not heard of it.
    fn is_awaited(&self, founding: &Founding, index: u32) -> bool {
        let sender = self.sight.identities.get(&index).and_then(|identity| identity.sender.as_ref());
        let members = self.sight.observed.cluster.fresh().map(|cluster| &cluster.nodes);
        (1..).zip(&founding.founders).any(|(id, founder): (u64, _)| {
            let same_disk = sender.is_some_and(|sender| sender.uuid == founder.uuid);
            let is_member = members.into_iter().flatten().any(|node| node.id == id && node.name == founder.name);
            founder.index == index && same_disk && is_member
        })
    }

    async fn founding(&self, indexes: &[u32]) -> Result<Founding, ApplyError> {
        let all_blank = indexes.iter().all(|index| {
            let place = self.sight.observed.places.iter().find(|place| place.index == *index);
            matches!(place.and_then(|place| place.disk.fresh()), Some(Disk::Blank { uuid: Some(_) }))
        });
        let founders = indexes.iter().map(|index| self.founder(*index)).collect::<Result<_, _>>()?;
        let seen = Founding {
            founders,
            replication_factor: self.replication_factor,
            shards: self.shards,
            feature_level: FEATURE_LEVEL,
        };
        // While none has accepted, disks may have been wiped and addresses changed: what is seen now replaces what was
        // kept when this round looked, and nothing that another process has kept since. From the first that accepted on,
        // all must get what it got.
        let mut kept = self.substrate.keep_founding(seen.clone(), false).await?;
        if all_blank && kept != seen && self.sight.founding.as_ref() == Some(&kept) {
            kept = self.substrate.keep_founding(seen.clone(), true).await?;
        }
        for founder in &kept.founders {
            let now = seen.founders.iter().find(|now| now.index == founder.index);
            if now.is_none_or(|now| now.uuid != founder.uuid) {
                return Err(ApplyError::Missing(format!(
                    "{} was chosen to found the cluster with the disk {} and now has {}: the cluster holds no data yet; \
                     remove it and start again",
                    founder.name,
                    founder.uuid,
                    now.map_or("none", |now| now.uuid.as_str())
                )));
            }
        }
        Ok(kept)
    }

    fn founder(&self, index: u32) -> Result<Founder, ApplyError> {
        let (place, peer_address) = self.place(index)?;
        let identity = self.sight.identities.get(&index);
        let sender = identity.and_then(|identity| identity.sender.as_ref()).filter(|sender| !sender.uuid.is_empty());
        let (Some(sender), Some(kv_address)) = (sender, &place.kv_address) else {
            return Err(ApplyError::Missing(format!("{} does not tell the uuid of its disk", place.name)));
        };
        Ok(Founder {
            index,
            uuid: sender.uuid.clone(),
            name: place.name.clone(),
            kv_address: kv_address.clone(),
            peer_address,
            zone: place.domains.zone.clone(),
            machine: place.domains.machine.clone(),
        })
    }

    fn place(&self, index: u32) -> Result<(&Place, String), ApplyError> {
        let place = self.sight.observed.places.iter().find(|place| place.index == index);
        let found = place.and_then(|place| Some((place, place.peer_address.clone()?)));
        found.ok_or_else(|| ApplyError::Missing(format!("the place {index} has no peer address")))
    }

    fn cluster_id(&self) -> Result<String, ApplyError> {
        let id = self.sight.observed.cluster_id.clone();
        id.ok_or_else(|| ApplyError::Missing("the cluster has no id yet".into()))
    }
}

fn bootstrap(cluster_id: String, founding: &Founding) -> BootstrapRequest {
    BootstrapRequest {
        cluster_id,
        founders: (1..).zip(&founding.founders).map(|(node_id, founder)| message(node_id, founder)).collect(),
        replication_factor: founding.replication_factor,
        shard_count: founding.shards,
        feature_level: founding.feature_level,
    }
}

fn message(node_id: u64, founder: &Founder) -> FounderMessage {
    FounderMessage {
        node_id,
        uuid: founder.uuid.clone(),
        name: founder.name.clone(),
        addresses: Some(Addresses { kv: founder.kv_address.clone(), peer: founder.peer_address.clone() }),
        domains: Some(Domains { zone: founder.zone.clone(), machine: founder.machine.clone() }),
    }
}
