//! The machine of the meta shard.
