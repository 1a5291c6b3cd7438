//! The election: a Lease that one process of an installation holds. It keeps two processes from doing the same work; it
//! does not protect the data, which the nodes' token does.
//!
//! Times are this process's own: a holder counts as gone when its record did not change for as long as it promised,
//! watched from here. Clocks of other machines are not believed.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::substrate::kubernetes::names::MANAGER;

/// How long a record is good for.
const DURATION: Duration = Duration::from_secs(15);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(5);
/// The holder gives up after so long without a renewal, before anybody else may take over.
const GIVE_UP: Duration = Duration::from_secs(12);
/// Between two looks of one that waits.
const LOOK: Duration = Duration::from_secs(2);
/// Between two tries after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// For one request.
const REQUEST: Duration = Duration::from_secs(3);

/// Why the Lease is not held any more.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Somebody else has it.
    #[error("the Lease is held by {holder} now: this process stops")]
    Lost {
        /// Who.
        holder: String,
    },
    /// Not renewed in time.
    #[error("the Lease was not renewed for {} s: this process stops ({last})", GIVE_UP.as_secs())]
    Expired {
        /// What the last try ended with.
        last: String,
    },
}

/// Why one request did not do it.
#[derive(Debug, Error)]
enum RequestError {
    #[error("changed by somebody else")]
    Conflict,
    #[error("it does not exist")]
    Missing,
    #[error("{0}")]
    Other(String),
}

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_not_found() => Self::Missing,
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Conflict,
            kube::Error::Api(status) => Self::Other(status.message.clone()),
            other => Self::Other(other.to_string()),
        }
    }
}

/// The Lease, not held yet.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    /// Name of the pod, and what no other process has.
    identity: String,
}

/// The Lease, held. Dropping it does not give it back.
pub struct Held {
    candidate: Candidate,
    lease: Lease,
    renewed: Instant,
}

impl Candidate {
    /// For a new process in the pod of that name.
    pub fn new(client: Client, namespace: &str, name: &str, pod: &str) -> Self {
        let identity = format!("{pod}_{}", Uuid::new_v4());
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity }
    }

    /// Waits until the Lease is free or abandoned, and takes it. Failures are logged and tried again for ever.
    pub async fn acquire(self) -> Held {
        let mut seen: Option<(Option<String>, Instant)> = None;
        loop {
            let pause = match self.attempt(&mut seen).await {
                Ok(Attempt::Taken(lease, renewed)) => {
                    tracing::info!(identity = self.identity, "took the Lease");
                    return Held { candidate: self, lease: *lease, renewed };
                }
                Ok(Attempt::Wait(pause)) => pause,
                Err(error) => {
                    tracing::warn!(%error, lease = self.name, "the Lease cannot be taken; tried again");
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }

    async fn attempt(&self, seen: &mut Option<(Option<String>, Instant)>) -> Result<Attempt, RequestError> {
        let now = Instant::now();
        let Some(lease) = self.read().await? else {
            let created = within(self.api.create(&self.params(), &self.record(None))).await?;
            return Ok(Attempt::Taken(Box::new(created), now));
        };
        let version = lease.resource_version();
        let since = match seen {
            Some((known, since)) if *known == version => *since,
            _ => {
                *seen = Some((version, now));
                now
            }
        };
        match may_take(lease.spec.as_ref(), &self.identity, now - since) {
            Take::Now => Ok(Attempt::Taken(Box::new(self.write(&lease).await?), now)),
            Take::After(left) => Ok(Attempt::Wait(left.min(LOOK))),
        }
    }

    async fn read(&self) -> Result<Option<Lease>, RequestError> {
        within(self.api.get_opt(&self.name)).await
    }

    /// Refused when it was changed since it was read.
    async fn write(&self, before: &Lease) -> Result<Lease, RequestError> {
        within(self.api.replace(&self.name, &self.params(), &self.record(Some(before)))).await
    }

    fn record(&self, before: Option<&Lease>) -> Lease {
        let old = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let same = old.holder_identity.as_ref() == Some(&self.identity);
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if same { old.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0).saturating_add(i32::from(!same))),
            ..LeaseSpec::default()
        };
        let metadata = match before {
            Some(lease) => lease.metadata.clone(),
            None => ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
        };
        Lease { metadata, spec: Some(spec) }
    }

    fn params(&self) -> PostParams {
        PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
    }
}

enum Attempt {
    Taken(Box<Lease>, Instant),
    Wait(Duration),
}

/// Whether a record may be taken by `identity`, having been seen unchanged for `unchanged`.
#[derive(Debug, PartialEq, Eq)]
enum Take {
    Now,
    After(Duration),
}

fn may_take(record: Option<&LeaseSpec>, identity: &str, unchanged: Duration) -> Take {
    let holder = record.and_then(|record| record.holder_identity.as_deref()).unwrap_or_default();
    // A container is started only after the one before it in its pod has ended: nobody holds it for that pod any more.
    if holder.is_empty() || pod(holder) == pod(identity) {
        return Take::Now;
    }
    let seconds = record.and_then(|record| record.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    let promised = Duration::from_secs(seconds.unwrap_or(DURATION.as_secs()));
    match promised.checked_sub(unchanged) {
        None | Some(Duration::ZERO) => Take::Now,
        Some(left) => Take::After(left),
    }
}

/// Pod of an identity.
fn pod(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(pod, _)| pod)
}

impl Held {
    /// What is the same for all processes of this installation, and for no other.
    pub fn installation(&self) -> Option<String> {
        self.lease.uid()
    }

    /// Renews for as long as it can. Returns when the Lease is not this process's any more.
    pub async fn keep(&mut self) -> LeaseError {
        let mut pause = RENEW;
        loop {
            sleep(pause).await;
            let now = Instant::now();
            match self.renew().await {
                Ok(()) => (self.renewed, pause) = (now, RENEW),
                Err(Renewal::Lost(holder)) => return LeaseError::Lost { holder },
                Err(Renewal::Failed(error)) => {
                    tracing::warn!(%error, "the Lease was not renewed; tried again");
                    pause = RETRY;
                    if self.renewed.elapsed() >= GIVE_UP {
                        return LeaseError::Expired { last: error.to_string() };
                    }
                }
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Renewal> {
        match self.candidate.write(&self.lease).await {
            Ok(lease) => {
                self.lease = lease;
                Ok(())
            }
            Err(RequestError::Conflict) => {
                // Changed by somebody: the holder says whether that was another operator.
                let lease = self.candidate.read().await?.ok_or(RequestError::Missing)?;
                let holder = lease.spec.as_ref().and_then(|record| record.holder_identity.clone()).unwrap_or_default();
                if holder != self.candidate.identity {
                    return Err(Renewal::Lost(if holder.is_empty() { "nobody".to_owned() } else { holder }));
                }
                self.lease = lease;
                Err(Renewal::Failed(RequestError::Conflict))
            }
            // It is the installation's identity: without it this is no installation.
            Err(RequestError::Missing) => Err(Renewal::Lost("nobody, as it was deleted".into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it back, so that another process takes over at once.
    pub async fn release(self) {
        let mut lease = self.lease;
        if let Some(record) = &mut lease.spec {
            record.holder_identity = Some(String::new());
            record.lease_duration_seconds = Some(1);
        }
        let (api, name) = (&self.candidate.api, &self.candidate.name);
        match within(api.replace(name, &self.candidate.params(), &lease)).await {
            Ok(_) => tracing::info!("gave the Lease back"),
            Err(error) => tracing::warn!(%error, "the Lease was not given back; it ends by itself"),
        }
    }
}

enum Renewal {
    Lost(String),
    Failed(RequestError),
}

impl From<RequestError> for Renewal {
    fn from(error: RequestError) -> Self {
        Self::Failed(error)
    }
}

async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RequestError> {
    match timeout(REQUEST, request).await {
        Ok(answer) => answer.map_err(RequestError::from),
        Err(_) => Err(RequestError::Other(format!("no answer within {} s", REQUEST.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str) -> LeaseSpec {
        let holder_identity = Some(holder.to_owned());
        LeaseSpec { holder_identity, lease_duration_seconds: Some(15), ..LeaseSpec::default() }
    }

    #[test]
    fn a_lease_that_was_given_back_or_never_held_is_taken_at_once() {
        assert_eq!(may_take(None, "b_2", Duration::ZERO), Take::Now);
        assert_eq!(may_take(Some(&record("")), "b_2", Duration::ZERO), Take::Now);
    }

    #[test]
    fn a_holder_counts_as_gone_only_when_its_record_did_not_change_for_as_long_as_it_promised() {
        let held = record("a_1");
        assert_eq!(may_take(Some(&held), "b_2", Duration::from_secs(4)), Take::After(Duration::from_secs(11)));
        assert_eq!(may_take(Some(&held), "b_2", Duration::from_secs(15)), Take::Now);
    }

    #[test]
    fn a_container_that_was_started_anew_in_the_same_pod_does_not_wait_for_the_one_before_it() {
        assert_eq!(may_take(Some(&record("a_1")), "a_2", Duration::ZERO), Take::Now);
    }
}
