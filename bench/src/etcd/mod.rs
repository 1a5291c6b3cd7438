//! Three members of etcd on this machine, as its documentation starts them.

mod target;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

use crate::{
    error::{BenchError, Doing as _, Result},
    patience::until,
    system::{Member, System, metrics},
};
pub use target::EtcdTarget;

/// Generated from proto/etcd.proto.
#[allow(missing_docs, clippy::all)]
pub mod api {
    tonic::include_proto!("etcdserverpb");
}
use api::{MoveLeaderRequest, StatusRequest, StatusResponse, maintenance_client::MaintenanceClient};

/// Room for all that a run writes; the default of 2 GiB is not enough.
const QUOTA: &str = "8589934592";
const MEMBERS: u16 = 3;

struct Place {
    name: String,
    client_url: String,
    args: Vec<String>,
    process: Option<Child>,
}

/// The members; they end with this.
pub struct Etcd {
    binary: PathBuf,
    dir: PathBuf,
    places: Vec<Place>,
}

impl Etcd {
    /// Starts a new cluster below `dir`.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(binary: &Path, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).doing(dir.display())?;
        let ports = free_ports(usize::from(2 * MEMBERS))?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let names: Vec<String> = (0..MEMBERS).map(|number| format!("etcd-{number}")).collect();
        let peers: Vec<String> = ports[usize::from(MEMBERS)..].iter().map(|port| url(*port)).collect();
        let initial: Vec<String> = names.iter().zip(&peers).map(|(name, peer)| format!("{name}={peer}")).collect();
        let place = |at: usize| {
            let client_url = url(ports[at]);
            let data = dir.join(&names[at]);
            let args = [
                ("--name", names[at].as_str()),
                ("--data-dir", &data.display().to_string()),
                ("--listen-client-urls", &client_url),
                ("--advertise-client-urls", &client_url),
                ("--listen-peer-urls", &peers[at]),
                ("--initial-advertise-peer-urls", &peers[at]),
                ("--initial-cluster", &initial.join(",")),
                ("--quota-backend-bytes", QUOTA),
                ("--log-level", "error"),
            ];
            let args = args.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect();
            Place { name: names[at].clone(), client_url, args, process: None }
        };
        let places = (0..usize::from(MEMBERS)).map(place).collect();
        let mut etcd = Self { binary: binary.to_owned(), dir: dir.to_owned(), places };
        etcd.whole().await?;
        Ok(etcd)
    }

    fn start_missing(&mut self) -> Result<()> {
        for place in &mut self.places {
            if let Some(child) = &mut place.process
                && child.try_wait().doing("looking after etcd")?.is_none()
            {
                continue;
            }
            let log = self.dir.join(format!("{}.log", place.name));
            let log = fs::File::options().create(true).append(true).open(&log).doing(log.display())?;
            let mut command = Command::new(&self.binary);
            command.args(&place.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            place.process = Some(command.spawn().doing(self.binary.display())?);
        }
        Ok(())
    }

    fn channel(&self, at: usize) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(self.places[at].client_url.clone()).doing("etcd's address")?;
        Ok(endpoint.tcp_nodelay(true).connect_timeout(Duration::from_secs(1)).connect_lazy())
    }

    async fn status(&self, at: usize) -> std::result::Result<StatusResponse, String> {
        let channel = self.channel(at).map_err(|error| error.to_string())?;
        let mut client = MaintenanceClient::new(channel);
        let answer = tokio::time::timeout(Duration::from_secs(2), client.status(StatusRequest {})).await;
        answer.map_err(|late| late.to_string())?.map(|answer| answer.into_inner()).map_err(|status| status.to_string())
    }

    /// Which place leads, as all places say; `None` while they do not agree.
    async fn leading(&self) -> std::result::Result<usize, String> {
        let (mut ids, mut leaders) = (Vec::new(), Vec::new());
        for at in 0..self.places.len() {
            let status = self.status(at).await?;
            ids.push(status.header.map_or(0, |header| header.member_id));
            leaders.push(status.leader);
        }
        let leader = leaders[0];
        if leader == 0 || leaders.iter().any(|other| *other != leader) {
            return Err("members do not agree on their leader".into());
        }
        ids.iter().position(|id| *id == leader).ok_or_else(|| "its leader is none of its members".into())
    }

    fn member(&self, at: usize) -> Result<Member> {
        let place = &self.places[at];
        let pid = place.process.as_ref().map(Child::id).ok_or_else(|| BenchError(format!("{} is down", place.name)))?;
        Ok(Member { name: place.name.clone(), pid })
    }
}

impl System for Etcd {
    type Target = EtcdTarget;

    fn name(&self) -> &'static str {
        "etcd"
    }

    async fn targets(&self, connections: u32) -> Result<Vec<EtcdTarget>> {
        let target = |_| {
            let channels: Result<Vec<Channel>> = (0..self.places.len()).map(|at| self.channel(at)).collect();
            Ok(EtcdTarget::new(channels?))
        };
        (0..connections).map(target).collect()
    }

    fn members(&self) -> Result<Vec<Member>> {
        (0..self.places.len()).map(|at| self.member(at)).collect()
    }

    fn syncs(&self) -> Result<f64> {
        // The log's syncs, and the commits of the tree, each of which syncs it.
        let names = ["etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_backend_commit_duration_seconds_count"];
        self.places.iter().map(|place| metrics(&format!("{}/metrics", place.client_url), &names)).sum()
    }

    async fn leader(&self) -> Result<Member> {
        self.member(self.leading().await.map_err(BenchError)?)
    }

    async fn hand_over(&self, leader: &Member) -> Result<()> {
        let from = self.places.iter().position(|place| place.name == leader.name);
        let from = from.ok_or_else(|| BenchError(format!("no member {}", leader.name)))?;
        let next = self.status((from + 1) % self.places.len()).await.map_err(BenchError)?;
        let request = MoveLeaderRequest { target_id: next.header.map_or(0, |header| header.member_id) };
        MaintenanceClient::new(self.channel(from)?).move_leader(request).await.doing("moving etcd's leader").map(drop)
    }

    async fn whole(&mut self) -> Result<()> {
        self.start_missing()?;
        let this = &*self;
        until("etcd is whole", Duration::from_secs(60), || async { this.leading().await.map(drop) }).await
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in self.places.iter_mut().filter_map(|place| place.process.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that nobody listens on now.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: std::io::Result<Vec<TcpListener>> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let held = held.doing("looking for free ports")?;
    held.iter().map(|port| port.local_addr().map(|address| address.port()).doing("looking for free ports")).collect()
}
