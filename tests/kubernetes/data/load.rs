//! Stores a given number of megabytes that do not compress, and reads all of it back.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use granary_client::Client;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::failure::{Failure, Result};

/// Bytes of each value.
const VALUE: usize = 32 * 1024;
/// Requests in flight.
const AT_ONCE: usize = 32;

/// What was stored.
pub struct Load {
    keys: u64,
}

impl Load {
    /// Stores `megabytes` (of 1,000,000 bytes) under keys of its own.
    pub async fn store(client: &Client, megabytes: u64) -> Result<Self> {
        let keys = (megabytes * 1_000_000).div_ceil(VALUE as u64);
        let puts = stream::iter(0..keys).map(|number| client.put(key(number), value(number)));
        puts.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        Ok(Self { keys })
    }

    /// Reads every key linearizably and compares; gives how many keys there are.
    pub async fn verify(&self, client: &Client) -> Result<u64> {
        let gets = stream::iter(0..self.keys).map(|number| async move {
            let found = client.get(key(number)).await?.map(|found| found.value);
            match found == Some(value(number)) {
                true => Ok(()),
                false => Err(Failure(format!(
                    "{:?} holds {:?} bytes, not what was stored",
                    key(number),
                    found.map(|value| value.len())
                ))),
            }
        });
        gets.buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
        Ok(self.keys)
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("load/{number}"))
}

/// The same for the same number, and nothing that compresses.
fn value(number: u64) -> Bytes {
    let mut bytes = vec![0; VALUE];
    SmallRng::seed_from_u64(number).fill_bytes(&mut bytes);
    Bytes::from(bytes)
}
