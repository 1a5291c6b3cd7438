//! What an overlay may not change. It is looked for by comparing the template before and after the merge, so that no
//! way of saying it is forgotten. Adding beside it is free, but for what would reach the disk.

use std::collections::BTreeMap;

use granary_crds::pods::{DATA_VOLUME, NODE_CONTAINER, OWN_PREFIX};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Probe, VolumeMount};

use super::{FIELD, TemplateError};

/// Refuses the first thing that changed and may not.
pub fn check(own: &PodTemplateSpec, merged: &PodTemplateSpec) -> Result<(), TemplateError> {
    let metadata = |template: &PodTemplateSpec| template.metadata.clone().unwrap_or_default();
    let (own_metadata, metadata) = (metadata(own), metadata(merged));
    keys("metadata.labels", own_metadata.labels.as_ref(), metadata.labels.as_ref())?;
    keys("metadata.annotations", own_metadata.annotations.as_ref(), metadata.annotations.as_ref())?;
    let (Some(own), Some(merged)) = (&own.spec, &merged.spec) else { return Ok(()) };
    if own.termination_grace_period_seconds != merged.termination_grace_period_seconds {
        return fixed("spec.terminationGracePeriodSeconds", "set spec.terminationGracePeriodSeconds");
    }
    disk(own, merged)?;
    let node = |spec: &PodSpec| spec.containers.iter().find(|container| container.name == NODE_CONTAINER).cloned();
    let (own, merged) = (node(own).unwrap_or_default(), node(merged).unwrap_or_default());
    container(&own, &merged)
}

fn fixed(field: &str, instead: &str) -> Result<(), TemplateError> {
    Err(TemplateError::Fixed { field: format!("{FIELD}.{field}"), instead: instead.to_owned() })
}

/// The operator's keys stand, and none with its prefix is added. Keys of `podLabels` and `podAnnotations` stand too:
/// one key with two values in one spec is a mistake.
fn keys(
    field: &str,
    own: Option<&BTreeMap<String, String>>,
    merged: Option<&BTreeMap<String, String>>,
) -> Result<(), TemplateError> {
    let own_value = |key: &String| own.and_then(|own| own.get(key));
    let changed = merged.into_iter().flatten().find(|(key, value)| match own_value(key) {
        Some(own) => own != *value,
        None => key.starts_with(OWN_PREFIX),
    });
    match changed {
        Some((key, _)) if key.starts_with(OWN_PREFIX) => {
            fixed(&format!("{field}[{key}]"), "keys that begin with granary.io/ are the operator's")
        }
        Some((key, _)) => fixed(&format!("{field}[{key}]"), "the operator, or another field of the spec, sets it"),
        None => Ok(()),
    }
}

/// Only the node's own container sees the disk, under one path.
fn disk(own: &PodSpec, merged: &PodSpec) -> Result<(), TemplateError> {
    let named = |spec: &PodSpec, name: &str| {
        spec.volumes.iter().flatten().find(|volume| volume.name == name).cloned().unwrap_or_default()
    };
    let data = named(own, DATA_VOLUME);
    if named(merged, DATA_VOLUME) != data {
        return fixed(&format!("spec.volumes[{DATA_VOLUME}]"), "it is the node's disk");
    }
    let claim = data.persistent_volume_claim.map(|claim| claim.claim_name).unwrap_or_default();
    for volume in merged.volumes.iter().flatten().filter(|volume| volume.name != DATA_VOLUME) {
        let other = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.as_str());
        if other.is_some_and(|other| same_cluster(&claim, other)) {
            return fixed(&format!("spec.volumes[{}]", volume.name), "the claim is the disk of a node");
        }
    }
    let lists = [("containers", Some(&merged.containers)), ("initContainers", merged.init_containers.as_ref())];
    for (list, container) in lists.into_iter().flat_map(|(list, all)| all.into_iter().flatten().map(move |c| (list, c)))
    {
        let mounts = container.volume_mounts.iter().flatten();
        let devices = container.volume_devices.iter().flatten();
        let mut names = mounts.map(|mount| &mount.name).chain(devices.map(|device| &device.name));
        let is_node = list == "containers" && container.name == NODE_CONTAINER;
        if !is_node && names.any(|name| name == DATA_VOLUME) {
            let field = format!("spec.{list}[{}].volumeMounts[{DATA_VOLUME}]", container.name);
            return fixed(&field, "only the node uses its disk");
        }
    }
    Ok(())
}

/// Whether two claims differ by the index of the node at most.
fn same_cluster(own: &str, other: &str) -> bool {
    let stem = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    stem(own) == stem(other)
}

fn container(own: &Container, merged: &Container) -> Result<(), TemplateError> {
    let path = |field: &str| format!("spec.containers[{NODE_CONTAINER}].{field}");
    if own.image != merged.image {
        return fixed(&path("image"), "set spec.image");
    }
    if own.command != merged.command {
        return fixed(&path("command"), "the operator says what the container runs");
    }
    if own.args != merged.args {
        return fixed(&path("args"), "the operator says what the container runs; settings are taken from env");
    }
    if let Some(name) = changed(&own.env, &merged.env, |variable| variable.name.clone()) {
        return fixed(&path(&format!("env[{name}]")), "the operator sets it");
    }
    if let Some(port) = changed(&own.ports, &merged.ports, |port| port.container_port.to_string()) {
        return fixed(&path(&format!("ports[{port}]")), "the Services lead there");
    }
    for (field, own, merged) in [
        ("startupProbe", &own.startup_probe, &merged.startup_probe),
        ("livenessProbe", &own.liveness_probe, &merged.liveness_probe),
        ("readinessProbe", &own.readiness_probe, &merged.readiness_probe),
    ] {
        if asks(own) != asks(merged) {
            return fixed(&path(field), "only its times and thresholds are free");
        }
    }
    mounts(own, merged, &path("volumeMounts"))
}

/// The key of the first own entry that is no longer there as it was.
fn changed<T: PartialEq>(own: &Option<Vec<T>>, merged: &Option<Vec<T>>, key: fn(&T) -> String) -> Option<String> {
    let merged: Vec<_> = merged.iter().flatten().collect();
    own.iter().flatten().find(|entry| !merged.contains(entry)).map(key)
}

/// A probe without its times and thresholds.
fn asks(probe: &Option<Probe>) -> Option<Probe> {
    probe.as_ref().map(|probe| Probe {
        exec: probe.exec.clone(),
        grpc: probe.grpc.clone(),
        http_get: probe.http_get.clone(),
        tcp_socket: probe.tcp_socket.clone(),
        ..Probe::default()
    })
}

/// Own mounts stand, and no other one names the disk, or lies over it or in it.
fn mounts(own: &Container, merged: &Container, field: &str) -> Result<(), TemplateError> {
    let own: Vec<&VolumeMount> = own.volume_mounts.iter().flatten().collect();
    let now: Vec<&VolumeMount> = merged.volume_mounts.iter().flatten().collect();
    let touches = |mount: &&&VolumeMount| {
        own.iter().any(|own| own.name == mount.name || lies_in(&own.mount_path, &mount.mount_path))
    };
    let gone = own.iter().find(|mount| !now.contains(mount));
    match gone.or_else(|| now.iter().filter(|mount| !own.contains(mount)).find(touches)) {
        Some(mount) => fixed(&format!("{field}[{}]", mount.mount_path), "the node's disk is there"),
        None => Ok(()),
    }
}

/// Whether one of two paths lies in the other, or both are one.
fn lies_in(one: &str, other: &str) -> bool {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (parts(one), parts(other));
    one.iter().zip(&other).all(|(one, other)| one == other)
}
