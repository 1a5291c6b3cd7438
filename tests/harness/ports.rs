//! Free ports on this machine, for processes that are told where to listen.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use crate::{HarnessError, Result};

/// Below the range from which Linux takes ports of outgoing connections (32,768 and up), so that a port stays free while
/// its process is down.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Where one node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Data API, health, reflection.
    pub kv: SocketAddr,
    /// Other nodes and the operator.
    pub peer: SocketAddr,
    /// Metrics and probes.
    pub metrics: SocketAddr,
}

impl Ports {
    /// Three that nobody listens on.
    pub fn free() -> Result<Self> {
        Ok(Self { kv: free()?, peer: free()?, metrics: free()? })
    }
}

/// An address that nobody listens on, and that this process has not given out within the last 20,000.
pub fn free() -> Result<SocketAddr> {
    let width = RANGE.end - RANGE.start;
    // Processes that run at the same time begin at different places.
    if NEXT.load(Ordering::Relaxed) == 0 {
        let _ = NEXT.compare_exchange(0, rand::random_range(1..width), Ordering::Relaxed, Ordering::Relaxed);
    }
    for _ in 0..width {
        let port = RANGE.start + NEXT.fetch_add(1, Ordering::Relaxed) % width;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(HarnessError(format!("no free port from {} to {}", RANGE.start, RANGE.end)))
}
