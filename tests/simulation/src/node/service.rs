//! Calls between processes: a request and an answer over the network, either of which may be lost.

use std::future::Future;

use futures::channel::oneshot;
use granary_machine::errors::code;
use granary_proto::{
    map::ClusterMap,
    raft::{JoinClusterRequest, JoinClusterResponse, PushMapRequest, ReportRequest, ReportResponse},
};

use super::{AdminCall, AdminReply, KvReply, KvRequest};
use crate::{
    network::{Fate, Host},
    tasks::Owner,
    world::{Shared, World, within},
};

/// A refusal, as gRPC has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// See [`code`].
    pub code: u32,
    /// Words.
    pub message: String,
    /// The place of the node that leads the meta shard.
    pub leader: Option<usize>,
}

impl Status {
    /// A refusal.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), leader: None }
    }

    /// "Not here or not now; try again."
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(code::UNAVAILABLE, message)
    }

    /// "Not in the present state of things."
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(code::FAILED_PRECONDITION, message)
    }
}

/// What a process is asked.
#[derive(Clone, Debug)]
pub enum Call {
    /// A node's report to the meta shard's leader.
    Report(Box<ReportRequest>),
    /// A newer map.
    PushMap(Box<PushMapRequest>),
    /// A blank node wants an id.
    Join(Box<JoinClusterRequest>),
    /// Of the Admin API.
    Admin(AdminCall),
    /// Of the data API.
    Kv(KvRequest),
    /// The newest map, for a client.
    Map,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To Report.
    Report(Box<ReportResponse>),
    /// To PushMap.
    Pushed,
    /// To Join.
    Join(Box<JoinClusterResponse>),
    /// To Admin.
    Admin(AdminReply),
    /// To Kv.
    Kv(KvReply),
    /// To Map.
    Map(std::rc::Rc<ClusterMap>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It reached nobody.
    NotSent,
    /// It may have reached the other side.
    Lost,
    /// The other side said no.
    Refused(Status),
}

type Answer = Result<Reply, Status>;

/// Asks the process at `to`, and waits for its answer up to `limit_ns`.
pub async fn call(world: &Shared, (from, to): (Host, usize), what: Call, limit_ns: u64) -> Result<Reply, Failed> {
    let (answer, heard) = oneshot::channel::<Result<Answer, Failed>>();
    world.borrow_mut().send_call(from, to, what, limit_ns, answer);
    match within(world, limit_ns, heard).await {
        Some(Ok(Ok(Ok(reply)))) => Ok(reply),
        Some(Ok(Ok(Err(status)))) => Err(Failed::Refused(status)),
        Some(Ok(Err(failed))) => Err(failed),
        Some(Err(_)) | None => Err(Failed::Lost),
    }
}

impl World {
    fn send_call(
        &mut self,
        from: Host,
        to: usize,
        what: Call,
        limit_ns: u64,
        answer: oneshot::Sender<Result<Answer, Failed>>,
    ) {
        let at = match self.network.send(&mut self.rng, self.now, (from, to, 2)) {
            Fate::Lost => return self.after(limit_ns, "forget", move |_| drop(answer)),
            Fate::Arrives(times) => times[0].saturating_sub(self.now),
        };
        let arrives = move |world: &mut World| world.take_call(from, to, what, limit_ns, answer);
        match self.process(to).map(|process| process.epoch) {
            // A connection to a process that has ended by then breaks: the sender is dropped.
            Some(epoch) => self.after_in((to, epoch), at, "call", arrives),
            None => self.after(at, "call", arrives),
        }
    }

    fn take_call(
        &mut self,
        from: Host,
        to: usize,
        what: Call,
        limit_ns: u64,
        answer: oneshot::Sender<Result<Answer, Failed>>,
    ) {
        if !self.network.passes(from, to) {
            return self.after(limit_ns, "forget", move |_| drop(answer));
        }
        let Some(epoch) = self.process(to).map(|process| process.epoch) else {
            if self.network.passes(to, from) {
                let _ = answer.send(Err(Failed::NotSent));
            }
            return;
        };
        let shared = self.shared();
        self.spawn(Owner::Process { place: to, epoch }, async move {
            let done = serve(&shared, to, what).await;
            let mut world = shared.borrow_mut();
            let now = world.now;
            let fate = {
                let world = &mut *world;
                world.network.send(&mut world.rng, now, (to, from, 2))
            };
            match fate {
                Fate::Lost => {
                    world.count("lost answer");
                    world.after(limit_ns, "forget", move |_| drop(answer));
                }
                Fate::Arrives(times) => {
                    let at = times[0].saturating_sub(now);
                    world.after(at, "answer", move |world| {
                        if world.network.passes(to, from) {
                            let _ = answer.send(Ok(done));
                        } else {
                            world.after(limit_ns, "forget", move |_| drop(answer));
                        }
                    });
                }
            }
        });
    }
}

fn serve(world: &Shared, place: usize, what: Call) -> std::pin::Pin<Box<dyn Future<Output = Answer>>> {
    let world = world.clone();
    Box::pin(async move {
        match what {
            Call::Report(request) => {
                super::meta::report(&world, place, *request).map(|answer| Reply::Report(Box::new(answer)))
            }
            Call::PushMap(request) => super::meta::pushed(&world, place, *request).map(|()| Reply::Pushed),
            Call::Join(request) => {
                super::meta::join_cluster(&world, place, *request).await.map(|answer| Reply::Join(Box::new(answer)))
            }
            Call::Admin(call) => super::admin::serve(&world, place, call).await.map(Reply::Admin),
            Call::Kv(request) => Ok(Reply::Kv(super::data::serve(&world, place, request).await)),
            Call::Map => {
                let world = world.borrow();
                let member = world.member(place).ok_or_else(|| Status::unavailable("this node is blank"))?;
                Ok(Reply::Map(member.map.clone()))
            }
        }
    })
}
