//! The real binary, as far as it goes without a cluster: help, wrong usage, exit codes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::Path,
    process::{Command, Output},
};

fn granary(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_granary"));
    command.args(args).env_remove("GRANARY_ENDPOINTS").output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A port on which nobody listens.
fn unused_endpoint() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn every_data_command_explains_itself_with_examples() {
    for command in ["get", "put", "delete", "cas", "scan", "load", "verify", "bench", "completion"] {
        let output = granary(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let text = stdout(&output);
        assert!(text.contains("Examples:"), "{command}: {text}");
        assert!(text.contains("-o json"), "{command} does not say what it writes as JSON: {text}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &["get"][..],
        &["put", "k", "v", "--file", "f"],
        &["delete"],
        &["delete", "k", "--tag", "t"],
        &["cas", "k", "v"],
        &["cas", "k", "v", "--expect-absent", "--expect-value", "x"],
        &["cas", "k", "v", "--expect-revision", "0"],
        &["scan", "--limit", "0"],
        &["load"],
        &["bench", "everything"],
        &["get", "k", "--timeout", "1h"],
        &["get", "k", "--endpoints", "nowhere"],
    ] {
        let output = granary(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty(), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn without_a_local_cluster_it_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let output = granary(&["get", "k", "--dir", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("granary local up"), "{}", stderr(&output));
}

#[test]
fn an_endpoint_where_nobody_listens_is_named_with_the_cause() {
    let endpoint = unused_endpoint();
    let output = granary(&["put", "k", "v", "--endpoints", &endpoint, "--timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&endpoint), "{}", stderr(&output));
    assert!(stderr(&output).contains("refused"), "{}", stderr(&output));
}

#[test]
fn the_endpoints_of_the_local_cluster_are_used() {
    let (dir, endpoint) = (tempfile::tempdir().unwrap(), unused_endpoint());
    std::fs::write(dir.path().join("status.json"), format!(r#"{{"kv_endpoints":["{endpoint}"],"more":1}}"#)).unwrap();
    let output = granary(&["get", "k", "--dir", dir.path().to_str().unwrap(), "--timeout", "300ms"]);
    assert!(stderr(&output).contains(&endpoint), "{}", stderr(&output));
}

#[test]
fn a_value_file_that_is_not_there_is_named() {
    assert!(!Path::new("/nonexistent/value").exists());
    let output = granary(&["put", "k", "--file", "/nonexistent/value", "--endpoints", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/value"), "{}", stderr(&output));
}

#[test]
fn completion_is_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = granary(&["completion", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("verify"), "{shell}");
    }
}
