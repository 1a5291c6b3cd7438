//! How a client behaves.

use std::time::Duration;

/// How a client behaves. The default suits most.
#[derive(Clone, Debug)]
pub struct Options {
    /// Longest time for a call with all its retries: 1 ms to 10 minutes (values outside are moved to the nearer bound),
    /// 10 s by default. At most 10 minutes, because the cluster forgets the answers of writes that are older.
    pub timeout: Duration,
    /// Longest time for a connection to a node: 1 s by default.
    pub connect_timeout: Duration,
    /// A node that says nothing at all for this long while requests wait is given up, and the requests go elsewhere: 400 ms by
    /// default. One that lives and is slow says so every 100 ms. Doubled for a request each time it happens to it.
    pub patience: Duration,
    /// Most requests in flight to one node: 4,096 by default. The node may allow fewer. Further ones wait.
    pub max_requests_in_flight: usize,
    /// Most bytes of requests in flight to one node: 64 MiB by default. The node may allow fewer.
    pub max_bytes_in_flight: u64,
    /// Speak only to the given addresses, whose nodes pass each request on to its leader, one hop: for a client that cannot
    /// reach the nodes themselves, as behind `kubectl port-forward`. Costs a hop a request. Off by default.
    pub forward: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            patience: Duration::from_millis(400),
            max_requests_in_flight: 4096,
            max_bytes_in_flight: 64 * 1024 * 1024,
            forward: false,
        }
    }
}

/// `timeout` within its bounds.
pub(crate) fn bounded(timeout: Duration) -> Duration {
    timeout.clamp(Duration::from_millis(1), Duration::from_millis(granary_common::limits::MAX_RETRY_AGE_MS))
}
