//! One operation: what is sent for it, and what its answer says of the outcome.
//!
//! The data API has no lists and counters: they are registers that are read, and changed if nobody did meanwhile. If a
//! node applied such a change and then said that it did not, it would be done twice, which the counter shows.

use granary_client::{Client, Deleted, Error, Expected as Wanted, Swapped, Value};
use granary_history::{Action, Answer, Change, Expected, Held, Outcome, UNREADABLE};

/// Tries to change a list or counter that others change too.
const TRIES: u32 = 6;

/// Does it.
pub async fn operate(client: &Client, key: &str, action: Action) -> Outcome {
    let key = key.to_owned();
    match action {
        Action::Read => {
            read(client, key).await.map_or_else(of_read, |value| Outcome::Ok(Answer::Held(value.map(held))))
        }
        Action::ReadList => {
            read(client, key).await.map_or_else(of_read, |value| Outcome::Ok(Answer::List(list(&value))))
        }
        Action::ReadCounter => {
            read(client, key).await.map_or_else(of_read, |value| Outcome::Ok(Answer::Count(count(&value))))
        }
        Action::Put { value } => client.put(key, value.to_string()).await.map_or_else(of_write, written),
        Action::Delete => client.delete(key).await.map_or_else(of_write, |Deleted { existed, revision }| {
            Outcome::Ok(Answer::Deleted { existed: Some(existed), revision: Some(revision) })
        }),
        Action::CompareAndSet { expected, change } => {
            let expected = match expected {
                Expected::Absent => Wanted::Absent,
                Expected::Present => Wanted::Present,
                Expected::Value(value) => Wanted::Value(value.to_string().into()),
                Expected::Revision(revision) => Wanted::Revision(revision),
            };
            let change = match change {
                Change::Put(value) => granary_client::Change::Put(value.to_string().into()),
                Change::Delete => granary_client::Change::Delete,
            };
            match client.compare_and_set(key, expected, change).await {
                Ok(Swapped::Done { revision }) => written(revision),
                Ok(Swapped::Refused(now)) => Outcome::Ok(Answer::NotSwapped(now.map(held))),
                Err(error) => of_write(error),
            }
        }
        Action::Append { element } => {
            change(client, key, |value| {
                let mut all = list(value);
                all.push(element);
                let text: Vec<String> = all.iter().map(u64::to_string).collect();
                (text.join(","), Answer::List(all))
            })
            .await
        }
        Action::Add { amount } => {
            change(client, key, |value| {
                let sum = count(value).wrapping_add(amount);
                (sum.to_string(), Answer::Count(sum))
            })
            .await
        }
    }
}

/// Reads, and writes what follows from that, unless somebody wrote meanwhile; then again.
async fn change(client: &Client, key: String, next: impl Fn(&Option<Value>) -> (String, Answer)) -> Outcome {
    for _ in 0..TRIES {
        // Nothing was sent yet that could change anything.
        let Ok(now) = read(client, key.clone()).await else { return Outcome::Failed };
        let (value, answer) = next(&now);
        let expected = now.map_or(Wanted::Absent, |now| Wanted::Revision(now.revision));
        match client.compare_and_set(key.clone(), expected, granary_client::Change::Put(value.into())).await {
            Ok(Swapped::Done { .. }) => return Outcome::Ok(answer),
            Ok(Swapped::Refused(_)) => {}
            Err(error) => return of_write(error),
        }
    }
    Outcome::Failed
}

async fn read(client: &Client, key: String) -> granary_client::Result<Option<Value>> {
    client.get(key).await
}

fn written(revision: u64) -> Outcome {
    Outcome::Ok(Answer::Written(Some(revision)))
}

/// A read without an answer says nothing.
fn of_read(_: Error) -> Outcome {
    Outcome::Failed
}

/// The client promises that a write was not applied, whatever the error, but for one.
fn of_write(error: Error) -> Outcome {
    if matches!(error, Error::OutcomeUnknown { .. }) { Outcome::Unknown } else { Outcome::Failed }
}

fn held(value: Value) -> Held {
    Held { value: number(&value).unwrap_or(UNREADABLE), revision: Some(value.revision) }
}

fn number(value: &Value) -> Option<u64> {
    std::str::from_utf8(&value.value).ok()?.parse().ok()
}

fn count(value: &Option<Value>) -> u64 {
    value.as_ref().map_or(0, |value| number(value).unwrap_or(UNREADABLE))
}

fn list(value: &Option<Value>) -> Vec<u64> {
    let Some(value) = value else { return Vec::new() };
    let text = std::str::from_utf8(&value.value).unwrap_or("unreadable");
    text.split(',').map(|element| element.parse().unwrap_or(UNREADABLE)).collect()
}
