//! The first minutes of a user: install, apply, write, read.

use std::time::{Duration, Instant};

use granary_tests::programs;
use serde_json::json;

use super::Scenario;
use crate::{
    cluster::Cluster,
    commands,
    data::client_pod::granary_in_pod,
    failure::Result,
    figures::{Figures, median, runs},
    helm::helm,
    kubectl::port_forward,
    operator,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "01_install_and_apply",
    says: "helm install, kubectl apply, Available; write and read through the Service from a pod, and through port-forward",
    run: |scene| Box::pin(install_and_apply(scene)),
}];

async fn install_and_apply(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    helm(&["test", operator::RELEASE, "--namespace", operator::NAMESPACE, "--timeout", "60s"]).await?;
    scene.say("helm test of the operator's chart passed");

    let (mut available, mut ready) = (vec![], vec![]);
    for run in 0..runs() {
        let namespace = scene.namespace(&format!("run{run}")).await?;
        let cluster = Cluster::new(&scene.client, &namespace, "demo");
        let started = Instant::now();
        // As examples/cluster.yaml has it: 64 shards, and no class, so the default one.
        cluster.apply(json!({"shards": 64, "storage": {"className": null}})).await?;
        cluster.condition("Available", "True", Duration::from_secs(120)).await?;
        available.push(started.elapsed());
        cluster.ready(3).await?;
        ready.push(started.elapsed());
        cluster.whole(Duration::from_secs(30)).await?;
        scene.say(format!("run {run}: Available after {:?}, Ready after {:?}", available[run], ready[run]));
        if run + 1 < runs() {
            cluster.delete().await?;
        } else {
            write_and_read(scene, &cluster).await?;
        }
    }
    figures.seconds("apply_to_available_s", median(available));
    figures.seconds("apply_to_ready_s", median(ready));
    Ok(figures)
}

async fn write_and_read(scene: &Scene, cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace.as_str();
    let columns = cluster.kubectl(&["get", "gsc", "demo"]).await?;
    scene.say(&columns);
    let row: Vec<_> = columns.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..6], ["demo", "3", "3", "64", "64", "Ready"], "{columns}");

    let service = ["--endpoints", "demo-client:7001"];
    granary_in_pod(namespace, "put", &[&service[..], &["put", "hello", "from a pod"]].concat()).await?;
    let read = granary_in_pod(namespace, "get", &[&service[..], &["get", "hello"]].concat()).await?;
    assert_eq!(read.trim(), "from a pod");
    scene.say("written and read through the Service, from pods of the image");

    let inside =
        cluster.kubectl(&["exec", "demo-node-0-0", "--", "granary", "--endpoints", "demo-client:7001", "get", "hello"]);
    assert_eq!(inside.await?.trim(), "from a pod");

    let forward = port_forward(namespace, "service/demo-client", 7001).await?;
    let granary = programs::path("granary")?;
    let granary = granary.to_string_lossy();
    let endpoint = ["--endpoints", forward.address.as_str(), "--forward"];
    // Many keys: they are of all shards, most of which another node leads.
    for number in 0..20 {
        let (key, value) = (format!("outside-{number}"), format!("from outside {number}"));
        commands::run(&granary, &[&endpoint[..], &["put", &key, &value]].concat(), "").await?.worked()?;
        let read = commands::run(&granary, &[&endpoint[..], &["get", &key]].concat(), "").await?.worked()?;
        assert_eq!(read.trim(), value);
    }
    let read = commands::run(&granary, &[&endpoint[..], &["get", "hello"]].concat(), "").await?.worked()?;
    assert_eq!(read.trim(), "from a pod");
    scene.say("written and read through kubectl port-forward");
    Ok(())
}
