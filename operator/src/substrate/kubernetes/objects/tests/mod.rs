//! The specs that the tests render, and their files in `golden/`.
#![allow(clippy::expect_used, clippy::panic)]

mod fields;
mod goldens;
mod labels;
mod overlay;
mod pods;

use granary_crds::{StorageCluster, StorageClusterSpec, parse};

use super::*;

/// The specs, by the names of their golden files.
const SPECS: [(&str, &str); 2] = [
    ("minimal", include_str!("golden/minimal.spec.yaml")),
    ("every-field", include_str!("golden/every-field.spec.yaml")),
];

fn cluster(spec: &str) -> StorageCluster {
    parse(spec).expect("a valid spec")
}

fn minimal() -> StorageClusterSpec {
    cluster(SPECS[0].1).spec
}

fn every_field() -> StorageClusterSpec {
    cluster(SPECS[1].1).spec
}

fn of(spec: &StorageClusterSpec) -> Of<'_> {
    Of {
        namespace: "shop",
        name: "demo",
        uid: "5d1c6d1e-8e3f-4a36-9a0c-3f5b1c0d2e4f",
        cluster_id: "0b8f4f7c-1c0e-4a8f-9d5e-2a6b7c8d9e0f",
        cluster_domain: "cluster.local",
        spec,
        restart: None,
    }
}

/// All metadata of a cluster's objects but the claim's.
fn owned_metadata(of: &Of<'_>) -> Vec<ObjectMeta> {
    let mut all = vec![
        statefulset(of, 0).expect("a valid template").metadata,
        headless_service(of).metadata,
        client_service(of).metadata,
        budget(of, 2).metadata,
    ];
    all.extend(service_account(of).map(|account| account.metadata));
    all.extend(network_policy(of, "granary-system").map(|policy| policy.metadata));
    all
}
