//! Publishes Events, a bounded number of them: one that loops must not fill the API server's store.

use std::time::Duration;

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, timeout};

use super::events::News;
use crate::substrate::kubernetes::names::MANAGER;

/// Events that may be published at once for one object.
const BURST: u32 = 30;
/// One more for each of these.
const REFILL: Duration = Duration::from_secs(10);
/// For one request.
const REQUEST: Duration = Duration::from_secs(3);
/// Longest message that the API server takes, in bytes.
const LONGEST: usize = 1024;

/// Publishes for one object.
pub struct Announcer {
    client: Client,
    /// Name of the operator's pod.
    instance: String,
    budget: Budget,
}

impl Announcer {
    /// With a full budget.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance, budget: Budget { left: BURST, since: Instant::now() } }
    }

    /// Publishes all of them. What cannot be published, or is too much, is logged only: Events are no promise.
    pub async fn publish(&mut self, about: &ObjectReference, news: impl IntoIterator<Item = News>) {
        for news in news {
            let (cluster, namespace) = (about.name.as_deref(), about.namespace.as_deref());
            tracing::info!(cluster, namespace, reason = ?news.reason, "{}", news.message);
            if !self.budget.take(Instant::now()) {
                continue;
            }
            let api: Api<Event> = Api::namespaced(self.client.clone(), namespace.unwrap_or("default"));
            let event = event(about, &news, &self.instance, Timestamp::now());
            match timeout(REQUEST, api.create(&PostParams::default(), &event)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an event was not published"),
                Err(_) => tracing::debug!("an event was not published in time"),
            }
        }
    }
}

/// How many may still be published.
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let more = (now - self.since).as_secs() / REFILL.as_secs();
        if more > 0 {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(BURST)).min(BURST);
            self.since = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

fn event(about: &ObjectReference, news: &News, instance: &str, now: Timestamp) -> Event {
    let mut note = news.message.clone();
    note.truncate(note.floor_char_boundary(LONGEST));
    let reason = format!("{:?}", news.reason);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", about.name.as_deref().unwrap_or(MANAGER), now.as_nanosecond())),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(if news.reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        action: Some(reason.clone()),
        reason: Some(reason),
        note: Some(note),
        regarding: Some(about.clone()),
        reporting_controller: Some(format!("granary.io/{MANAGER}")),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::events::Reason, *};

    #[test]
    fn the_number_of_events_is_bounded_and_grows_again_with_time() {
        let start = Instant::now();
        let mut budget = Budget { left: BURST, since: start };
        let taken = (0..100).filter(|_| budget.take(start)).count();
        assert_eq!(taken, BURST as usize);
        assert!(budget.take(start + REFILL));
        assert!(!budget.take(start + REFILL));
    }

    #[test]
    fn an_event_fits_what_the_api_server_takes() {
        let about = ObjectReference { name: Some("demo".into()), namespace: Some("a".into()), ..Default::default() };
        let news = News::new(Reason::Degraded, "ü".repeat(1000));
        let event = event(&about, &news, "pod", Timestamp::UNIX_EPOCH);
        assert_eq!((event.type_.as_deref(), event.metadata.namespace.as_deref()), (Some("Warning"), Some("a")));
        assert!(event.note.unwrap().len() <= LONGEST);
    }
}
