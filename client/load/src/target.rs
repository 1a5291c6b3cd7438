//! What is driven.

use bytes::Bytes;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make a key hold a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Read a key, linearizably.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Make keys hold a value each; not as one transaction.
    Batch {
        /// The keys, each once, and the value of each.
        rows: Vec<(Bytes, Bytes)>,
    },
    /// Read rows from a key on, in the order in which the system has them.
    Scan {
        /// First key.
        from: Bytes,
        /// Most rows.
        rows: u32,
    },
}

/// A system that takes requests. A clone asks over the same connections.
pub trait Target: Clone + Send + Sync + 'static {
    /// Asks, and waits for the answer. Gives how many keys were written or read.
    ///
    /// # Errors
    /// What is counted under these words.
    fn ask(&self, op: Op) -> impl Future<Output = Result<u64, String>> + Send;
}
