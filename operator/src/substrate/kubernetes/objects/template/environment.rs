//! The settings that a node gets through its environment: only what hangs on its place; all else is the node's default.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector};

use super::container::DATA_MOUNT;
use crate::substrate::kubernetes::{
    names,
    objects::{KV_PORT, METRICS_PORT, Of, PEER_PORT},
};

/// Part of the grace period in which the node hands over its leaders; the rest is for the pause before SIGTERM and for
/// closing the stores.
const GRACEFUL_PART: i64 = 3;
/// The longest that a node takes for it, in seconds.
const MOST_GRACEFUL: i64 = 600;
/// How long a node waits for its disk's lock, in seconds: ten years. While a force-deleted pod's process still has it,
/// an end would only make a crash loop.
const LOCK_WAIT_SECONDS: u32 = 10 * 365 * 86_400;

/// The variables, as the options of granary-node name them.
pub fn variables(of: &Of<'_>, index: u32) -> Vec<EnvVar> {
    let (headless, namespace, domain) = (names::headless(of.name), of.namespace, of.cluster_domain);
    let graceful = (of.spec.termination_grace_period_seconds / GRACEFUL_PART).clamp(0, MOST_GRACEFUL);
    vec![
        // A folder in the volume: many file systems have a lost+found beside it.
        is("GRANARY_DATA", format!("{DATA_MOUNT}/granary")),
        is("GRANARY_NAME", names::place(index)),
        is("GRANARY_KV_LISTEN", format!("0.0.0.0:{KV_PORT}")),
        is("GRANARY_PEER_LISTEN", format!("0.0.0.0:{PEER_PORT}")),
        is("GRANARY_METRICS_LISTEN", format!("0.0.0.0:{METRICS_PORT}")),
        from("GRANARY_ADVERTISE_HOST", "status.podIP"),
        from("GRANARY_MACHINE", "spec.nodeName"),
        is("GRANARY_SEEDS", format!("{headless}.{namespace}.svc.{domain}:{PEER_PORT}")),
        is("GRANARY_LOG_FORMAT", "json".to_owned()),
        is("GRANARY_LOCK_WAIT_SECONDS", LOCK_WAIT_SECONDS.to_string()),
        is("GRANARY_GRACEFUL_SECONDS", graceful.to_string()),
    ]
}

fn is(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

/// A field of the pod itself.
fn from(name: &str, path: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { field_path: path.to_owned(), api_version: Some("v1".to_owned()) };
    let source = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}
