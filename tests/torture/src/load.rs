//! Load beside the checked clients: larger values, so that logs are cut and whoever was away needs a snapshot.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use granary_client::{Client, Write};
use tokio::task::JoinHandle;

/// Bytes of a value.
const VALUE: usize = 16 << 10;
/// Keys in all.
const KEYS: u64 = 1_024;
/// Writes of a batch.
const BATCH: u64 = 16;
/// Between two batches.
const PAUSE: Duration = Duration::from_millis(250);

/// Writes until `stop`: about 1 MiB a second at most.
pub fn start(client: &Client, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let client = client.with_timeout(Duration::from_secs(5));
    tokio::spawn(async move {
        let mut number = 0u64;
        while !stop.load(Ordering::Relaxed) {
            let writes = (0..BATCH).map(|_| {
                number += 1;
                // Not the same bytes again and again: tables are compressed.
                let mut seed = number;
                let value: Bytes = std::iter::repeat_with(|| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 56) as u8
                })
                .take(VALUE)
                .collect();
                Write::put(format!("load/{}", number % KEYS), value)
            });
            // What fails is no matter: nothing is said of these keys.
            let _ = client.batch(writes.collect()).await;
            tokio::time::sleep(PAUSE).await;
        }
    })
}
