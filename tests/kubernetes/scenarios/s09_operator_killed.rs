//! The operator dies: after every step that it takes, and with all its replicas in the middle of one.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use granary_tests::wait::until;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Preconditions},
    runtime::{WatchStreamExt as _, watcher},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinHandle;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    data::{load::Load, nothing_lost},
    failure::Result,
    faults,
    figures::Figures,
    operator,
    pod_watch::PodWatch,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "09_operator_killed_at_every_step",
        says: "the operator dies after each step of a scale-up and of a scale-down: both end as they should",
        run: |scene| Box::pin(killed_at_every_step(scene)),
    },
    Scenario {
        name: "09b_operator_takeover",
        says: "both replicas killed in the middle of a step, one hung, one deleted: another one works",
        run: |scene| Box::pin(takeover(scene)),
    },
];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(50);
/// Makes the operator die right after the first step that it takes.
const ONE_STEP: [&str; 2] = ["--set-json", r#"extraEnv=[{"name":"GRANARY_CRASH_AFTER","value":"step:1"}]"#];
/// Longest time for a scale-up or -down in steps of one life each, 15 s being what the Lease of a dead pod lasts.
const IN_MANY_LIVES: Duration = Duration::from_secs(400);
/// Fewest steps of a scale-up: the place, joining, moving shards, leaders.
const STEPS_UP: usize = 4;
/// Fewest steps of a scale-down: drain, moving shards, removing the node, giving up its place.
const STEPS_DOWN: usize = 4;
/// Behind this somebody stands in the way; the promised 20 s are in the figures, since a test shares its machine.
const TAKEOVER: Duration = Duration::from_secs(60);
/// Pods of the operator.
const LABELS: &str = "app.kubernetes.io/name=granary-operator";

async fn killed_at_every_step(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 20).await?;
    let writer = cluster.writer(PAUSE).await?;
    let pods = PodWatch::of_cluster(&scene.client, &cluster);
    operator::upgrade(&ONE_STEP).await?;
    let lives = PodWatch::start(&scene.client, operator::NAMESPACE, LABELS);
    let impatient = Impatient::start(&scene.client);
    let deaths = || usize::try_from(lives.seen().restarts).unwrap_or(0) + impatient.deleted();

    let started = Instant::now();
    cluster.scale(4).await?;
    cluster.ready_within(4, IN_MANY_LIVES).await?;
    let up = deaths();
    scene.say(format!("Ready with 4 after {:?}; the operator died {up} times", started.elapsed()));
    figures.put("deaths_up", up);
    figures.seconds("scale_up_s", started.elapsed());
    assert!(up >= STEPS_UP, "the operator died {up} times only");

    let started = Instant::now();
    cluster.scale(3).await?;
    cluster.ready_within(3, IN_MANY_LIVES).await?;
    let down = deaths() - up;
    scene.say(format!("Ready with 3 after {:?}; the operator died {down} times", started.elapsed()));
    figures.put("deaths_down", down);
    figures.seconds("scale_down_s", started.elapsed());
    assert!(down >= STEPS_DOWN, "the operator died {down} times only");
    drop(impatient);

    operator::install().await?;
    cluster.ready(3).await?;
    cluster.whole(LIMIT).await?;
    let pods = pods.end().await;
    assert!(pods.remade().values().all(|times| *times == 0), "a pod was made anew: {:?}", pods.remade());
    assert_eq!((pods.uids.len(), pods.restarts), (4, 0), "pods that there were, and restarts: {pods:?}");
    let claims = cluster.claims().await?;
    let given_up = claims.values().filter(|claim| claim.annotations().contains_key("granary.io/removed")).count();
    assert_eq!((claims.len(), given_up), (4, 1), "claims, and those of them given up");
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

async fn takeover(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({"shards": 64})).await?;
    cluster.ready(3).await?;
    let client = cluster.client().await?;
    let load = Load::store(&client, 100).await?;
    let writer = cluster.writer(PAUSE).await?;
    let runs = cluster.runs().await?;
    let operators = Cluster::new(&scene.client, operator::NAMESPACE, operator::RELEASE);

    cluster.scale(4).await?;
    moving(&cluster).await?;
    let (holder, pod) = holder().await?;
    for other in operator::pods().await?.iter().filter(|other| **other != pod) {
        faults::kill(&operators, other).await?;
    }
    let started = Instant::now();
    faults::kill(&operators, &pod).await?;
    let both = new_holder(&holder, started).await?;
    scene.say(format!("both killed: taken over after {both:?}"));
    figures.seconds("takeover_both_killed_s", both);
    cluster.ready(4).await?;

    // The one that is to take over may wait for Kubernetes to start it again behind its own death.
    operator::ready().await?;
    cluster.scale(3).await?;
    moving(&cluster).await?;
    let (holder, pod) = self::holder().await?;
    let started = Instant::now();
    let hung = faults::stop(&operators, &pod).await?;
    let after = new_holder(&holder, started).await?;
    scene.say(format!("hung: taken over after {after:?}"));
    figures.seconds("takeover_s", after);
    // It wakes up, sees that it is not the one any more, and ends.
    let before = restarts(&pod).await?;
    drop(hung);
    until(&format!("{pod} has ended and is started anew"), LIMIT, || async {
        let now = restarts(&pod).await.map_err(|error| error.to_string())?;
        if now == before + 1 { Ok(()) } else { Err(format!("{now} restarts, {before} before")) }
    })
    .await?;
    cluster.ready(3).await?;

    operator::ready().await?;
    let (holder, pod) = self::holder().await?;
    let started = Instant::now();
    faults::delete(&operators, "pod", &pod, &["--wait=false"]).await?;
    let released = new_holder(&holder, started).await?;
    scene.say(format!("deleted: taken over after {released:?}"));
    figures.seconds("takeover_released_s", released);

    cluster.whole(LIMIT).await?;
    assert_eq!(cluster.runs().await?.len(), 3, "pods");
    let kept = cluster.runs().await?.into_iter().filter(|(name, run)| runs.get(name) == Some(run)).count();
    assert!(kept >= 2, "pods that were restarted: {runs:?}, {:?}", cluster.runs().await?);
    figures.put("keys_verified", load.verify(&client).await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    for (name, time) in [("both killed", both), ("hung", after), ("deleted", released)] {
        assert!(time < TAKEOVER, "{name}: taken over after {time:?}");
    }
    Ok(figures)
}

/// Waits until replicas are on the move.
async fn moving(cluster: &Cluster) -> Result<()> {
    cluster
        .state_until("replicas are on the move", LIMIT, |state| match state.whole() {
            Err(unfinished) if unfinished.contains("wanted are") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
    Ok(())
}

/// Who holds the Lease, and the pod of it.
async fn holder() -> Result<(String, String)> {
    let holder = until("somebody holds the Lease", LIMIT, || async {
        let holder = operator::holder().await.map_err(|error| error.to_string())?;
        if holder.is_empty() { Err("nobody".to_owned()) } else { Ok(holder) }
    })
    .await?;
    let pod = holder.rsplit_once('_').map_or(holder.clone(), |(pod, _)| pod.to_owned());
    Ok((holder, pod))
}

/// Waits until another process holds the Lease; gives how long that took.
async fn new_holder(before: &str, since: Instant) -> Result<Duration> {
    let taken = until("another process holds the Lease", LIMIT, || async {
        let now = operator::holder().await.map_err(|error| error.to_string())?;
        if now.is_empty() || now == before { Err(format!("{now:?}")) } else { Ok(since.elapsed()) }
    });
    Ok(taken.await?)
}

async fn restarts(pod: &str) -> Result<i32> {
    let count =
        ["-n", operator::NAMESPACE, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"];
    Ok(crate::kubectl::kubectl(&count).await?.trim().parse()?)
}

/// Deletes pods of the operator that Kubernetes lets wait before it starts them again, so that a test with many deaths
/// does not take an hour. It ends when this is dropped.
struct Impatient {
    deleted: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Impatient {
    fn start(client: &kube::Client) -> Self {
        let deleted = Arc::<Mutex<BTreeSet<String>>>::default();
        let api: Api<Pod> = Api::namespaced(client.clone(), operator::NAMESPACE);
        let mut pods =
            watcher(api.clone(), watcher::Config::default().labels(LABELS)).default_backoff().applied_objects().boxed();
        let into = deleted.clone();
        let task = tokio::spawn(async move {
            while let Some(pod) = pods.next().await {
                let Ok(pod) = pod else { continue };
                let uid = pod.uid();
                let once = DeleteParams {
                    preconditions: Some(Preconditions { uid: uid.clone(), resource_version: None }),
                    grace_period_seconds: Some(0),
                    ..DeleteParams::default()
                };
                if waits(&pod) && into.lock().insert(uid.unwrap_or_default()) {
                    // It may have gone by itself.
                    let _ = api.delete(&pod.name_any(), &once).await;
                }
            }
        });
        Self { deleted, task }
    }

    /// How many: each died once more than its restarts tell.
    fn deleted(&self) -> usize {
        self.deleted.lock().len()
    }
}

impl Drop for Impatient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn waits(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut reasons = statuses.filter_map(|one| one.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    pod.metadata.deletion_timestamp.is_none() && reasons.any(|reason| reason == "CrashLoopBackOff")
}
