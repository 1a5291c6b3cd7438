//! What was measured.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of all requests that succeeded, in microseconds, to three digits.
    pub latencies: Histogram<u64>,
    /// Keys written or read by them.
    pub keys: u64,
    /// From the end of the warm-up to the last answer.
    pub seconds: f64,
    /// How often requests failed, by what was said.
    pub errors: BTreeMap<String, u64>,
    /// Requests that were due, by the rate, and that no client was free for.
    pub unsent: u64,
}

impl Outcome {
    /// Requests a second that succeeded.
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// Keys a second.
    pub fn keys_per_second(&self) -> f64 {
        self.keys as f64 / self.seconds
    }

    /// Latency in microseconds that this part of the requests did not exceed; `quantile` from 0 to 1.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.latencies.value_at_quantile(quantile)
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}
