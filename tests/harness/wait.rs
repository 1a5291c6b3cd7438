//! Waiting for a condition, never for a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::{HarnessError, Result};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Asks until the answer is `Ok`, and gives it; the last refusal goes into the error when `limit` passes.
pub async fn until<T, F, A>(what: &str, limit: Duration, mut ask: F) -> Result<T>
where
    F: FnMut() -> A,
    A: Future<Output = std::result::Result<T, String>>,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(refusal) if started.elapsed() >= limit => {
                return Err(HarnessError(format!("{what}: not within {} s; last: {refusal}", limit.as_secs())));
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
