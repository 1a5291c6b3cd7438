//! One bare `granary-node` process on a directory and ports of its own: started, killed, paused, asked.
//!
//! It knows nothing of the cluster that the node belongs to.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use granary_common::limits::MAX_MESSAGE;
use granary_proto::{
    admin::{IdentifyRequest, IdentifyResponse, admin_client::AdminClient},
    kv::kv_client::KvClient,
};
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Channel;

use crate::{HarnessError, Result, ports::Ports, programs, wait::until};

/// Longest wait for what a node does at once on a quiet machine.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A node's process, or the place of one that does not run now.
#[derive(Debug)]
pub struct Node {
    /// Such as `node-0`.
    pub name: String,
    /// Its data directory.
    pub dir: PathBuf,
    /// Where it listens from its next start on.
    pub ports: Ports,
    /// Peer addresses that it is given at its next start.
    pub seeds: Vec<String>,
    /// Environment of its next start.
    pub env: Vec<(String, String)>,
    log: PathBuf,
    /// Length of the log before the last start.
    log_before: u64,
    child: Option<Child>,
}

impl Node {
    /// A place for a node `name` below `root`; nothing runs there yet.
    pub fn new(root: &Path, name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            dir: root.join(name),
            ports: Ports::free()?,
            seeds: Vec::new(),
            env: Vec::new(),
            log: root.join(format!("{name}.log")),
            log_before: 0,
            child: None,
        })
    }

    /// Starts the process.
    pub fn start(&mut self) -> Result<()> {
        let failed = |error| HarnessError::because(format!("starting {}", self.name), error);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        self.log_before = log.metadata().map_err(failed)?.len();
        let mut command = Command::new(programs::path("granary-node")?);
        command.arg("--data").arg(&self.dir).args(["--name", &self.name, "--log-format", "text"]);
        command.args(["--kv-listen", &self.ports.kv.to_string(), "--peer-listen", &self.ports.peer.to_string()]);
        command.args(["--metrics-listen", &self.ports.metrics.to_string()]);
        command.args(self.seeds.iter().flat_map(|seed| ["--seed", seed]));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        self.child = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether a process was started and not yet seen to have ended.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL, as by `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// SIGSTOP: it lives, and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits until it has ended.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let name = self.name.clone();
        let mut child = self.child.take().ok_or_else(|| HarnessError(format!("{name} does not run")))?;
        let ended = until(&format!("{name} ends"), LIMIT, || {
            std::future::ready(match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("it runs".to_owned()),
                Err(error) => Err(error.to_string()),
            })
        })
        .await;
        if ended.is_err() {
            self.child = Some(child);
        }
        ended
    }

    /// Whether it was started and has ended since, by itself. It counts as one that does not run then.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
        if ended {
            self.child = None;
        }
        ended
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.seek(SeekFrom::Start(self.log_before)).and_then(|_| file.read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until its log since the last start holds `text`.
    pub async fn logged(&self, text: &str) -> Result<()> {
        until(&format!("{} logs {text:?}", self.name), LIMIT, || {
            std::future::ready(if self.log().contains(text) { Ok(()) } else { Err("not yet".to_owned()) })
        })
        .await
    }

    /// Starts it, expects that it refuses to run, and gives its exit code and what it said.
    pub async fn start_refused(&mut self) -> Result<(i32, String)> {
        self.start()?;
        let status = self.ended().await?;
        Ok((status.code().unwrap_or(-1), self.log()))
    }

    /// Removes its data directory, as a lost disk does.
    pub fn wipe(&self) -> Result<()> {
        fs::remove_dir_all(&self.dir).map_err(|error| HarnessError::because(format!("wiping {}", self.name), error))
    }

    /// Its Admin service, on the peer port.
    pub fn admin(&self) -> Result<AdminClient<Channel>> {
        Ok(AdminClient::new(channel(&self.ports.peer.to_string())?))
    }

    /// Its data API, with the limits of a message raised as clients of large values do.
    pub fn kv(&self) -> Result<KvClient<Channel>> {
        let client = KvClient::new(channel(&self.ports.kv.to_string())?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    /// Who it says it is, once it answers.
    pub async fn identify(&self) -> Result<IdentifyResponse> {
        let admin = self.admin()?;
        until(&format!("{} says who it is", self.name), LIMIT, || {
            let mut admin = admin.clone();
            async move { admin.identify(IdentifyRequest {}).await.map_err(|status| status.to_string()) }
        })
        .await
        .map(tonic::Response::into_inner)
    }

    /// Node id, once it answers; 0 while it is blank.
    pub async fn id(&self) -> Result<u64> {
        Ok(self.identify().await?.sender.map_or(0, |sender| sender.node_id))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A connection that is made when it is first used.
pub fn channel(address: &str) -> Result<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}"))
        .map_err(|error| HarnessError::because(format!("address {address}"), error))?;
    Ok(endpoint.connect_timeout(Duration::from_secs(2)).timeout(ANSWER).connect_lazy())
}

/// Copies a directory with all in it, as `cp -a` does.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| HarnessError::because(format!("copying {}", from.display()), error);
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(failed)?;
        }
    }
    Ok(())
}
