//! One try of a request at one node, and what is known behind it.

use std::{sync::Arc, time::Duration};

use granary_proto::kv::{pipe_request::Request, pipe_response::Response};
use tokio::time::{Instant, timeout_at};

use crate::{
    link::{DIAL_PATIENCE, Link},
    pipe::Pipe,
};

/// How a try ended.
#[derive(Debug)]
pub(crate) enum Tried {
    /// With an answer.
    Answered(Response),
    /// The request did not reach the node.
    NotSent(String),
    /// The request may have reached the node.
    Lost(String),
    /// The node said nothing at all for the caller's patience. The request may have reached it.
    Silent(String),
    /// The deadline passed; whether the request may have reached the node.
    OutOfTime {
        /// Whether it may have.
        sent: bool,
    },
}

/// Sends `request` over `link`, and waits for the answer until `deadline`, or until the node has been silent for
/// `patience`.
pub(crate) async fn attempt(link: &Arc<Link>, request: Request, deadline: Instant, patience: Duration) -> Tried {
    let pipe = match timeout_at(deadline, link.pipe(DIAL_PATIENCE)).await {
        Ok(Ok(pipe)) => pipe,
        Ok(Err(cause)) => return Tried::NotSent(cause),
        Err(_) => return Tried::OutOfTime { sent: false },
    };
    let timeout_ms = u32::try_from(deadline.saturating_duration_since(Instant::now()).as_millis());
    let submit = pipe.submit(request, timeout_ms.unwrap_or(u32::MAX).clamp(1, 600_000));
    let mut answer = match within(link, &pipe, submit, deadline, patience).await {
        Waited::Ended(Ok(answer)) => answer,
        Waited::Ended(Err(broken)) => return Tried::NotSent(broken.cause.to_string()),
        Waited::Silent(cause) => return Tried::NotSent(cause),
        Waited::OutOfTime => return Tried::OutOfTime { sent: false },
    };
    match within(link, &pipe, &mut answer, deadline, patience).await {
        Waited::Ended(Ok(Ok(response))) => Tried::Answered(response),
        Waited::Ended(Ok(Err(broken))) if broken.sent => Tried::Lost(broken.cause.to_string()),
        Waited::Ended(Ok(Err(broken))) => Tried::NotSent(broken.cause.to_string()),
        Waited::Ended(Err(_)) => Tried::NotSent(pipe.never_sent().cause.to_string()),
        Waited::Silent(cause) => Tried::Silent(cause),
        Waited::OutOfTime => Tried::OutOfTime { sent: true },
    }
}

enum Waited<T> {
    Ended(T),
    Silent(String),
    OutOfTime,
}

/// Waits for `future`. Gives the whole stream up when nothing at all came over it for `patience`: also for a node that
/// stopped reading, whose callers wait for room, it is the silence that counts.
async fn within<F: Future>(
    link: &Link,
    pipe: &Pipe,
    future: F,
    deadline: Instant,
    patience: Duration,
) -> Waited<F::Output> {
    tokio::pin!(future);
    loop {
        let limit = (Instant::now() + patience).min(deadline);
        match timeout_at(limit, &mut future).await {
            Ok(output) => return Waited::Ended(output),
            Err(_) if Instant::now() >= deadline => return Waited::OutOfTime,
            Err(_) if pipe.silent_for() >= patience => {
                let cause = format!("silent for {:.1} s", pipe.silent_for().as_secs_f64());
                link.give_up(pipe, &cause);
                return Waited::Silent(cause);
            }
            Err(_) => {}
        }
    }
}
