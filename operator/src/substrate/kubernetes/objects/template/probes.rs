//! The probes. None of them kills a node that catches up or waits on a slow disk: alive means that the process can
//! still work, and only readiness asks for more.

use k8s_openapi::{
    api::core::v1::{HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::substrate::kubernetes::objects::port_names;

/// Whether the process can still work.
const LIVE: &str = "/livez";
/// Whether it joined, and every voter on it has caught up once since the start.
const READY: &str = "/readyz";

/// Up to 10 min until the process answers, since opening the stores takes as long as the disk takes. Asked each second,
/// as readiness is not asked before.
pub fn startup() -> Probe {
    probe(LIVE, 1, 600, 5)
}

/// A minute of silence ends the process: longer than any stall of a disk that was seen to end.
pub fn liveness() -> Probe {
    probe(LIVE, 10, 6, 5)
}

/// Asked each second, so that a node that is ready is soon told of; two failures in a row before clients are sent
/// elsewhere.
pub fn readiness() -> Probe {
    probe(READY, 1, 2, 2)
}

fn probe(path: &str, period_seconds: i32, failures: i32, timeout_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port_names::METRICS.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        timeout_seconds: Some(timeout_seconds),
        ..Probe::default()
    }
}
