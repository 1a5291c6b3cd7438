//! What is to be measured.

use std::time::Duration;

use crate::Distribution;

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Puts of one key.
    Put,
    /// Gets of one key.
    Get,
    /// Half puts, half gets.
    Mixed,
    /// Puts of many keys at once.
    Batch,
    /// Rows in order.
    Scan,
}

/// What is to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What clients ask for.
    pub kind: Kind,
    /// Clients, each with one request in flight; from 1 up.
    pub clients: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Number of keys, from 1 up.
    pub keys: u32,
    /// Which of them are asked for how often.
    pub distribution: Distribution,
    /// Keys of one batch, from 1 up.
    pub batch: u32,
    /// Rows of one scan, from 1 up.
    pub rows: u32,
    /// Requests a second of all clients together. Without it, each client asks again as soon as it has its answer.
    pub rate: Option<u32>,
    /// How long nothing is counted at first.
    pub warm_up: Duration,
    /// How long is measured behind that.
    pub time: Duration,
}
