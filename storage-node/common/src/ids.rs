//! Ids. Each is a type of its own, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, " {}"), self.0)
            }
        }

        impl From<$inner> for $name {
            fn from(id: $inner) -> Self {
                Self(id)
            }
        }
    };
}

id!(
    /// One storage node: handed out by the meta shard from 1 up, never twice. 0 means none.
    NodeId(u64), "node"
);
id!(
    /// One shard. 0 is the meta shard; data shards count from 1.
    ShardId(u32), "shard"
);
id!(
    /// One copy of a shard on one node, and its id in Raft: handed out by the meta shard from 1 up over the whole
    /// cluster, never twice, so that a copy that was removed and added again cannot vote twice (HAZARDS H2). 0: none.
    ReplicaId(u64), "replica"
);

/// The group that holds the cluster map.
pub const META_SHARD: ShardId = ShardId(0);
