//! What a spec says of the pods: small types of its own, and short schemas for what Kubernetes types say at length.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Name of the container that runs the storage node; an overlay may add to it, but not change what it runs.
pub const NODE_CONTAINER: &str = "node";
/// Name of the volume that holds a node's disk; an overlay may not name it.
pub const DATA_VOLUME: &str = "data";
/// Prefix of the labels and annotations that are the operator's own.
pub const OWN_PREFIX: &str = "granary.io/";
/// User, group and fsGroup of the pods when `podSecurityContext` is left out.
pub const DEFAULT_ID: i64 = 65532;

/// An object that is kept as it was written.
pub type Overlay = serde_json::Map<String, serde_json::Value>;

/// How hard pods are spread over zones and Kubernetes nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TopologySpread {
    /// Spread where it can be done; pods may share a Kubernetes node.
    #[default]
    Preferred,
    /// A pod that cannot be spread is not started.
    Required,
}

/// Whether a NetworkPolicy is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicy {
    /// Made: only nodes and the operator reach the nodes' own ports.
    #[default]
    Enabled,
    /// Not made.
    Disabled,
}

/// Ids that the pods run as; what is left out is not set, and the platform chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurityContext {
    /// User, 1 to 2147483647: never root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// Group, 0 to 2147483647.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i64>,
    /// Group of the files on the disk, 0 to 2147483647.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
}

impl Default for PodSecurityContext {
    /// What a spec that leaves it out means.
    fn default() -> Self {
        Self { run_as_user: Some(DEFAULT_ID), run_as_group: Some(DEFAULT_ID), fs_group: Some(DEFAULT_ID) }
    }
}

/// Labels: at most 16, as the API server bounds what a rule over them may cost.
pub(crate) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// Annotations: at most 16 of 4096 characters.
pub(crate) fn annotation_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// Quantities by resource name, at most 8.
pub(crate) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 8, "additionalProperties": {"x-kubernetes-int-or-string": true, "maxLength": 32},
    })
}

/// As in a pod, at most 16.
pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 16,
        "items": {"type": "object", "properties": {
            "key": {"type": "string", "maxLength": 317},
            "operator": {"type": "string", "enum": ["Exists", "Equal"]},
            "value": {"type": "string", "maxLength": 63},
            "effect": {"type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            "tolerationSeconds": {"type": "integer", "format": "int64"},
        }},
    })
}

/// The three kinds; what they hold is read by `affinity`, as its schema in full would be 30 kB.
pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let kept = json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json_schema!({
        "type": "object",
        "properties": {"nodeAffinity": kept, "podAffinity": kept, "podAntiAffinity": kept},
    })
}

/// Says only what the rules look at; all else is kept as it is.
pub(crate) fn template(generator: &mut SchemaGenerator) -> Schema {
    let mounts = json_schema!({
        "type": "array", "maxItems": 32,
        "items": {
            "type": "object", "required": ["name"], "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"name": {"type": "string", "maxLength": 63}},
        },
    });
    let words = json_schema!({"type": "array", "maxItems": 64, "items": {"type": "string"}});
    let containers = json_schema!({
        "type": "array", "maxItems": 8,
        "items": {
            "type": "object", "required": ["name"], "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "name": {"type": "string", "maxLength": 63},
                "command": words, "args": words, "volumeMounts": mounts,
            },
        },
    });
    json_schema!({
        "type": "object",
        "properties": {
            "metadata": {
                "type": "object",
                "properties": {"labels": label_map(generator), "annotations": annotation_map(generator)},
            },
            "spec": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"containers": containers, "initContainers": containers, "volumes": mounts},
            },
        },
    })
}
