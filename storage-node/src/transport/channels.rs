//! Connections to other nodes: what each is for, and how it is set up. Knows addresses only; who answers there is not
//! its business.

use std::time::Duration;

use granary_proto::map::Addresses;
use tonic::transport::{Channel, Endpoint};

/// Longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection that was silent this long is asked for a sign of life: behind a partition, TCP alone would take minutes to
/// give up, and then come back late.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Without that sign for this long it is given up.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// HTTP/2 window of a stream, in bytes; servers of the peer port use it too.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 window of a connection, in bytes; servers of the peer port use it too.
pub const CONNECTION_WINDOW: u32 = 8 << 20;
/// Longest address that is taken in, in bytes: a DNS name of 253, a colon and a port.
const MAX_ADDRESS: usize = 259;

/// What a connection is for. Each has a TCP connection of its own, so that none waits behind the bytes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Calls to the peer port.
    Calls,
    /// Calls to the Kv port.
    Kv,
    /// The stream of heartbeats.
    Heartbeats,
    /// The stream of everything else.
    Appends,
    /// Snapshots.
    Snapshots,
}

impl Purpose {
    /// Which of a node's addresses it goes to.
    pub(crate) fn address(self, addresses: &Addresses) -> &str {
        match self {
            Self::Kv => &addresses.kv,
            Self::Calls | Self::Heartbeats | Self::Appends | Self::Snapshots => &addresses.peer,
        }
    }
}

/// How to connect to `host:port`; `None` where that is no address.
pub(crate) fn endpoint(address: &str) -> Option<Endpoint> {
    if !is_address(address) {
        return None;
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    Some(
        endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW),
    )
}

/// Whether it looks like `host:port`.
pub(crate) fn is_address(address: &str) -> bool {
    let port = address.rsplit_once(':').and_then(|(host, port)| port.parse().ok().filter(|_| !host.is_empty()));
    address.len() <= MAX_ADDRESS && port.is_some_and(|port: u16| port != 0)
}

/// The connections to one node, made at first use, and anew when its address changed.
#[derive(Default)]
pub(crate) struct Channels {
    made: Vec<(Purpose, String, Channel)>,
}

impl Channels {
    /// The connection for this purpose; `None` where the address is none. Must be called inside a tokio runtime.
    pub(crate) fn get(&mut self, purpose: Purpose, address: &str) -> Option<Channel> {
        if let Some((.., channel)) = self.made.iter().find(|(of, to, _)| *of == purpose && to == address) {
            return Some(channel.clone());
        }
        let channel = endpoint(address)?.connect_lazy();
        self.made.retain(|(of, ..)| *of != purpose);
        self.made.push((purpose, address.to_owned(), channel.clone()));
        Some(channel)
    }
}
