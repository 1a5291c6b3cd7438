//! The two Services: the headless one, by which nodes find each other, and the one for clients.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{KV_PORT, METRICS_PORT, Of, PEER_PORT, cluster_labels, names, owned, port_names};

/// Says to proxies and gateways that the port speaks HTTP/2 without TLS, as gRPC does.
const H2C: &str = "kubernetes.io/h2c";

/// The headless Service. It names pods that are not ready too, since nodes must find each other to become ready.
pub fn headless_service(of: &Of<'_>) -> Service {
    let ports = vec![
        port(port_names::KV, KV_PORT, H2C),
        port(port_names::PEER, PEER_PORT, H2C),
        port(port_names::METRICS, METRICS_PORT, "http"),
    ];
    let spec =
        ServiceSpec { cluster_ip: Some("None".to_owned()), publish_not_ready_addresses: Some(true), ..spec(of, ports) };
    Service { metadata: owned(of, names::headless(of.name)), spec: Some(spec), status: None }
}

/// The Service for clients: ready pods only.
pub fn client_service(of: &Of<'_>) -> Service {
    let spec = spec(of, vec![port(port_names::KV, KV_PORT, H2C)]);
    Service { metadata: owned(of, names::client(of.name)), spec: Some(spec), status: None }
}

fn spec(of: &Of<'_>, ports: Vec<ServicePort>) -> ServiceSpec {
    ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(cluster_labels(of)),
        ports: Some(ports),
        ..ServiceSpec::default()
    }
}

fn port(name: &str, port: u16, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some(protocol.to_owned()),
        ..ServicePort::default()
    }
}
