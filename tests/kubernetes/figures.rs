//! What a scenario measured, by name. Names end with their unit: `_s`, `_ms`, `_mb`, `_bytes`.

use std::time::Duration;

use serde_json::{Map, Value};

/// Figures in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Figures(pub Map<String, Value>);

impl Figures {
    pub fn new() -> Self {
        Self::default()
    }

    /// Any value.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Seconds, to the hundredth. The name ends with `_s`.
    pub fn seconds(&mut self, name: &str, time: Duration) {
        self.put(name, (time.as_secs_f64() * 100.0).round() / 100.0);
    }

    /// Whole milliseconds. The name ends with `_ms`.
    pub fn millis(&mut self, name: &str, time: Duration) {
        self.put(name, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// One line of all.
    pub fn line(&self) -> String {
        let parts = self.0.iter().map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        });
        parts.collect::<Vec<_>>().join(" ")
    }
}

/// How often what is measured is done: GRANARY_KUBERNETES_RUNS, 1 to 9, or 3.
pub fn runs() -> usize {
    let wanted = std::env::var("GRANARY_KUBERNETES_RUNS").ok().and_then(|runs| runs.parse().ok());
    wanted.filter(|runs| (1..=9).contains(runs)).unwrap_or(3)
}

/// The middle one of an odd number of times.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
