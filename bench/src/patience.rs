//! Waiting for a condition, with an end.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{BenchError, Result};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until `look` is content, for at most `limit`.
///
/// # Errors
/// It is not in time; the last words of `look` say why.
pub async fn until<F, A, T>(what: &str, limit: Duration, look: F) -> Result<T>
where
    F: Fn() -> A,
    A: Future<Output = std::result::Result<T, String>>,
{
    let end = Instant::now() + limit;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(why) if Instant::now() > end => {
                return Err(BenchError(format!("not within {} s: {what}: {why}", limit.as_secs())));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}
