//! One GET over plain HTTP, for probes and metrics.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{HarnessError, Result};

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Status code and body.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let failed = |error: &dyn std::fmt::Display| HarnessError::because(format!("GET {address}{path}"), error);
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, ask).await.map_err(|_| failed(&"took longer than 5 s"))?;
    let answer = answer.map_err(|error| failed(&error))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| failed(&"the answer has no body"))?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| failed(&head))?, body.to_owned()))
}
