//! A cluster of the real programs in a directory of its own.

use std::{ops::Deref, time::Duration};

use granary_tests::{
    cli::{self, Given, Output},
    local::{Local, NodeRow},
    scratch::Scratch,
    writer::Writer,
};

/// Longest time for anything: the machine may be busy with much else.
pub const LIMIT: Duration = Duration::from_secs(150);

pub struct Fixture {
    pub local: Local,
    pub scratch: Scratch,
}

impl Deref for Fixture {
    type Target = Local;

    fn deref(&self) -> &Local {
        &self.local
    }
}

impl Fixture {
    /// A spec, and nothing that runs.
    pub fn new(replicas: u32, factor: u32, shards: u32) -> Self {
        let scratch = Scratch::new().unwrap();
        let local = Local::new(scratch.path(), replicas, factor, shards).unwrap();
        Self { local, scratch }
    }

    /// A cluster that is ready.
    pub async fn up(replicas: u32, factor: u32, shards: u32) -> Self {
        let cluster = Self::new(replicas, factor, shards);
        cluster.start().await;
        cluster.ready(replicas, LIMIT).await.unwrap();
        cluster
    }

    /// `granary local up --detach`, which has to work.
    pub async fn start(&self) {
        let output = self.try_up(&[]).await.unwrap();
        assert_eq!(output.code, 0, "local up: {} {}", output.text(), output.stderr);
    }

    /// Runs the command on this cluster.
    pub async fn granary(&self, args: &[&str]) -> Output {
        cli::run(&self.dir, args).await.unwrap()
    }

    /// The same with standard input.
    pub async fn granary_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        cli::run_with(&self.dir, args, Given { stdin, ..Given::default() }).await.unwrap()
    }

    /// Runs the command, which has to work.
    pub async fn done(&self, args: &[&str]) -> Output {
        let output = self.granary(args).await;
        assert_eq!(output.code, 0, "granary {}: {} {}", args.join(" "), output.text(), output.stderr);
        output
    }

    /// Runs the command with `-o json`, which has to work, and gives its answer.
    pub async fn json(&self, args: &[&str]) -> serde_json::Value {
        cli::json(&self.dir, args).await.unwrap()
    }

    /// Writes to every shard and remembers each acknowledgement.
    pub async fn writer(&self, shards: u32) -> Writer {
        Writer::start(self.endpoints().unwrap(), shards, Duration::from_millis(10)).await.unwrap()
    }

    /// The place with this name.
    pub fn node(&self, name: &str) -> NodeRow {
        let nodes = self.nodes().unwrap();
        nodes.into_iter().find(|node| node.name == name).expect("a node of that name")
    }

    /// Stores a value and reads it back later with [`Fixture::holds`].
    pub async fn put(&self, key: &str, value: &str) {
        self.done(&["put", key, value, "--timeout", "60s"]).await;
    }

    /// Asserts that a key holds a value.
    pub async fn holds(&self, key: &str, value: &str) {
        assert_eq!(self.done(&["get", key, "--timeout", "60s"]).await.text(), value, "{key}");
    }
}

/// Asserts that a text holds all of `parts`.
#[track_caller]
pub fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

/// Ends the writer and asserts that it wrote, and that nothing acknowledged is missing.
pub async fn nothing_lost(writer: Writer) {
    let checked = writer.check().await.unwrap();
    assert!(checked.acknowledged > 0, "the writer never wrote: {:?}", writer.errors());
    let (unknown, errors) = (writer.unknown(), writer.errors());
    let checked_at_end = writer.finish().await.unwrap();
    assert_eq!((checked.lost, checked_at_end.lost, unknown), (0, 0, 0), "{errors:?}");
}
