//! Connections to addresses that are not in the map yet, and the word of an answer that says where to go instead.

use std::time::Duration;

use granary_common::limits::MAX_MESSAGE;
use granary_proto::raft::peer_client::PeerClient;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::LEADER_HINT;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The peer service at `host:port`, connected at the first call; `None` where that is no address.
pub(crate) fn connect_peer(address: &str) -> Option<PeerClient<Channel>> {
    if !is_address(address) {
        return None;
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect_lazy();
    Some(PeerClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}

/// Whether it looks like `host:port`.
pub(crate) fn is_address(address: &str) -> bool {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
    port.is_some_and(|port: u16| port != 0)
}

/// The address that an answer names as the meta shard's leader.
pub(crate) fn hinted(status: &Status) -> Option<String> {
    let address = status.metadata().get(LEADER_HINT)?.to_str().ok()?;
    is_address(address).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_leader_only_by_an_address() {
        let mut status = Status::unavailable("node 2 leads the meta shard");
        assert_eq!(hinted(&status), None);
        for (value, address) in
            [("127.0.0.1:7002", Some("127.0.0.1:7002")), ("node-2", None), (":1", None), ("a:0", None)]
        {
            status.metadata_mut().insert(LEADER_HINT, value.parse().unwrap());
            assert_eq!(hinted(&status).as_deref(), address, "{value}");
        }
    }
}
