//! Whether a request is one that can be served at all, as the wire gives it. Looks at nothing but the request.

use granary_common::{
    SLOTS,
    limits::{MAX_BATCH, MAX_BATCH_OPERATIONS, MAX_KEY, MAX_PAGE_ROWS, MAX_RETRY_AGE_MS, MAX_UNANSWERED, MAX_VALUE},
    slot_of,
};
use granary_proto::kv::{
    BatchRequest, CompareAndSetRequest, Consistency, DeleteRangeRequest, DeleteRequest, GetRequest, Guard, PutRequest,
    Reason, Retry, ScanOrder, ScanRequest, TxnRequest, Write, compare_and_set_request, consistency, guard, write,
};

use super::refusal::Invalid;

/// Longest bound of a stale read: a day, in ms.
const MAX_STALENESS_MS: u64 = 86_400_000;

/// Checks a read of one key.
pub fn validate_get(request: &GetRequest) -> Result<(), Invalid> {
    key("key", &request.key)?;
    consistency(request.consistency.as_ref())
}

/// Checks a put.
pub fn validate_put(request: &PutRequest) -> Result<(), Invalid> {
    key("key", &request.key)?;
    value("value", &request.value)?;
    retry(request.retry.as_ref())
}

/// Checks a delete.
pub fn validate_delete(request: &DeleteRequest) -> Result<(), Invalid> {
    key("key", &request.key)?;
    retry(request.retry.as_ref())
}

/// Checks a compare-and-set.
pub fn validate_compare_and_set(request: &CompareAndSetRequest) -> Result<(), Invalid> {
    let expected = request.expected.as_ref().ok_or_else(|| Invalid::new("expected", "is not set; it names the key"))?;
    condition("expected", expected)?;
    match &request.change {
        Some(compare_and_set_request::Change::Value(bytes)) => value("value", bytes)?,
        Some(compare_and_set_request::Change::Delete(true)) => {}
        Some(compare_and_set_request::Change::Delete(false)) => return Err(must_be_true("delete")),
        None => return Err(Invalid::new("change", "is not set; give a value, or delete = true")),
    }
    retry(request.retry.as_ref())
}

/// Checks a batch as a whole; its keys may belong to several shards.
pub fn validate_batch(request: &BatchRequest) -> Result<(), Invalid> {
    if request.writes.is_empty() {
        return Err(Invalid::new("writes", format!("is empty; 1 to {MAX_BATCH_OPERATIONS} are allowed")));
    }
    let bytes = writes(&request.writes)?;
    total("writes", bytes)?;
    retry(request.retry.as_ref())
}

/// Checks a transaction.
pub fn validate_txn(request: &TxnRequest) -> Result<(), Invalid> {
    if request.guards.is_empty() && request.writes.is_empty() {
        return Err(Invalid::new("writes", "is empty, and so is guards; a transaction needs one of them"));
    }
    count("guards", request.guards.len())?;
    let mut bytes = 0;
    for (index, guard) in request.guards.iter().enumerate() {
        bytes += condition(&format!("guards[{index}]"), guard)?;
    }
    bytes += writes(&request.writes)?;
    total("guards and writes", bytes)?;
    one_slot(request)?;
    retry(request.retry.as_ref())
}

/// Checks the deletion of a range.
pub fn validate_delete_range(request: &DeleteRangeRequest) -> Result<(), Invalid> {
    bounds(&request.start, &request.end)?;
    tag(&request.tag)?;
    retry(request.retry.as_ref())
}

/// Checks a scan.
pub fn validate_scan(request: &ScanRequest) -> Result<(), Invalid> {
    bounds(&request.start, &request.end)?;
    tag(&request.tag)?;
    if let Some(cursor) = &request.cursor {
        if cursor.slot >= u32::from(SLOTS) {
            return Err(Invalid::new("cursor.slot", format!("is {}; 0 to {} are allowed", cursor.slot, SLOTS - 1)));
        }
        key("cursor.key", &cursor.key)?;
    }
    if request.page_rows > MAX_PAGE_ROWS {
        let message = format!("is {}; 1 to {MAX_PAGE_ROWS} are allowed, and 0 for the default", request.page_rows);
        return Err(Invalid::new("page_rows", message));
    }
    if ScanOrder::try_from(request.order).is_err() {
        let message = format!("is {}; 0 (slot order) and 1 (key order) are allowed", request.order);
        return Err(Invalid::new("order", message));
    }
    consistency(request.consistency.as_ref())
}

fn key(field: &str, key: &[u8]) -> Result<(), Invalid> {
    match key.len() {
        0 => Err(Invalid::new(field, format!("is empty; 1 to {MAX_KEY} bytes are allowed"))),
        length if length > MAX_KEY => Err(too_long(field, length, 1, MAX_KEY)),
        _ => Ok(()),
    }
}

fn value(field: &str, value: &[u8]) -> Result<(), Invalid> {
    if value.len() > MAX_VALUE { Err(too_long(field, value.len(), 0, MAX_VALUE)) } else { Ok(()) }
}

fn too_long(field: &str, length: usize, least: usize, most: usize) -> Invalid {
    Invalid::new(field, format!("has {length} bytes; {least} to {most} are allowed"))
}

fn must_be_true(field: &str) -> Invalid {
    Invalid::new(field, "is false; only true is allowed when it is set")
}

/// Bytes of the guard's key and value.
fn condition(field: &str, guard: &Guard) -> Result<usize, Invalid> {
    key(&format!("{field}.key"), &guard.key)?;
    let value_bytes = match &guard.condition {
        Some(guard::Condition::Value(bytes)) => {
            value(&format!("{field}.value"), bytes)?;
            bytes.len()
        }
        Some(guard::Condition::Revision(0)) => {
            return Err(Invalid::new(format!("{field}.revision"), "is 0; revisions count from 1 (use absent = true)"));
        }
        Some(guard::Condition::Absent(false)) => return Err(must_be_true(&format!("{field}.absent"))),
        Some(guard::Condition::Present(false)) => return Err(must_be_true(&format!("{field}.present"))),
        Some(guard::Condition::Revision(_) | guard::Condition::Absent(true) | guard::Condition::Present(true)) => 0,
        None => {
            let message = "is not set; absent, present, value and revision are allowed";
            return Err(Invalid::new(format!("{field}.condition"), message));
        }
    };
    Ok(guard.key.len() + value_bytes)
}

/// Bytes of all keys and values.
fn writes(writes: &[Write]) -> Result<usize, Invalid> {
    count("writes", writes.len())?;
    let mut bytes = 0;
    for (index, write) in writes.iter().enumerate() {
        let field = |name: &str| format!("writes[{index}].{name}");
        key(&field("key"), &write.key)?;
        bytes += write.key.len();
        match &write.change {
            Some(write::Change::Value(new)) => {
                value(&field("value"), new)?;
                bytes += new.len();
            }
            Some(write::Change::Delete(true)) => {}
            Some(write::Change::Delete(false)) => return Err(must_be_true(&field("delete"))),
            None => return Err(Invalid::new(field("change"), "is not set; give a value, or delete = true")),
        }
    }
    Ok(bytes)
}

fn count(field: &str, found: usize) -> Result<(), Invalid> {
    if found > MAX_BATCH_OPERATIONS {
        return Err(Invalid::new(field, format!("has {found} items; up to {MAX_BATCH_OPERATIONS} are allowed")));
    }
    Ok(())
}

fn total(field: &str, bytes: usize) -> Result<(), Invalid> {
    if bytes > MAX_BATCH {
        let message = format!("have {bytes} bytes of keys and values together; up to {MAX_BATCH} are allowed");
        return Err(Invalid::new(field, message));
    }
    Ok(())
}

fn one_slot(request: &TxnRequest) -> Result<(), Invalid> {
    let guards = request.guards.iter().enumerate().map(|(index, guard)| (format!("guards[{index}].key"), &guard.key));
    let writes = request.writes.iter().enumerate().map(|(index, write)| (format!("writes[{index}].key"), &write.key));
    let mut keys = guards.chain(writes).map(|(field, key)| (field, slot_of(key)));
    let Some((first_field, first)) = keys.next() else { return Ok(()) };
    match keys.find(|(_, slot)| *slot != first) {
        Some((field, slot)) => {
            let message = format!(
                "is in slot {slot}, but {first_field} is in slot {first}; all keys of a transaction must share a slot \
                 (give them the same {{tag}})"
            );
            Err(Invalid::new(field, message))
        }
        None => Ok(()),
    }
}

fn bounds(start: &[u8], end: &[u8]) -> Result<(), Invalid> {
    for (field, bound) in [("start", start), ("end", end)] {
        if bound.len() > MAX_KEY {
            return Err(too_long(field, bound.len(), 0, MAX_KEY));
        }
    }
    if !end.is_empty() && start > end {
        return Err(Invalid::new("end", "is before start; it must not be (empty means no bound)"));
    }
    Ok(())
}

fn tag(tag: &[u8]) -> Result<(), Invalid> {
    if tag.len() > MAX_KEY - 2 {
        return Err(too_long("tag", tag.len(), 0, MAX_KEY - 2));
    }
    if tag.iter().any(|byte| matches!(byte, b'{' | b'}')) {
        return Err(Invalid::new("tag", "holds a brace; give what stands between the braces of the keys"));
    }
    Ok(())
}

fn consistency(consistency: Option<&Consistency>) -> Result<(), Invalid> {
    match consistency.and_then(|consistency| consistency.kind.as_ref()) {
        Some(consistency::Kind::Stale(stale)) if !(1..=MAX_STALENESS_MS).contains(&stale.max_staleness_ms) => {
            let message = format!("is {}; 1 to {MAX_STALENESS_MS} ms are allowed", stale.max_staleness_ms);
            Err(Invalid::new("consistency.stale.max_staleness_ms", message))
        }
        Some(consistency::Kind::Stale(_) | consistency::Kind::Linearizable(_)) | None => Ok(()),
    }
}

fn retry(retry: Option<&Retry>) -> Result<(), Invalid> {
    let Some(retry) = retry else { return Ok(()) };
    let Retry { client_id, sequence, answered_below, age_ms } = *retry;
    if client_id == 0 {
        return Err(Invalid::new("retry.client_id", "is 0; choose a random number once per client"));
    }
    if sequence == 0 {
        return Err(Invalid::new("retry.sequence", "is 0; numbers of writes count from 1"));
    }
    if !(1..=sequence).contains(&answered_below) {
        let message = format!("is {answered_below}; 1 to {sequence} (retry.sequence) are allowed");
        return Err(Invalid::new("retry.answered_below", message));
    }
    if sequence - answered_below >= MAX_UNANSWERED {
        let message = format!(
            "is {answered_below}, {} below retry.sequence ({sequence}); a client holds at most {MAX_UNANSWERED} \
             unanswered writes a shard: wait for answers",
            sequence - answered_below
        );
        return Err(Invalid::new("retry.answered_below", message));
    }
    if age_ms >= MAX_RETRY_AGE_MS {
        let message = format!(
            "is {age_ms}; below {MAX_RETRY_AGE_MS} ms are allowed. Whether the first try was applied is not known any \
             more: read the key"
        );
        return Err(Invalid { field: "retry.age_ms".into(), message, reason: Reason::OutcomeUnknown });
    }
    Ok(())
}
