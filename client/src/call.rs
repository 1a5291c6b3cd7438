//! One request of one shard, tried until it has an answer or its time is over.
//!
//! Whether a write may have been applied is decided here: once a try may have reached a node and its outcome is not
//! known, no later refusal of another try makes it "not applied".

use std::{sync::Arc, time::Duration};

use granary_common::limits::MAX_RETRY_AGE_MS;
use granary_proto::kv::{Retry, Routing, pipe_request::Request, pipe_response::Response};
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    Error, Options, Result,
    attempt::{Tried, attempt},
    backoff::Backoff,
    check::invalid,
    directory::Directory,
    link::Link,
    options::bounded,
    routes::{Routes, Shard},
    unanswered::Ticket,
    verdict::{Judged, Verdict, judge},
};

/// What all calls of a client share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) directory: Directory,
    pub(crate) options: Options,
    /// Random, not 0.
    pub(crate) client_id: u64,
}

/// Who may answer, and what it means when nobody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The leader.
    Read,
    /// Any replica.
    StaleRead,
    /// The leader, once.
    Write,
}

/// Does `request` at shard `shard_id` within `timeout`.
pub(crate) async fn call(
    core: &Core,
    shard_id: u32,
    kind: Kind,
    request: Request,
    timeout: Duration,
) -> Result<Response> {
    let timeout = bounded(timeout);
    let started = Instant::now();
    let call = Call {
        core,
        kind,
        started,
        deadline: started + timeout,
        timeout,
        patience: core.options.patience,
        turn: rand::random::<u8>().into(),
        tries: 0,
        stale: 0,
        election: Backoff::election(),
        overload: Backoff::overload(),
        maybe_applied: false,
        cause: String::new(),
        busy: None,
    };
    let shard = core.directory.routes().shard(shard_id).cloned();
    let shard = shard.ok_or_else(|| invalid("shard_id", format!("{shard_id} is not a shard of this cluster")))?;
    call.run(shard, request).await
}

struct Call<'a> {
    core: &'a Core,
    kind: Kind,
    started: Instant,
    deadline: Instant,
    timeout: Duration,
    patience: Duration,
    /// Where it begins to look for a leader, so that calls spread.
    turn: usize,
    /// Nodes tried since the last wait.
    tries: usize,
    /// Replicas that were not fresh enough.
    stale: usize,
    election: Backoff,
    overload: Backoff,
    maybe_applied: bool,
    /// What went wrong last.
    cause: String,
    /// Set when that was a node with too much to do: its advice (ms).
    busy: Option<u64>,
}

/// What to do before the next try.
enum Wait {
    No,
    For(Duration),
}

impl Call<'_> {
    async fn run(mut self, shard: Arc<Shard>, mut request: Request) -> Result<Response> {
        let memory = shard.memory.clone();
        let ticket = match self.kind {
            Kind::Write => match timeout_at(self.deadline, memory.unanswered.begin()).await {
                Ok(ticket) => Some(ticket),
                Err(_) => {
                    self.cause = format!("too many writes to shard {} have no answer", shard.id);
                    return Err(self.give_up());
                }
            },
            Kind::Read | Kind::StaleRead => None,
        };
        loop {
            let routes = self.core.directory.routes();
            let Some(shard) = routes.shard(shard.id).cloned() else {
                return Err(invalid("shard_id", format!("{} is not a shard of this cluster any more", shard.id)));
            };
            let Ok((node, link, probe)) = timeout_at(self.deadline, self.choose(&routes, &shard)).await else {
                self.cause = format!("no leader found for shard {}: {}", shard.id, self.cause);
                return Err(self.give_up());
            };
            if let Some(ticket) = &ticket {
                self.number(&mut request, ticket);
            }
            if self.core.options.forward {
                *routing(&mut request) = Some(Routing { forward: true });
            }
            let tried = attempt(&link, request.clone(), self.deadline, self.patience).await;
            let wait = match tried {
                Tried::Answered(response) => match self.judged(judge(response), &routes, &shard, node).await? {
                    Ok(response) => return Ok(response),
                    Err(wait) => wait,
                },
                failed => self.failed(failed, &shard, node, &link).await?,
            };
            self.wait(wait).await?;
            drop(probe);
        }
    }

    /// The node to try: the leader, or while none is known (and for stale reads) a replica in turn. Few callers look
    /// for a leader at a time, those with a permit; the others wait for what they find.
    async fn choose<'s>(&self, routes: &Routes, shard: &'s Shard) -> (u64, Arc<Link>, Option<SemaphorePermit<'s>>) {
        let memory = &shard.memory;
        if self.core.options.forward
            && let Some(link) = self.core.directory.next_seed()
        {
            // No node's id: nothing is learned of who leads.
            return (0, link, None);
        }
        loop {
            if self.kind == Kind::StaleRead
                && let Some((node, link)) = routes.next_replica(shard)
            {
                return (node, link, None);
            }
            // Registered before the look, so that what is learned in between is not missed.
            let learned = memory.learned.notified();
            if let Some((node, link)) = memory.leader().and_then(|node| Some((node, routes.link(node)?.clone()))) {
                return (node, link, None);
            }
            tokio::select! {
                permit = memory.probes.acquire() => {
                    if memory.leader().is_some_and(|node| routes.link(node).is_some()) {
                        continue;
                    }
                    if let Some((node, link)) = routes.probe(shard, self.turn, self.tries) {
                        return (node, link, permit.ok());
                    }
                    // The map names replicas on nodes that it does not list: it is between two changes.
                    let _ = self.core.directory.refresh().await;
                    return self.nowhere(shard, permit.ok());
                }
                () = learned => {}
            }
        }
    }

    fn nowhere<'s>(
        &self,
        shard: &Shard,
        permit: Option<SemaphorePermit<'s>>,
    ) -> (u64, Arc<Link>, Option<SemaphorePermit<'s>>) {
        let link = Link::new(String::new(), (&self.core.options).into());
        (shard.nodes.first().copied().unwrap_or_default(), Arc::new(link), permit)
    }

    fn number(&self, request: &mut Request, ticket: &Ticket<'_>) {
        let retry = Some(Retry {
            client_id: self.core.client_id,
            sequence: ticket.sequence,
            answered_below: ticket.answered_below(),
            age_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        match request {
            Request::Put(put) => put.retry = retry,
            Request::Delete(delete) => delete.retry = retry,
            Request::CompareAndSet(swap) => swap.retry = retry,
            Request::Batch(batch) => batch.retry = retry,
            Request::Txn(txn) => txn.retry = retry,
            Request::DeleteRange(range) => range.retry = retry,
            Request::Get(_) | Request::Scan(_) => {}
        }
    }

    /// After an answer: the end, or how long to wait.
    async fn judged(
        &mut self,
        judged: Judged,
        routes: &Routes,
        shard: &Shard,
        node: u64,
    ) -> Result<std::result::Result<Response, Wait>> {
        let memory = &shard.memory;
        if !judged.cause.is_empty() {
            self.cause = judged.cause;
            self.busy = None;
        }
        let wait = match judged.verdict {
            Verdict::Done(response) => {
                if self.kind != Kind::StaleRead {
                    memory.learn(node);
                }
                return Ok(Ok(response));
            }
            // It is the given node's business to find the leader: it has not found one now.
            Verdict::Follow(_) if self.core.options.forward => self.next_node(shard).await,
            Verdict::Follow(leader) => {
                memory.forget(node);
                match routes.link(leader) {
                    // One that failed a moment ago is hardly the leader; the node that named it has not noticed yet.
                    Some(link) if leader != node && !link.is_suspect() => memory.learn(leader),
                    Some(_) => {}
                    None => self.refresh().await,
                }
                self.next_node(shard).await
            }
            Verdict::Elsewhere => {
                memory.forget(node);
                self.next_node(shard).await
            }
            Verdict::Refresh => {
                self.refresh().await;
                Wait::For(self.election.next())
            }
            Verdict::Staler(message) => {
                self.stale += 1;
                if self.stale >= shard.nodes.len() {
                    return Err(Error::TooStale { message });
                }
                Wait::No
            }
            Verdict::Later(retry_after_ms) => {
                self.busy = Some(retry_after_ms);
                Wait::For(self.overload.next().max(Duration::from_millis(retry_after_ms)))
            }
            Verdict::Again => Wait::For(self.overload.next()),
            Verdict::Unknown => {
                self.maybe_applied = true;
                Wait::For(self.overload.next())
            }
            Verdict::Final(error) => return Err(self.ended(error)),
            Verdict::Broken(error) => {
                self.maybe_applied |= self.kind == Kind::Write;
                return Err(self.ended(error));
            }
        };
        Ok(Err(wait))
    }

    /// After a try without an answer: how long to wait.
    async fn failed(&mut self, tried: Tried, shard: &Shard, node: u64, link: &Link) -> Result<Wait> {
        self.busy = None;
        let (sent, cause) = match tried {
            Tried::OutOfTime { sent } => {
                self.maybe_applied |= sent;
                if sent || self.cause.is_empty() {
                    self.cause = format!("{} did not answer", link.address);
                }
                return Err(self.give_up());
            }
            // `judged` has seen to these.
            Tried::Answered(_) => return Ok(Wait::No),
            Tried::NotSent(cause) => (false, cause),
            Tried::Lost(cause) => (true, cause),
            Tried::Silent(cause) => {
                self.patience = self.patience.saturating_mul(2);
                (true, cause)
            }
        };
        self.maybe_applied |= sent;
        self.cause = format!("{}: {cause}", link.address);
        shard.memory.forget(node);
        Ok(self.next_node(shard).await)
    }

    /// Another replica at once, until all were tried; then a fresh map and a short wait.
    async fn next_node(&mut self, shard: &Shard) -> Wait {
        self.tries += 1;
        if self.tries < shard.nodes.len() {
            return Wait::No;
        }
        self.tries = 0;
        self.refresh().await;
        Wait::For(self.election.next())
    }

    async fn refresh(&self) {
        // Without a fresh map the next try uses the old one.
        let _ = timeout_at(self.deadline, self.core.directory.refresh()).await;
    }

    async fn wait(&self, wait: Wait) -> Result<()> {
        let until = match wait {
            Wait::No => Instant::now(),
            Wait::For(time) => Instant::now() + time,
        };
        let too_old = self.kind == Kind::Write && self.started.elapsed() >= Duration::from_millis(MAX_RETRY_AGE_MS);
        if until >= self.deadline || too_old {
            return Err(self.give_up());
        }
        if let Wait::For(_) = wait {
            sleep_until(until).await;
        }
        Ok(())
    }

    fn ended(&self, error: Error) -> Error {
        match self.maybe_applied && self.kind == Kind::Write {
            true => Error::OutcomeUnknown { cause: error.to_string() },
            false => error,
        }
    }

    fn give_up(&self) -> Error {
        self.ended(match self.busy {
            Some(retry_after_ms) => Error::Busy { message: self.cause.clone(), retry_after_ms },
            None => Error::Timeout { after: self.timeout, cause: format!("{}{}", self.cause, self.advice()) },
        })
    }

    fn advice(&self) -> &'static str {
        match self.core.directory.nodes_are_out_of_reach() {
            true => {
                ". The given address answers, but none of the addresses that the nodes have themselves: use --forward \
                 (or the option `forward`) when you reach the cluster through kubectl port-forward"
            }
            false => "",
        }
    }
}

/// The part of a request that says how it is routed.
fn routing(request: &mut Request) -> &mut Option<Routing> {
    match request {
        Request::Get(request) => &mut request.routing,
        Request::Put(request) => &mut request.routing,
        Request::Delete(request) => &mut request.routing,
        Request::CompareAndSet(request) => &mut request.routing,
        Request::Batch(request) => &mut request.routing,
        Request::Txn(request) => &mut request.routing,
        Request::DeleteRange(request) => &mut request.routing,
        Request::Scan(request) => &mut request.routing,
    }
}
