//! Writes until the cluster takes no more, and remembers what was acknowledged.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use granary_client::{Client, Error};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::failure::{Failure, Result, failed};

/// Bytes of each value.
const VALUE: usize = 32 * 1024;
/// Requests in flight.
const AT_ONCE: u64 = 16;

/// What was acknowledged.
#[derive(Default)]
pub struct Filled {
    acknowledged: Vec<u64>,
    next: u64,
}

impl Filled {
    /// Writes until all writes of a round are refused for lack of room. May be called again: a node that is full gives
    /// back what its log no longer needs, and then takes writes again.
    pub async fn until_refused(&mut self, client: &Client, limit: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let numbers = self.next..self.next + AT_ONCE;
            self.next = numbers.end;
            let puts = numbers.map(|number| async move { (number, client.put(key(number), value(number)).await) });
            let (mut refused, mut other) = (0, None);
            for (number, outcome) in join_all(puts).await {
                match outcome {
                    Ok(_) => self.acknowledged.push(number),
                    Err(Error::ReadOnly { .. }) => refused += 1,
                    // Not acknowledged, so it may be there or not.
                    Err(error) => other = Some(error.to_string()),
                }
            }
            if refused == AT_ONCE {
                return Ok(());
            }
            if started.elapsed() > limit {
                let writes = self.acknowledged.len();
                return failed(format!("{writes} writes, and it is not full; last error: {other:?}"));
            }
        }
    }

    /// Megabytes (of 1,000,000 bytes) that were acknowledged.
    pub fn megabytes(&self) -> u64 {
        (self.acknowledged.len() * VALUE) as u64 / 1_000_000
    }

    /// Reads all of it linearizably and compares; gives how many keys there are.
    pub async fn verify(&self, client: &Client) -> Result<usize> {
        for numbers in self.acknowledged.chunks(AT_ONCE as usize) {
            let gets = numbers.iter().map(|number| async move { (*number, client.get(key(*number)).await) });
            for (number, found) in join_all(gets).await {
                if found?.is_none_or(|found| found.value != value(number)) {
                    return Err(Failure(format!("{:?} does not hold what was acknowledged", key(number))));
                }
            }
        }
        Ok(self.acknowledged.len())
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("fill/{number}"))
}

/// The same for the same number, and nothing that compresses.
fn value(number: u64) -> Bytes {
    let mut bytes = vec![0; VALUE];
    SmallRng::seed_from_u64(number).fill_bytes(&mut bytes);
    Bytes::from(bytes)
}
