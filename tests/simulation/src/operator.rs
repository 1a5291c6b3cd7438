//! The operator: its real planner and reconcile loop, over a substrate of simulated places and nodes behind the simulated
//! network. A process of it may end or be paused between any two steps, and two may be at work at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::channel::oneshot;
use granary_crds::{StorageClusterSpec, parse, status::Phase};
use granary_operator::{
    node_admin::{AdminError, NodeAdmin, Order},
    reconcile::{LoopError, Reconciler},
    substrate::{Founding, Look, Start, Storage, Substrate as SubstrateApi, SubstrateError},
};
use granary_planner::observed::{Disk, Domains, Place as PlannerPlace, Process, Seen};
use granary_proto::admin::{
    AcquireOperatorRequest, BootstrapRequest, BootstrapResponse, CancelDrainRequest, DrainRequest,
    GetClusterStateResponse, IdentifyResponse, JoinRequest, JoinResponse, ReconfigureOutcome, ReleaseStopRequest,
    RemoveNodeRequest, ReserveStopRequest,
};
use parking_lot::Mutex;

use crate::{
    network::OPERATOR,
    node::{AdminCall, AdminReply, Call, Failed, LeaderCall, Reply, call},
    tasks::Owner,
    world::{MS, SECOND, World, sleep},
};

/// Time for one call.
const CALL: u64 = 2 * SECOND;

/// The request with the operator's token.
macro_rules! with_token {
    ($request:expr, $token:expr) => {{
        let mut request = $request;
        request.operator_token = $token;
        request
    }};
}

/// Name of a place.
pub fn name(place: usize) -> String {
    format!("node-{place}")
}

/// Peer address of a place.
pub fn peer_address(place: usize) -> String {
    format!("peer.{place}:1")
}

/// Kv address of a place.
pub fn kv_address(place: usize) -> String {
    format!("kv.{place}:1")
}

/// The place behind an address.
pub fn place_of_address(address: &str) -> Option<usize> {
    address.split_once('.')?.1.split_once(':')?.0.parse().ok()
}

/// What the substrate keeps, and the operator's processes.
#[derive(Default)]
pub struct Substrate {
    cluster_id: Option<String>,
    founded: bool,
    founding: Option<Founding>,
    /// Node ids that a person wants drained.
    pub draining: Vec<u64>,
    /// What is asked.
    pub spec: Option<StorageClusterSpec>,
    generation: i64,
    /// Processes that live.
    pub operators: BTreeSet<u64>,
    /// Until when processes are paused.
    pub paused: BTreeMap<u64, u64>,
    next_operator: u64,
    /// Tasks that wait for the end of a pause.
    pub held_tasks: BTreeSet<u64>,
    /// Last word of the loop: (phase, time, what it waits for).
    pub said: Option<(Phase, u64, String)>,
    asks: Arc<Mutex<Vec<Ask>>>,
    /// It answers every nth question with an error; 0: never.
    pub errors: u64,
    /// Steps that were taken.
    pub rounds: u64,
}

enum Ask {
    Look(oneshot::Sender<Result<Look, SubstrateError>>),
    Mint(oneshot::Sender<Result<(), SubstrateError>>),
    Keep(Box<Founding>, bool, oneshot::Sender<Result<Founding, SubstrateError>>),
    NoteFounded(oneshot::Sender<Result<(), SubstrateError>>),
    Start(u32, oneshot::Sender<Result<Start, SubstrateError>>),
    Restart(u32, oneshot::Sender<Result<(), SubstrateError>>),
    Retire(u32, oneshot::Sender<Result<(), SubstrateError>>),
    Call(usize, Box<AdminCall>, oneshot::Sender<Result<AdminReply, AdminError>>),
}

/// The substrate and the nodes as the loop sees them: questions that the world answers.
struct Outside {
    asks: Arc<Mutex<Vec<Ask>>>,
}

impl Outside {
    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, SubstrateError>>) -> Ask,
    ) -> Result<T, SubstrateError> {
        let (send, answer) = oneshot::channel();
        self.asks.lock().push(ask(send));
        answer.await.unwrap_or_else(|_| Err(SubstrateError::Place("no answer".into())))
    }

    async fn at(&self, address: &str, what: AdminCall) -> Result<AdminReply, AdminError> {
        let place = place_of_address(address).ok_or_else(|| AdminError::Nobody(address.to_owned()))?;
        let (send, answer) = oneshot::channel();
        self.asks.lock().push(Ask::Call(place, Box::new(what), send));
        let gone = || AdminError::Unreachable { address: address.to_owned(), message: "no answer".into() };
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The first of the nodes that answers. A refusal is an answer.
    async fn any(&self, peers: &[String], what: LeaderCall) -> Result<AdminReply, AdminError> {
        let mut last = AdminError::Nobody("no node runs".into());
        for address in peers {
            let call = AdminCall::AtLeader { forwarded: false, what: Box::new(what.clone()) };
            match self.at(address, call).await {
                Err(error @ (AdminError::Unreachable { .. } | AdminError::Nobody(_))) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }
}

#[async_trait]
impl SubstrateApi for Outside {
    fn installation(&self) -> String {
        "installation".into()
    }

    async fn look(&self) -> Result<Look, SubstrateError> {
        self.ask(Ask::Look).await
    }

    async fn mint_cluster_id(&self) -> Result<(), SubstrateError> {
        self.ask(Ask::Mint).await
    }

    async fn keep_founding(&self, founding: Founding, replace: bool) -> Result<Founding, SubstrateError> {
        self.ask(|send| Ask::Keep(Box::new(founding), replace, send)).await
    }

    async fn note_founded(&self) -> Result<(), SubstrateError> {
        self.ask(Ask::NoteFounded).await
    }

    async fn start_node(&self, index: u32) -> Result<Start, SubstrateError> {
        self.ask(|send| Ask::Start(index, send)).await
    }

    async fn restart(&self, index: u32) -> Result<(), SubstrateError> {
        self.ask(|send| Ask::Restart(index, send)).await
    }

    async fn retire(&self, index: u32) -> Result<(), SubstrateError> {
        self.ask(|send| Ask::Retire(index, send)).await
    }
}

fn odd(reply: &AdminReply) -> AdminError {
    AdminError::Nobody(format!("an answer to something else: {reply:?}"))
}

#[async_trait]
impl NodeAdmin for Outside {
    async fn identify(&self, address: &str) -> Result<IdentifyResponse, AdminError> {
        match self.at(address, AdminCall::Identify).await? {
            AdminReply::Identify(identity) => Ok(*identity),
            other => Err(odd(&other)),
        }
    }

    async fn cluster_state(&self, peers: &[String]) -> Result<GetClusterStateResponse, AdminError> {
        match self.any(peers, LeaderCall::State).await? {
            AdminReply::State(state) => Ok(*state),
            other => Err(odd(&other)),
        }
    }

    async fn acquire(&self, peers: &[String], request: AcquireOperatorRequest) -> Result<u64, AdminError> {
        match self.any(peers, LeaderCall::Acquire(request)).await? {
            AdminReply::Token(token) => Ok(token),
            other => Err(odd(&other)),
        }
    }

    async fn bootstrap(&self, address: &str, request: BootstrapRequest) -> Result<BootstrapResponse, AdminError> {
        match self.at(address, AdminCall::Bootstrap(request)).await? {
            AdminReply::Bootstrap(response) => Ok(response),
            other => Err(odd(&other)),
        }
    }

    async fn join(&self, address: &str, request: JoinRequest) -> Result<JoinResponse, AdminError> {
        match self.at(address, AdminCall::Join(request)).await? {
            AdminReply::Join(response) => Ok(response),
            other => Err(odd(&other)),
        }
    }

    async fn order(&self, peers: &[String], token: u64, order: Order) -> Result<Vec<ReconfigureOutcome>, AdminError> {
        let what = match order {
            Order::CreateShards(request) => LeaderCall::CreateShards(with_token!(request, token)),
            Order::Reconfigure(request) => LeaderCall::Reconfigure(with_token!(request, token)),
            Order::TransferLeaders(request) => LeaderCall::TransferLeaders(with_token!(request, token)),
            Order::Drain(node_id) => LeaderCall::Drain(DrainRequest { operator_token: token, node_id }),
            Order::CancelDrain(node_id) => {
                LeaderCall::CancelDrain(CancelDrainRequest { operator_token: token, node_id })
            }
            Order::ReserveStop(node_id) => {
                LeaderCall::ReserveStop(ReserveStopRequest { operator_token: token, node_id })
            }
            Order::ReleaseStop(node_id) => {
                LeaderCall::ReleaseStop(ReleaseStopRequest { operator_token: token, node_id })
            }
            Order::RemoveNode(node_id) => LeaderCall::RemoveNode(RemoveNodeRequest { operator_token: token, node_id }),
        };
        match self.any(peers, what).await? {
            AdminReply::Outcomes(outcomes) => Ok(outcomes),
            AdminReply::CanStop(reasons) if !reasons.is_empty() => Err(AdminError::Refused {
                address: String::new(),
                code: tonic::Code::FailedPrecondition,
                message: reasons.join("; "),
            }),
            _ => Ok(Vec::new()),
        }
    }
}

/// The spec of a cluster of this shape.
pub fn spec(replicas: u32, factor: u32, shards: u32) -> StorageClusterSpec {
    let example = parse(include_str!("../../../examples/cluster.yaml")).expect("the example is valid");
    let mut spec = StorageClusterSpec {
        replicas: replicas as i32,
        replication_factor: factor as i32,
        shards: shards as i32,
        ..example.spec
    };
    spec.failover.replace_after = "15s".into();
    spec
}

impl World {
    /// Starts a process of the operator.
    pub fn start_operator(&mut self) -> u64 {
        let substrate = &mut self.substrate;
        substrate.next_operator += 1;
        let number = substrate.next_operator;
        substrate.operators.insert(number);
        let asks = substrate.asks.clone();
        let shared = self.shared();
        self.note(|| format!("operator {number} starts"));
        self.spawn(Owner::Operator(number), async move {
            let outside = Arc::new(Outside { asks });
            let process = format!("process-{number}");
            let mut reconciler = Reconciler::of_process(outside.clone(), outside, process);
            loop {
                let (spec, generation) = {
                    let world = shared.borrow();
                    (world.substrate.spec.clone(), world.substrate.generation)
                };
                let Some(spec) = spec else { return };
                let round = reconciler.round(&spec, generation, None).await;
                let wait = {
                    let mut world = shared.borrow_mut();
                    world.substrate.rounds += 1;
                    match round {
                        Ok(round) => {
                            let mut lines: Vec<String> =
                                round.plan.steps.iter().map(|step| format!("{:?}", step.step)).collect();
                            lines.extend(round.plan.waiting.iter().map(|wait| wait.message.clone()));
                            lines.extend(round.plan.degraded.iter().map(|wait| wait.message.clone()));
                            lines.extend(round.error.clone());
                            let told = lines.join("; ");
                            world.note(|| format!("operator {number}: {:?} {told}", round.status.phase));
                            let now = world.now;
                            world.substrate.said = Some((round.status.phase, now, told));
                            if round.settled { SECOND } else { 250 * MS }
                        }
                        Err(error) => {
                            world.note(|| format!("operator {number} ends: {error}"));
                            let overtaken = matches!(error, LoopError::TakenOver(_));
                            world.count(if overtaken { "operator overtaken" } else { "operator that gave up" });
                            world.substrate.operators.remove(&number);
                            // Whatever runs it starts it again.
                            world.after(3 * SECOND, "operator", |world| {
                                if world.substrate.operators.is_empty() {
                                    world.start_operator();
                                }
                            });
                            return;
                        }
                    }
                };
                sleep(&shared, wait).await;
            }
        });
        number
    }

    /// Ends a process of the operator, wherever it is.
    pub fn end_operator(&mut self, number: u64) {
        self.note(|| format!("operator {number} is killed"));
        self.substrate.operators.remove(&number);
        self.end_tasks(Owner::Operator(number));
    }

    /// Asks for something else.
    pub fn ask_for(&mut self, spec: StorageClusterSpec) {
        self.note(|| format!("spec: {} nodes", spec.replicas));
        self.substrate.generation += 1;
        self.substrate.spec = Some(spec);
    }

    /// What the loop asked while it was polled.
    pub fn take_asks(&mut self) {
        let asks = std::mem::take(&mut *self.substrate.asks.lock());
        for ask in asks {
            let takes = self.rng.between(MS / 10, 5 * MS);
            self.after(takes, "asked", move |world| world.answer(ask));
        }
    }

    fn refuses(&mut self) -> Option<SubstrateError> {
        (self.stormy && self.rng.hits(self.substrate.errors)).then(|| {
            self.count("substrate error");
            SubstrateError::Api { doing: "asked".into(), message: "unavailable".into() }
        })
    }

    fn answer(&mut self, ask: Ask) {
        if let Ask::Call(place, what, send) = ask {
            return self.pass_on(place, *what, send);
        }
        // An error comes before it was done, or behind it: the loop cannot know.
        let (before, after) = (self.refuses(), self.refuses());
        macro_rules! give {
            ($send:expr, $done:expr) => {{
                let answer = match before {
                    Some(error) => Err(error),
                    None => {
                        let done = $done;
                        after.map_or(Ok(done), Err)
                    }
                };
                let _ = $send.send(answer);
            }};
        }
        match ask {
            Ask::Look(send) => give!(send, self.look()),
            Ask::Mint(send) => give!(send, {
                let id = crate::place::uuid(&mut self.rng);
                self.substrate.cluster_id.get_or_insert(id);
            }),
            Ask::Keep(founding, replace, send) => give!(send, {
                if replace || self.substrate.founding.is_none() {
                    self.substrate.founding = Some(*founding.clone());
                }
                self.substrate.founding.clone().unwrap_or(*founding)
            }),
            Ask::NoteFounded(send) => give!(send, self.substrate.founded = true),
            Ask::Start(index, send) => give!(send, self.start_place(index as usize)),
            Ask::Restart(index, send) => give!(send, self.restart_place(index as usize)),
            Ask::Retire(index, send) => give!(send, self.retire_place(index as usize)),
            Ask::Call(..) => {}
        }
    }

    fn pass_on(&mut self, place: usize, what: AdminCall, send: oneshot::Sender<Result<AdminReply, AdminError>>) {
        let shared = self.shared();
        self.spawn(Owner::Outside, async move {
            let address = peer_address(place);
            let unreachable =
                |message: &str| AdminError::Unreachable { address: address.clone(), message: message.into() };
            let answer = match call(&shared, (OPERATOR, place), Call::Admin(what), CALL).await {
                Ok(Reply::Admin(reply)) => Ok(reply),
                Ok(_) => Err(unreachable("an answer to something else")),
                Err(Failed::NotSent) => Err(unreachable("connection refused")),
                Err(Failed::Lost) => Err(unreachable("no answer within 2 s")),
                Err(Failed::Refused(status)) => {
                    let code = tonic::Code::from_i32(status.code as i32);
                    use tonic::Code::{Cancelled, DeadlineExceeded, Unavailable, Unknown};
                    match code {
                        Unavailable | DeadlineExceeded | Cancelled | Unknown => Err(unreachable(&status.message)),
                        code => Err(AdminError::Refused { address: address.clone(), code, message: status.message }),
                    }
                }
            };
            let _ = send.send(answer);
        });
    }

    fn look(&mut self) -> Look {
        let place = |of: &crate::place::Place| {
            let running = of.process.is_some();
            let disk = match (running, &of.disk.identity) {
                (true, _) => Seen::Unknown("its node was not asked".into()),
                (false, Some(_)) => Seen::Unknown("its process does not run".into()),
                (false, None) => Seen::Fresh(Disk::Blank { uuid: None }),
            };
            PlannerPlace {
                index: of.index as u32,
                name: name(of.index),
                process: Seen::Fresh(if running { Process::Running } else { Process::Stopped }),
                disk,
                peer_address: Some(peer_address(of.index)),
                kv_address: Some(kv_address(of.index)),
                domains: Domains::default(),
                restart: of.restart.clone(),
                cordoned: false,
            }
        };
        Look {
            cluster_id: self.substrate.cluster_id.clone(),
            founded: self.substrate.founded,
            founding: self.substrate.founding.clone(),
            places: self.places.iter().filter(|of| of.exists).map(place).collect(),
            draining: self.substrate.draining.clone(),
            taken: self.places.iter().filter(|of| of.retired).map(|of| of.index as u32).collect(),
            kept: None,
            storage: Storage::default(),
            notes: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn start_place(&mut self, place: usize) -> Start {
        let Some(of) = self.places.get_mut(place).filter(|of| !of.retired) else {
            return Start::Later("there is no more room".into());
        };
        of.exists = true;
        if of.process.is_some() {
            return Start::Running;
        }
        self.start(place);
        Start::Started
    }

    fn restart_place(&mut self, place: usize) {
        self.count("restart by the operator");
        self.stop_gracefully(place, move |world| {
            world.places[place].restart = None;
            world.after(500 * MS, "start", move |world| world.start(place));
        });
    }

    fn retire_place(&mut self, place: usize) {
        let node = self.places[place].disk.identity.as_ref().map_or(0, |identity| identity.node_id);
        self.note(|| format!("place {place} is retired with node {node}"));
        self.count("retired place");
        self.check_retired(place, node);
        self.places[place].exists = false;
        self.places[place].retired = true;
        let wait = self.rng.between(0, 500) * MS;
        self.after(wait, "retire", move |world| world.crash(place, false));
    }

    /// Whether the last word of the loop is that all is as asked.
    pub fn is_ready(&self) -> bool {
        self.substrate.said.as_ref().is_some_and(|(phase, ..)| *phase == Phase::Ready)
    }
}
