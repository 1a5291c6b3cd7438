//! What nodes use while nobody asks for anything.

use std::time::Duration;

use crate::{error::Result, system::System, usage::Usage};

/// Of one member, on average.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Percent of one core.
    pub cpu_percent: f64,
    /// MiB that only it holds.
    pub memory_mib: f64,
}

/// Looks on for `time`, behind `settle` in which a new cluster comes to rest.
///
/// # Errors
/// A member is gone.
pub async fn idle<S: System>(system: &S, settle: Duration, time: Duration) -> Result<Idle> {
    tokio::time::sleep(settle).await;
    let pids: Vec<u32> = system.members()?.iter().map(|member| member.pid).collect();
    let before = Usage::of(&pids)?;
    tokio::time::sleep(time).await;
    let used = Usage::of(&pids)?.since(before);
    let members = pids.len().max(1) as f64;
    Ok(Idle {
        cpu_percent: 100.0 * used.cpu_seconds / time.as_secs_f64() / members,
        memory_mib: used.memory_bytes / members / f64::from(1 << 20),
    })
}
