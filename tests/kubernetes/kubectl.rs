//! kubectl, as the administrator of the testbed: what users do is done with their command.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    commands::{self, Done},
    failure::{Failure, Result, failed},
};

/// Runs kubectl, which has to work; gives its output.
pub async fn kubectl(arguments: &[&str]) -> Result<String> {
    commands::run("kubectl", arguments, "").await?.worked()
}

/// Runs kubectl, and gives whatever came of it.
pub async fn try_kubectl(arguments: &[&str], stdin: &str) -> Result<Done> {
    commands::run("kubectl", arguments, stdin).await
}

/// `kubectl apply`, which has to work.
pub async fn apply(object: &Value) -> Result<()> {
    try_apply(object).await?.worked().map(drop)
}

/// `kubectl apply`, whatever comes of it.
pub async fn try_apply(object: &Value) -> Result<Done> {
    try_kubectl(&["apply", "-f", "-"], &object.to_string()).await
}

/// `kubectl get ... -o json`.
pub async fn get_json(arguments: &[&str]) -> Result<Value> {
    let text = kubectl(&[&["get", "-o", "json"], arguments].concat()).await?;
    Ok(serde_json::from_str(&text)?)
}

/// A running `kubectl port-forward`; it ends when this is dropped.
pub struct Forward {
    /// host:port on this side.
    pub address: String,
    _child: Child,
}

/// Forwards a free local port to `port` of `target` (such as service/demo-client).
pub async fn port_forward(namespace: &str, target: &str, port: u16) -> Result<Forward> {
    let mut command = Command::new("kubectl");
    command.args(["-n", namespace, "port-forward", target, &format!(":{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| Failure("no output of kubectl port-forward".into()))?;
    let mut lines = BufReader::new(stdout).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    // It says a line for each connection, and ends when nobody reads them.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    // "Forwarding from 127.0.0.1:41234 -> 7001"
    match first.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()) {
        Some(address) => Ok(Forward { address: address.to_owned(), _child: child }),
        None => failed(format!("kubectl port-forward says {first:?}")),
    }
}
