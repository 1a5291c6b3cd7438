//! What has to be written so that a stored status becomes the wanted one, and how urgent that is. Pure.

use std::time::Duration;

use granary_crds::StorageClusterStatus;
use serde_json::{Map, Value};

/// Shortest time between two writes.
pub const AT_MOST: Duration = Duration::from_millis(500);
/// Between two writes that only tell how far something is.
pub const PROGRESS: Duration = Duration::from_secs(5);
/// A write is due after so long even if nothing changed: `observedTime` tells readers that somebody looks.
pub const IDLE: Duration = Duration::from_secs(60);

/// When a status is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// A fact has changed, and the last write was just now: in a moment.
    Soon,
    /// Not for what is known.
    Not,
}

/// When to write `wanted`, when `stored` is what the API server has and the last write was so long ago (`None`: never by
/// this process).
pub fn due(stored: Option<&StorageClusterStatus>, wanted: &StorageClusterStatus, since: Option<Duration>) -> Due {
    let passed = |least| since.is_none_or(|since| since >= least);
    let Some(stored) = stored else { return Due::Now };
    let (rate, otherwise) = if facts(stored) != facts(wanted) {
        (AT_MOST, Due::Soon)
    } else if progress(stored) != progress(wanted) {
        (PROGRESS, Due::Not)
    } else {
        (IDLE, Due::Not)
    };
    if passed(rate) { Due::Now } else { otherwise }
}

/// What changes only when something happened: without sizes and times, and lines without their numbers.
fn facts(status: &StorageClusterStatus) -> Value {
    let mut status = status.clone();
    status.migration = None;
    let lines = status.plan.iter_mut().chain(&mut status.waiting);
    for line in lines.chain(status.conditions.iter_mut().map(|condition| &mut condition.message)) {
        line.retain(|c| !c.is_ascii_digit());
    }
    progress(&status)
}

/// All but what changes in an idle cluster too.
fn progress(status: &StorageClusterStatus) -> Value {
    value(&StorageClusterStatus { observed_time: None, bytes_stored: None, ..status.clone() })
}

/// The JSON merge patch (RFC 7386) that turns one status into the other. Where there is none yet, all of it: fields that
/// are required are there also when they are zero.
pub fn merge_patch(stored: Option<&StorageClusterStatus>, wanted: &StorageClusterStatus) -> Value {
    stored.map_or_else(|| value(wanted), |stored| between(&value(stored), &value(wanted)))
}

/// As JSON; fields that are not set are not there.
fn value(status: &StorageClusterStatus) -> Value {
    // A status holds nothing that JSON cannot.
    let mut value = serde_json::to_value(status).unwrap_or_default();
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(strip);
    }
}

fn between(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter(|(key, value)| from.get(*key) != Some(value)).map(|(key, value)| {
        let before = from.get(key).unwrap_or(&Value::Null);
        (key.clone(), between(before, value))
    });
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use granary_crds::status::Migration;
    use serde_json::json;

    use super::*;

    fn status(waiting: &str, time: &str) -> StorageClusterStatus {
        StorageClusterStatus {
            observed_generation: Some(1),
            waiting: vec![waiting.to_owned()],
            observed_time: Some(time.to_owned()),
            ..StorageClusterStatus::default()
        }
    }

    fn after(stored: &StorageClusterStatus, wanted: &StorageClusterStatus, since_ms: u64) -> Due {
        due(Some(stored), wanted, Some(Duration::from_millis(since_ms)))
    }

    #[test]
    fn a_changed_fact_is_written_at_once_but_not_more_than_twice_a_second() {
        let (stored, wanted) = (status("a", "1"), status("b", "2"));
        assert_eq!(due(Some(&stored), &wanted, None), Due::Now);
        assert_eq!(due(None, &wanted, Some(Duration::ZERO)), Due::Now);
        assert_eq!(after(&stored, &wanted, 499), Due::Soon);
        assert_eq!(after(&stored, &wanted, 500), Due::Now);
    }

    #[test]
    fn numbers_that_move_are_written_every_five_seconds() {
        let (stored, mut wanted) = (status("silent for 1 s", "1"), status("silent for 2 s", "2"));
        assert_eq!(after(&stored, &wanted, 4_999), Due::Not);
        assert_eq!(after(&stored, &wanted, 5_000), Due::Now);
        wanted = stored.clone();
        wanted.migration = Some(Migration { moves_left: 3, ..Migration::default() });
        assert_eq!(after(&stored, &wanted, 4_999), Due::Not);
        assert_eq!(after(&stored, &wanted, 5_000), Due::Now);
    }

    #[test]
    fn an_idle_cluster_is_written_once_a_minute() {
        let (stored, mut wanted) = (status("a", "1"), status("a", "2"));
        wanted.bytes_stored = Some(7);
        assert_eq!(after(&stored, &wanted, 59_999), Due::Not);
        assert_eq!(after(&stored, &wanted, 60_000), Due::Now);
    }

    #[test]
    fn a_patch_holds_what_differs_and_removes_what_shall_not_be_there() {
        let mut stored = status("a", "1");
        stored.waiting_reason = Some("Moving".into());
        stored.migration =
            Some(Migration { moves_left: 2, bytes_left: 9, bytes_per_second: Some(1), seconds_left: None });
        let mut wanted = status("a", "2");
        wanted.migration = Some(Migration { moves_left: 1, bytes_left: 9, bytes_per_second: None, seconds_left: None });
        let patch = json!({
            "observedTime": "2",
            "waitingReason": null,
            "migration": { "movesLeft": 1, "bytesPerSecond": null },
        });
        assert_eq!(merge_patch(Some(&stored), &wanted), patch);
        assert_eq!(merge_patch(Some(&wanted), &wanted), json!({}));
        assert_eq!(merge_patch(None, &StorageClusterStatus::default())["shards"], 0);
    }
}
