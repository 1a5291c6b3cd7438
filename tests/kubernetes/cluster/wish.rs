//! The StorageClusters that scenarios ask for: small ones, since many pods share two cores.

use serde_json::{Value, json};

/// Three nodes, factor 3, 16 shards, 10 Gi disks of class `standard`; `changes` are merged over the spec (null removes).
pub fn small(namespace: &str, name: &str, changes: Value) -> Value {
    let mut spec = json!({
        "replicas": 3,
        "replicationFactor": 3,
        "shards": 16,
        "image": "granary:0.1.0",
        "storage": {"size": "10Gi", "className": "standard"},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    });
    merge(&mut spec, changes);
    json!({
        "apiVersion": "granary.io/v1alpha1",
        "kind": "StorageCluster",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// As a JSON merge patch does it.
pub fn merge(into: &mut Value, changes: Value) {
    match changes {
        Value::Object(changes) => {
            for (name, change) in changes {
                match change {
                    Value::Null => drop(into.as_object_mut().map(|object| object.remove(&name))),
                    change => merge(&mut into[name], change),
                }
            }
        }
        other => *into = other,
    }
}
