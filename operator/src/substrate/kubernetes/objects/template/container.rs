//! The container that runs the storage node: its command, its settings, its ports, its probes and its limits.

use granary_crds::{
    pods::{DATA_VOLUME, NODE_CONTAINER},
    spec::Resources,
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, Lifecycle, LifecycleHandler, ResourceRequirements, SecurityContext,
        SleepAction, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::super::{KV_PORT, METRICS_PORT, Of, PEER_PORT, port_names};
use super::{environment, probes};

/// Where the disk is mounted.
pub const DATA_MOUNT: &str = "/data";
/// Seconds between the wish to stop a pod and its SIGTERM: by then no proxy sends it new connections.
const PRE_STOP_SECONDS: i64 = 2;
/// What is reserved when the user says nothing of resources: enough to be scheduled as more than an idle process.
const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "256Mi")];

/// The container.
pub fn node(of: &Of<'_>, index: u32) -> Container {
    Container {
        name: NODE_CONTAINER.to_owned(),
        image: Some(of.spec.image.clone()),
        command: Some(vec!["granary-node".to_owned()]),
        env: Some(environment::variables(of, index)),
        ports: Some(vec![
            port(port_names::KV, KV_PORT),
            port(port_names::PEER, PEER_PORT),
            port(port_names::METRICS, METRICS_PORT),
        ]),
        resources: Some(resources(&of.spec.resources)),
        volume_mounts: Some(vec![VolumeMount {
            name: DATA_VOLUME.to_owned(),
            mount_path: DATA_MOUNT.to_owned(),
            ..VolumeMount::default()
        }]),
        startup_probe: Some(probes::startup()),
        liveness_probe: Some(probes::liveness()),
        readiness_probe: Some(probes::readiness()),
        lifecycle: Some(Lifecycle { pre_stop: Some(pre_stop()), ..Lifecycle::default() }),
        security_context: Some(security()),
        // A process that ends says why in its last lines, and the pod's status then says it too.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// The quantity as Kubernetes writes it.
pub fn quantity_text(quantity: &IntOrString) -> String {
    match quantity {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// The user's, or small requests. Never a CPU limit of our own, since throttling causes elections, and no memory limit,
/// since what a node needs hangs on its load.
fn resources(given: &Resources) -> ResourceRequirements {
    let quantities = |given: &std::collections::BTreeMap<String, IntOrString>| {
        let all = given.iter().map(|(name, quantity)| (name.clone(), Quantity(quantity_text(quantity))));
        Some(all.collect()).filter(|all: &std::collections::BTreeMap<_, _>| !all.is_empty())
    };
    let default = || DEFAULT_REQUESTS.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into();
    let (requests, limits) = (quantities(&given.requests), quantities(&given.limits));
    // With limits alone, Kubernetes takes them as the requests too.
    let requests = if limits.is_none() { requests.or_else(|| Some(default())) } else { requests };
    ResourceRequirements { requests, limits, claims: None }
}

fn security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

fn pre_stop() -> LifecycleHandler {
    LifecycleHandler { sleep: Some(SleepAction { seconds: PRE_STOP_SECONDS }), ..LifecycleHandler::default() }
}

fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}
