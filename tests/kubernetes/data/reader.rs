//! A reader that asks for a key of its own again and again, linearizably: does anybody wait for long, or get an error?

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use granary_client::Client;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::failure::{Result, failed};

/// Keys read one after another: more than there are shards, so that most shards are asked.
const KEYS: u64 = 64;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    errors: Mutex<Vec<String>>,
}

/// The running reader.
pub struct Reader {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Stores its keys, then reads one every `pause`.
    pub async fn start(client: Client, pause: Duration) -> Result<Self> {
        for number in 0..KEYS {
            client.put(key(number), number.to_string()).await?;
        }
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(read(client, shared.clone(), pause));
        Ok(Self { shared, task })
    }

    /// Reads answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Ends it, and fails if a read failed after all retries or gave something else than was stored. Gives how many were
    /// answered.
    pub async fn nothing_failed(self) -> Result<u64> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.task.await?;
        let errors = self.shared.errors.lock().clone();
        match (self.shared.answered.load(Ordering::Relaxed), errors.len()) {
            (0, _) => failed("nothing was ever read"),
            (answered, 0) => Ok(answered),
            (_, count) => failed(format!("{count} reads failed, the first: {}", errors[0])),
        }
    }
}

async fn read(client: Client, shared: Arc<Shared>, pause: Duration) {
    for number in (0..KEYS).cycle() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        match client.get(key(number)).await {
            Ok(Some(found)) if found.value == number.to_string().as_bytes() => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(found) => shared.errors.lock().push(format!("{} holds {found:?}", key(number))),
            Err(error) => shared.errors.lock().push(error.to_string()),
        }
        tokio::time::sleep(pause).await;
    }
}

fn key(number: u64) -> String {
    format!("reader/{number}")
}
