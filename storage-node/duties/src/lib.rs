//! What a storage node decides beside Raft and its state machines: pure functions of what was heard, what is on the disk
//! and the time. The node's drivers and services do the IO around them, and so does the simulation: both run this code.
//!
//! - [`view`], [`guard`], [`news`], [`leaders`]: the leader of the meta shard.
//! - [`replicas`], [`restart`]: which replicas live here, and where each stands after a start. [`states`]: what entries make
//!   of them.
//! - [`admission`]: who is let in. [`reporting`]: whom to report to, and whose report counts. [`map`]: which map is newer.
//! - [`compare`]: which replica holds wrong rows.
//! - [`lease`]: when a read may be answered by a lease. [`away`]: when leaders shall leave this node.
//! - [`watchdog`]: what a node does about itself when something in it stands still; [`standing`], [`disk`]: how that is seen.
//!
//! It must not know RocksDB, gRPC, threads, or read a clock.

pub mod admission;
pub mod away;
pub mod compare;
pub mod disk;
pub mod guard;
pub mod leaders;
pub mod lease;
pub mod map;
pub mod news;
pub mod replicas;
pub mod reporting;
pub mod restart;
pub mod standing;
pub mod states;
pub mod testing;
pub mod view;
pub mod watchdog;
