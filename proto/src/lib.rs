//! Wire contracts and stored formats, generated from `proto/proto/*.proto`, and nothing else: no logic, no defaults.
//! The documentation of every message and field is in the `.proto` files and carried over here.
#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]

/// The packages nest as prost's paths between them expect.
mod packages {
    pub mod map {
        pub mod v1 {
            tonic::include_proto!("granary.map.v1");
        }
    }
    pub mod kv {
        pub mod v1 {
            tonic::include_proto!("granary.kv.v1");
        }
    }
    pub mod raft {
        pub mod v1 {
            tonic::include_proto!("granary.raft.v1");
        }
    }
    pub mod admin {
        pub mod v1 {
            tonic::include_proto!("granary.admin.v1");
        }
    }
    pub mod storage {
        pub mod v1 {
            tonic::include_proto!("granary.storage.v1");
        }
    }
}
pub use packages::admin::v1 as admin;
pub use packages::kv::v1 as kv;
pub use packages::map::v1 as map;
pub use packages::raft::v1 as raft;
pub use packages::storage::v1 as storage;

/// All descriptors of this crate, encoded, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
