//! Specs that are refused, by the API server or by the operator.

use std::{collections::BTreeMap, fs, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use granary_tests::wait::until;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::LIMIT,
    data::nothing_lost,
    failure::{Failure, Result, failed},
    figures::Figures,
    helm::repository,
    kubectl::{kubectl, try_kubectl},
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "13_refused_by_the_api_server",
        says: "each file of crds/tests/invalid is refused by the API server with our message, and leaves nothing behind",
        run: |scene| Box::pin(refused_by_the_api_server(scene)),
    },
    Scenario {
        name: "13b_refused_by_the_operator",
        says: "what only the operator can see ends in the status with the arithmetic, and changes nothing",
        run: |scene| Box::pin(refused_by_the_operator(scene)),
    },
];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(50);
/// Requests at the same time.
const AT_ONCE: usize = 4;

async fn refused_by_the_api_server(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let namespace = scene.namespace("refused").await?;
    let (changes, new): (Vec<_>, Vec<_>) =
        files("crds/tests/invalid")?.into_iter().partition(|(_, text)| text.contains("---\n"));
    let refused = |(name, text): &(String, String)| {
        let (namespace, name, text) = (namespace.clone(), name.clone(), text.clone());
        async move { is_refused(&namespace, &name, &text, &text).await }
    };
    stream::iter(new.iter().map(refused)).buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
    let stored = kubectl(&["-n", &namespace, "get", "gsc,sts,pvc,pod", "-o", "name"]).await?;
    assert_eq!(stored, "", "stored although refused");
    scene.say(format!("{} specs are refused", new.len()));

    for (name, text) in &changes {
        // Paused: nothing is started for what is only there to be changed.
        let document = |text: &str| format!("{}\n  paused: true\n", text.trim_end());
        let (old, new) = text.split_once("---\n").unwrap_or_default();
        let (old, new) = (document(old), document(new));
        try_kubectl(&["-n", &namespace, "apply", "-f", "-"], &old).await?.worked()?;
        is_refused(&namespace, name, text, &new).await?;
        kubectl(&["-n", &namespace, "delete", "gsc", "--all"]).await?;
    }
    scene.say(format!("{} changes are refused", changes.len()));

    let valid = files("crds/tests/valid")?;
    let examples = ["examples/cluster.yaml", "examples/every-field.yaml"];
    let examples = examples.into_iter().map(|name| Ok((name.to_owned(), fs::read_to_string(repository(name))?)));
    for (_, text) in valid.into_iter().chain(examples.collect::<Result<Vec<_>>>()?) {
        try_kubectl(&["-n", &namespace, "apply", "--dry-run=server", "-f", "-"], &text).await?.worked()?;
    }
    figures.put("specs_refused", new.len());
    figures.put("changes_refused", changes.len());
    assert!(new.len() + changes.len() >= 80, "{figures:?}");
    Ok(figures)
}

/// Name and text of each file of a folder.
fn files(folder: &str) -> Result<Vec<(String, String)>> {
    let entries = fs::read_dir(repository(folder))?.collect::<std::result::Result<Vec<_>, _>>()?;
    let file =
        |entry: fs::DirEntry| Ok((entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?));
    let files: BTreeMap<_, _> = entries.into_iter().map(file).collect::<Result<_>>()?;
    Ok(files.into_iter().collect())
}

/// What the file says of itself is what `kubectl apply` of the document says.
async fn is_refused(namespace: &str, name: &str, text: &str, document: &str) -> Result<()> {
    let said = |what: &str| text.lines().find_map(|line| line.strip_prefix(what));
    let wanted = said("# message: ").or_else(|| said("# kubernetes: "));
    let wanted = wanted.ok_or_else(|| Failure(format!("{name} does not say its message")))?;
    let told = try_kubectl(&["-n", namespace, "apply", "-f", "-"], document).await?.refused()?;
    if told.contains(wanted) { Ok(()) } else { failed(format!("{name} is refused with {told:?}, wanted {wanted:?}")) }
}

async fn refused_by_the_operator(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    let writer = cluster.writer(PAUSE).await?;
    let before = cluster.objects().await?;

    // Three copies need three nodes: one of three cannot be emptied.
    cluster.kubectl(&["annotate", "gsc", "demo", "granary.io/drain=1"]).await?;
    let waits = cluster.waits("Quorum").await?;
    scene.say(&waits);
    assert!(waits.contains("2 active nodes") && waits.contains("3 copies"), "without its arithmetic: {waits}");
    cluster.kubectl(&["annotate", "gsc", "demo", "granary.io/drain-"]).await?;
    cluster.ready(3).await?;
    assert_eq!(cluster.objects().await?, before, "after a drain that was refused");

    // The API server's own rules for pods, which the definition cannot repeat.
    cluster.patch(json!({"podTemplate": {"spec": {"dnsPolicy": "Nowhere"}}})).await?;
    let told = cluster.degraded("InvalidPodTemplate").await?;
    scene.say(&told);
    assert!(told.contains("Nowhere") && told.contains("ClusterFirst"), "without what is allowed: {told}");
    cluster.patch(json!({"podTemplate": null})).await?;
    cluster.ready(3).await?;
    assert_eq!(cluster.objects().await?, before, "after a template that was refused");

    // More than any machine has: one node is made anew, and the roll stops there.
    cluster.patch(json!({"resources": {"requests": {"cpu": "4000"}}})).await?;
    let told = cluster.degraded("Unschedulable").await?;
    scene.say(&told);
    assert!(told.contains("0/3 nodes") && told.contains("3 Insufficient cpu"), "without its arithmetic: {told}");
    let acknowledged = writer.acknowledged();
    cluster.waits("Restarting").await?;
    until("writes go on", LIMIT, || async {
        let more = writer.acknowledged() - acknowledged;
        if more >= 1_000 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    let now = cluster.objects().await?;
    let anew = before.pods.iter().filter(|(pod, uid)| now.pods.get(*pod) != Some(uid)).count();
    assert_eq!(anew, 1, "pods that were made anew: {:?}, then {:?}", before.pods, now.pods);
    assert_eq!((&now.claims, &now.policies), (&before.claims, &before.policies));
    cluster.patch(json!({"resources": {"requests": {"cpu": "50m"}}})).await?;
    cluster.ready(3).await?;

    let after = cluster.objects().await?;
    assert_eq!((&after.claims, &after.policies), (&before.claims, &before.policies));
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}
