//! Whether the node may count as ready: it has joined, and every voter here has caught up once since the start. Once,
//! because a voter that falls behind under load is no reason to take the others out of service.

use std::{collections::BTreeSet, fmt, sync::Arc};

use granary_common::{ReplicaId, ShardId};
use granary_proto::map::ReplicaRole;
use granary_store::Published;
use parking_lot::Mutex;
use thiserror::Error;

/// Why the node is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotReady {
    /// It belongs to no cluster.
    #[error("blank: it waits to be asked to found or join a cluster")]
    Blank,
    /// It was asked to stop.
    #[error("the node is stopping")]
    Stopping,
    /// Voters here wait for what their leaders have.
    #[error("voters here have not caught up since the start: {0}")]
    Behind(Shards),
}

/// Names of shards, the first ones only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards(pub Vec<ShardId>);

impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 8;
        let named: Vec<_> = self.0.iter().take(NAMED).map(ToString::to_string).collect();
        f.write_str(&named.join(", "))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Remembers who has caught up.
#[derive(Default)]
pub struct Readiness {
    caught_up: Mutex<BTreeSet<(ShardId, ReplicaId)>>,
}

impl Readiness {
    /// Looks at the replicas here (`None`: the node belongs to no cluster) and remembers who has caught up.
    ///
    /// # Errors
    /// Why the node is not ready.
    pub fn check(&self, stopping: bool, replicas: Option<&[Arc<Published>]>) -> Result<(), NotReady> {
        let replicas = replicas.ok_or(NotReady::Blank)?;
        let mut caught_up = self.caught_up.lock();
        // Replicas that left are forgotten: the set stays as small as the node's.
        caught_up.retain(|known| replicas.iter().any(|state| (state.shard, state.replica) == *known));
        caught_up.extend(replicas.iter().filter(|state| state.caught_up).map(|state| (state.shard, state.replica)));
        let behind = replicas
            .iter()
            .filter(|state| is_voter(state) && !caught_up.contains(&(state.shard, state.replica)))
            .map(|state| state.shard)
            .collect::<Vec<_>>();
        if stopping {
            Err(NotReady::Stopping)
        } else if behind.is_empty() {
            Ok(())
        } else {
            Err(NotReady::Behind(Shards(behind)))
        }
    }
}

fn is_voter(state: &Published) -> bool {
    let own = state.group.replicas.iter().find(|replica| replica.id == state.replica.0);
    own.is_some_and(|replica| replica.role() == ReplicaRole::Voter)
}

#[cfg(test)]
mod tests {
    use granary_proto::map::{Group, Replica};

    use super::*;

    fn replica(shard: u32, role: ReplicaRole, caught_up: bool) -> Arc<Published> {
        let own = Replica { id: 10 + u64::from(shard), node_id: 1, role: role.into() };
        Arc::new(Published {
            shard: ShardId(shard),
            replica: ReplicaId(own.id),
            group: Group { replicas: vec![own], ..Group::default() },
            caught_up,
            ..Published::default()
        })
    }

    #[test]
    fn a_voter_must_have_caught_up_once_and_then_stays_ready() {
        let readiness = Readiness::default();
        let check = |caught_up| readiness.check(false, Some(&[replica(3, ReplicaRole::Voter, caught_up)]));
        let error = check(false).unwrap_err();
        assert_eq!(error.to_string(), "voters here have not caught up since the start: shard 3");
        assert_eq!(check(true), Ok(()));
        assert_eq!(check(false), Ok(()));
    }

    #[test]
    fn learners_do_not_count_and_another_replica_of_the_shard_starts_anew() {
        let readiness = Readiness::default();
        assert_eq!(readiness.check(false, Some(&[replica(3, ReplicaRole::Learner, false)])), Ok(()));
        assert_eq!(readiness.check(false, Some(&[replica(3, ReplicaRole::Voter, true)])), Ok(()));
        assert_eq!(readiness.check(false, Some(&[])), Ok(()));
        assert!(readiness.check(false, Some(&[replica(3, ReplicaRole::Voter, false)])).is_err());
    }

    #[test]
    fn a_blank_or_stopping_node_is_not_ready() {
        let readiness = Readiness::default();
        assert_eq!(readiness.check(false, None), Err(NotReady::Blank));
        assert_eq!(readiness.check(true, Some(&[])), Err(NotReady::Stopping));
    }
}
