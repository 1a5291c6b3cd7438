//! What is worth an Event: the changes between one round and the next. Pure; the same change is told once.

use std::collections::BTreeSet;

use granary_crds::{StorageClusterStatus, status::condition};
use granary_planner::{
    observed::{Node, Place},
    plan::{Plan, PlannedStep, Step},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::observe::Sight;

/// The closed set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The cluster exists from here on.
    Founded,
    /// A place was made for a node.
    NodeStarted,
    /// A node became a member.
    NodeJoined,
    /// A node counts as lost and is being replaced.
    NodeLost,
    /// A node gives its replicas up.
    DrainStarted,
    /// A node that gave its replicas up is to stay.
    DrainCancelled,
    /// A node is no member any more.
    NodeRemoved,
    /// A place was given up.
    PlaceRetired,
    /// A pod is being started anew.
    Restarting,
    /// A pod that was started anew does not come back.
    RestartStuck,
    /// The spec holds what it may not; nothing is changed.
    InvalidSpec,
    /// Two installations of the operator look after it.
    OperatorConflict,
    /// Something is wrong and needs a person.
    Degraded,
    /// Nothing is wrong any more.
    Recovered,
    /// The claims were deleted with the StorageCluster.
    DataDeleted,
}

impl Reason {
    /// Whether a person should look.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::NodeLost | Self::RestartStuck | Self::InvalidSpec | Self::OperatorConflict | Self::Degraded
        )
    }
}

/// One Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl News {
    /// An Event.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a round saw and planned.
#[derive(Clone, Debug)]
pub struct Moment {
    sight: Sight,
    plan: Plan,
}

impl Moment {
    /// Of a round. A plan that was not carried out to its end counts as none.
    pub fn new(sight: Sight, plan: Plan, done: bool) -> Self {
        Self { sight, plan: if done { plan } else { Plan::default() } }
    }

    fn nodes(&self) -> Option<&[Node]> {
        self.sight.observed.cluster.known().map(|cluster| cluster.nodes.as_slice())
    }

    fn places(&self) -> &[Place] {
        &self.sight.observed.places
    }
}

/// What happened between two rounds of one process.
pub fn between(before: &Moment, now: &Moment) -> Vec<News> {
    let mut news = Vec::new();
    if !before.sight.observed.founded && now.sight.observed.founded {
        news.push(News::new(Reason::Founded, "the nodes founded the cluster"));
    }
    places(before, now, &mut news);
    // Only what both rounds knew: a cluster that answers again is no news of its nodes.
    if let (Some(before), Some(now)) = (before.nodes(), now.nodes()) {
        nodes(before, now, &mut news);
    }
    steps(before, now, &mut news);
    news
}

fn places(before: &Moment, now: &Moment, news: &mut Vec<News>) {
    let has = |moment: &Moment, index: u32| moment.places().iter().any(|place| place.index == index);
    for place in now.places().iter().filter(|place| !has(before, place.index)) {
        let why = before.plan.steps.iter().find(|planned| planned.step == Step::StartNode { index: place.index });
        let why = why.map(|planned| format!(": {}", planned.reason)).unwrap_or_default();
        news.push(News::new(Reason::NodeStarted, format!("{} was made{why}", place.name)));
    }
    for place in before.places().iter().filter(|place| !has(now, place.index)) {
        news.push(News::new(Reason::PlaceRetired, format!("{} was given up", place.name)));
    }
}

fn nodes(before: &[Node], now: &[Node], news: &mut Vec<News>) {
    for node in now {
        let old = before.iter().find(|old| old.id == node.id);
        let (reason, what) = match old.map(|old| old.draining) {
            None => (Reason::NodeJoined, "joined"),
            Some(false) if node.draining => (Reason::DrainStarted, "gives up its replicas"),
            Some(true) if !node.draining => (Reason::DrainCancelled, "stays after all"),
            Some(_) => continue,
        };
        news.push(News::new(reason, format!("{} (node {}) {what}", node.name, node.id)));
    }
    for node in before.iter().filter(|old| now.iter().all(|node| node.id != old.id)) {
        news.push(News::new(Reason::NodeRemoved, format!("{} (node {}) was removed", node.name, node.id)));
    }
}

fn steps(before: &Moment, now: &Moment, news: &mut Vec<News>) {
    let is_new = |planned: &&PlannedStep| before.plan.steps.iter().all(|old| old.step != planned.step);
    for planned in now.plan.steps.iter().filter(is_new) {
        if let Step::RestartPlace { index } = planned.step {
            let place = now.places().iter().find(|place| place.index == index);
            let name = place.map_or_else(|| format!("node-{index}"), |place| place.name.clone());
            news.push(News::new(Reason::Restarting, format!("{name} is started anew: {}", planned.reason)));
        }
    }
    let lost = |plan: &Plan| -> BTreeSet<String> { plan.steps.iter().filter_map(replaces).collect() };
    let known = lost(&before.plan);
    news.extend(
        lost(&now.plan)
            .into_iter()
            .filter(|why| !known.contains(why))
            .map(|why| News { reason: Reason::NodeLost, message: why }),
    );
}

/// What a step says of a node that is lost, without the seconds that go on.
fn replaces(planned: &PlannedStep) -> Option<String> {
    let is_start = matches!(planned.step, Step::StartNode { .. } | Step::Join { .. });
    (is_start && planned.reason.contains(" lost")).then(|| planned.reason.clone())
}

/// What the condition Degraded says anew, compared with what was written last, by whichever process.
pub fn of_degraded(before: Option<&StorageClusterStatus>, now: &StorageClusterStatus) -> Option<News> {
    let (was, is) = (before.and_then(degraded), degraded(now)?);
    let same = was.is_some_and(|was| was.status == is.status && was.reason == is.reason);
    match is.status.as_str() {
        "True" if !same => Some(News::new(reason(&is.reason), format!("{}: {}", is.reason, is.message))),
        "False" if was.is_some_and(|was| was.status == "True") => {
            let was = was.map_or("", |was| was.reason.as_str());
            Some(News::new(Reason::Recovered, format!("not {was} any more")))
        }
        _ => None,
    }
}

fn degraded(status: &StorageClusterStatus) -> Option<&Condition> {
    status.conditions.iter().find(|one| one.type_ == condition::DEGRADED)
}

fn reason(condition: &str) -> Reason {
    match condition {
        "RestartStuck" => Reason::RestartStuck,
        "InvalidSpec" => Reason::InvalidSpec,
        "OperatorConflict" => Reason::OperatorConflict,
        _ => Reason::Degraded,
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
