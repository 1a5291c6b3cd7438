//! Identify: who this node is, blank or not.

use granary_proto::{admin::IdentifyResponse, raft::Sender};

use crate::node::Node;

pub(super) fn identify(node: &Node) -> IdentifyResponse {
    let member = node.member();
    let blank = || Sender { uuid: node.uuid.clone(), addresses: Some(node.options.addresses()), ..Sender::default() };
    let readiness = node.check_ready();
    IdentifyResponse {
        sender: Some(member.map_or_else(blank, |member| member.sender())),
        name: node.options.name.clone(),
        domains: Some(node.options.domains()),
        feature_level: node.options.feature_level,
        map_version: member.map_or(0, |member| member.map.current().version),
        ready: readiness.is_ok(),
        not_ready_reason: readiness.err().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
