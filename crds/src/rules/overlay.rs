//! Rules of the overlay over the pod template, as far as it is clear without merging it: it may not name what is the
//! operator's own. What only the merged template shows, the operator checks.

use serde_json::Value;

use super::{At, Rule, entry};
use crate::{
    pods::{DATA_VOLUME, NODE_CONTAINER, OWN_PREFIX},
    spec::StorageClusterSpec,
};

fn at<'a>(spec: &'a StorageClusterSpec, part: &str, field: &str) -> Option<&'a Value> {
    spec.pod_template.as_ref()?.get(part)?.get(field)
}

fn own_key<'a>(spec: &'a StorageClusterSpec, field: &str) -> Option<&'a str> {
    let keys = at(spec, "metadata", field)?.as_object()?.keys();
    keys.map(String::as_str).find(|key| key.starts_with(OWN_PREFIX))
}

fn list<'a>(spec: &'a StorageClusterSpec, field: &str) -> impl Iterator<Item = &'a Value> {
    at(spec, "spec", field).and_then(Value::as_array).into_iter().flatten()
}

fn is_named(value: &Value, name: &str) -> bool {
    value.get("name").and_then(Value::as_str) == Some(name)
}

/// The fields of our container's that say what it runs.
fn runs_other(spec: &StorageClusterSpec) -> bool {
    let says = |container: &Value| ["command", "args"].iter().any(|field| container.get(field).is_some());
    list(spec, "containers").any(|container| is_named(container, NODE_CONTAINER) && says(container))
}

/// The container that mounts the data volume.
fn mounting<'a>(spec: &'a StorageClusterSpec, field: &str) -> Option<&'a str> {
    let mounts = |container: &Value| {
        let mounts = container.get("volumeMounts").and_then(Value::as_array);
        mounts.into_iter().flatten().any(|mount| is_named(mount, DATA_VOLUME))
    };
    list(spec, field).find(|container| mounts(container)).and_then(|container| container.get("name")?.as_str())
}

/// A rule that no key of a map in the overlay's metadata may be the operator's own.
macro_rules! own_keys {
    ($name:literal) => {
        Rule {
            at: At::Spec,
            field: concat!("spec.podTemplate.metadata.", $name),
            cel: concat!(
                "!has(self.podTemplate) || !has(self.podTemplate.metadata) || !has(self.podTemplate.metadata.",
                $name,
                ") || !self.podTemplate.metadata.",
                $name,
                ".exists(k, k.startsWith('granary.io/'))"
            ),
            shown: "a map with the key \"%s\"",
            cel_values: concat!("self.podTemplate.metadata.", $name, ".filter(k, k.startsWith('granary.io/'))[0]"),
            allowed: "keys that do not begin with granary.io/, as those are the operator's own",
            cel_old: None,
            holds: |subject| own_key(subject.spec, $name).is_none(),
            value: |spec| entry("a map with the key", own_key(spec, $name)),
        }
    };
}

/// A rule that no container of a list may mount the data volume.
macro_rules! no_data_mount {
    ($name:literal) => {
        Rule {
            at: At::Spec,
            field: concat!("spec.podTemplate.spec.", $name),
            cel: concat!(
                "!has(self.podTemplate) || !has(self.podTemplate.spec) || !has(self.podTemplate.spec.",
                $name,
                ") || !self.podTemplate.spec.",
                $name,
                ".exists(c, has(c.volumeMounts) && c.volumeMounts.exists(m, m.name == 'data'))"
            ),
            shown: "a list with a mount of the volume \"data\" in \"%s\"",
            cel_values: concat!(
                "self.podTemplate.spec.",
                $name,
                ".filter(c, has(c.volumeMounts) && c.volumeMounts.exists(m, m.name == 'data'))[0].name"
            ),
            allowed: "containers without it, as it is the storage node's alone",
            cel_old: None,
            holds: |subject| mounting(subject.spec, $name).is_none(),
            value: |spec| entry("a list with a mount of the volume \"data\" in", mounting(spec, $name)),
        }
    };
}

pub(super) const RULES: &[Rule] = &[
    own_keys!("labels"),
    own_keys!("annotations"),
    Rule {
        at: At::Spec,
        field: "spec.podTemplate.spec.containers",
        cel: "!has(self.podTemplate) || !has(self.podTemplate.spec) || !has(self.podTemplate.spec.containers) || \
              !self.podTemplate.spec.containers.exists(c, c.name == 'node' && (has(c.command) || has(c.args)))",
        shown: "a list with a command or args for \"%s\"",
        cel_values: "'node'",
        allowed: "any other change to it, as what it runs is the operator's own",
        cel_old: None,
        holds: |subject| !runs_other(subject.spec),
        value: |_| entry("a list with a command or args for", Some(NODE_CONTAINER)),
    },
    no_data_mount!("containers"),
    no_data_mount!("initContainers"),
    Rule {
        at: At::Spec,
        field: "spec.podTemplate.spec.volumes",
        cel: "!has(self.podTemplate) || !has(self.podTemplate.spec) || !has(self.podTemplate.spec.volumes) || \
              !self.podTemplate.spec.volumes.exists(v, v.name == 'data')",
        shown: "a list with the name \"%s\"",
        cel_values: "'data'",
        allowed: "volumes of other names, as that one is the storage node's disk",
        cel_old: None,
        holds: |subject| !list(subject.spec, "volumes").any(|volume| is_named(volume, DATA_VOLUME)),
        value: |_| entry("a list with the name", Some(DATA_VOLUME)),
    },
];
