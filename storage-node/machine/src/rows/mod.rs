//! How the rows of the RocksDB instance `data/` are named and encoded. Knows nothing of what they mean.
//!
//! The first byte of a row's key is its kind; numbers are big endian, so that rows sort by them:
//!
//! | kind | key behind it | value |
//! |---|---|---|
//! | 0x01 the store's own | name | the engine's business |
//! | 0x10 data | slot u16, key | format 1, revision u64, value |
//! | 0x20 shard | shard u32 | `ShardState` |
//! | 0x21 answer | shard u32, client u64, sequence u64 | `Answer` |
//! | 0x22 client | shard u32, client u64 | `ClientRow` |
//! | 0x30 installing | shard u32 | the engine's business |
//! | 0x40 meta | nothing | `MetaState` |
//!
//! Data rows do not name their shard, so that a split moves none of them.

mod keys;
mod values;

pub use keys::{
    KeyRange, Kind, after, answer_key, answers_range, client_answers_range, client_key, clients_range, data_key,
    data_key_in, data_range, decode_answer_key, decode_client_key, decode_data_key, decode_shard_key, installing_key,
    installing_range, meta_key, shard_key, shards_range, store_key,
};
pub use values::{DataRow, decode_message, encode_data};

/// A row is not what this build can read. It stops the node: it is never skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The first byte of a key names no kind, or the key is empty.
    #[error("a row of unknown kind {found:?} (key of {length} bytes): written by a newer version, or damaged")]
    UnknownKind {
        /// First byte of the key.
        found: Option<u8>,
        /// Length of the key.
        length: usize,
    },
    /// A key is of another kind than asked, or not of that kind's length.
    #[error("a key of {length} bytes is not a key of a {kind:?} row")]
    BadKey {
        /// Kind that it should be.
        kind: Kind,
        /// Length of the key.
        length: usize,
    },
    /// The value of a data row is of an unknown format, or too short.
    #[error("a data row of unknown format {found:?} ({length} bytes): written by a newer version, or damaged")]
    UnknownFormat {
        /// First byte of the value.
        found: Option<u8>,
        /// Length of the value.
        length: usize,
    },
    /// The value is not the message that belongs there.
    #[error("the value of a {kind:?} row cannot be decoded")]
    BadValue {
        /// Kind of the row.
        kind: Kind,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
}
