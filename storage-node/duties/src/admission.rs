//! Whom this node talks to: a pure decision about who a sender says it is, given what is known of that node and the time.
//!
//! It must not know connections or addresses: an address proves nothing (HAZARDS H28).

use std::time::{Duration, Instant};

use granary_common::NodeId;
use granary_proto::raft::Sender;
use thiserror::Error;

/// While one incarnation of a node was heard from within this time, no other one of it is let in.
pub const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// Why a sender is not let in. Each message names what it claims and what is known here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Another cluster's node, or one of none.
    #[error("{node} is of cluster {theirs:?}, {own} here is of {ours:?}")]
    OtherCluster {
        /// The sender.
        node: NodeId,
        /// Its cluster id.
        theirs: String,
        /// This node.
        own: NodeId,
        /// This node's cluster id.
        ours: String,
    },
    /// The sender gives no id.
    #[error("sender.node_id is 0, allowed is the id of a member")]
    NoId,
    /// The sender has this node's id, and is not this process.
    #[error(
        "a copy of {own} is running: it has disk {their_uuid} and incarnation {their_incarnation}, this one has disk \
         {uuid} and incarnation {incarnation}"
    )]
    CopyOfOurselves {
        /// This node.
        own: NodeId,
        /// The sender's.
        their_uuid: String,
        /// The sender's.
        their_incarnation: u64,
        /// Ours.
        uuid: String,
        /// Ours.
        incarnation: u64,
    },
    /// The id belongs to another disk.
    #[error("{node} says that its disk is {theirs}, known is {known}")]
    OtherDisk {
        /// The sender.
        node: NodeId,
        /// What it says.
        theirs: String,
        /// What the map, or it itself earlier, said.
        known: String,
    },
    /// An earlier start of the node, or a restored disk.
    #[error("{node} says that its incarnation is {theirs}, but {highest} was seen: its disk is an old copy")]
    OldIncarnation {
        /// The sender.
        node: NodeId,
        /// What it says.
        theirs: u64,
        /// The highest seen.
        highest: u64,
    },
    /// Each start raises the incarnation, so a second process with the same one runs on a copy of the disk.
    #[error(
        "{node} speaks as two processes of incarnation {incarnation}: they run on copies of one disk; stop the one that \
         should not be, and start the other again"
    )]
    TwoProcesses {
        /// The sender.
        node: NodeId,
        /// Of both.
        incarnation: u64,
    },
    /// Another incarnation seems to live.
    #[error(
        "{node} says that its incarnation is {theirs}, but {living} was heard from {heard_ms} ms ago: two processes may \
         run on copies of one disk; try again when {living} was silent for 10 s"
    )]
    OtherLives {
        /// The sender.
        node: NodeId,
        /// What it says.
        theirs: u64,
        /// The one that was heard from.
        living: u64,
        /// How long ago, in ms.
        heard_ms: u128,
    },
    /// The sender meant another node.
    #[error("to_node_id is {meant}, but this is {own}: the address belongs to another node than meant")]
    NotMeant {
        /// Whom it meant.
        meant: NodeId,
        /// This node.
        own: NodeId,
    },
}

/// What admission knows of one other node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its disk, once it said so.
    pub uuid: Option<String>,
    /// Highest incarnation it spoke as, also before this node's start; 0: none.
    pub highest: u64,
    /// The incarnation last heard from, since this node's start.
    pub last: Option<Heard>,
}

/// When and how an incarnation was last heard from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which.
    pub incarnation: u64,
    /// Which process of it: there can be one only.
    pub process: u64,
    /// When.
    pub at: Instant,
    /// Message streams from it that are open here.
    pub streams: usize,
    /// It stopped on purpose.
    pub said_goodbye: bool,
    /// Its last connection broke, as when a process dies; unset when it is heard from again.
    pub connection_reset: bool,
}

impl Heard {
    fn lives(&self, now: Instant) -> bool {
        !self.said_goodbye && !self.connection_reset && now.saturating_duration_since(self.at) < HEARD_WITHIN
    }
}

/// Whether `claim` may be what it says. `map_uuid` is the disk that the cluster map has for that node; where it has one
/// it counts, else what the node said first.
///
/// # Errors
/// See [`Refusal`].
pub fn admit(
    own: &Sender,
    claim: &Sender,
    map_uuid: Option<&str>,
    standing: &Standing,
    now: Instant,
) -> Result<(), Refusal> {
    let (node, own_id) = (NodeId(claim.node_id), NodeId(own.node_id));
    if claim.cluster_id != own.cluster_id {
        let (theirs, ours) = (claim.cluster_id.clone(), own.cluster_id.clone());
        return Err(Refusal::OtherCluster { node, theirs, own: own_id, ours });
    }
    if claim.node_id == 0 {
        return Err(Refusal::NoId);
    }
    if node == own_id {
        if (&claim.uuid, claim.incarnation, claim.process) == (&own.uuid, own.incarnation, own.process) {
            return Ok(());
        }
        return Err(Refusal::CopyOfOurselves {
            own: own_id,
            their_uuid: claim.uuid.clone(),
            their_incarnation: claim.incarnation,
            uuid: own.uuid.clone(),
            incarnation: own.incarnation,
        });
    }
    if let Some(known) = map_uuid.or(standing.uuid.as_deref())
        && known != claim.uuid
    {
        return Err(Refusal::OtherDisk { node, theirs: claim.uuid.clone(), known: known.to_owned() });
    }
    if claim.incarnation < standing.highest {
        return Err(Refusal::OldIncarnation { node, theirs: claim.incarnation, highest: standing.highest });
    }
    match &standing.last {
        Some(last) if last.incarnation == claim.incarnation && last.process != claim.process => {
            Err(Refusal::TwoProcesses { node, incarnation: claim.incarnation })
        }
        Some(last) if last.incarnation != claim.incarnation && last.lives(now) => Err(Refusal::OtherLives {
            node,
            theirs: claim.incarnation,
            living: last.incarnation,
            heard_ms: now.saturating_duration_since(last.at).as_millis(),
        }),
        _ => Ok(()),
    }
}

impl Standing {
    /// Notes that an admitted sender was heard from. Says whether its incarnation is higher than any before, which must be
    /// put on disk.
    pub fn heard(&mut self, claim: &Sender, now: Instant) -> bool {
        self.uuid = Some(claim.uuid.clone());
        match &mut self.last {
            Some(last) if last.incarnation == claim.incarnation => {
                last.at = now;
                last.connection_reset = false;
            }
            last => {
                *last = Some(Heard {
                    incarnation: claim.incarnation,
                    process: claim.process,
                    at: now,
                    streams: 0,
                    said_goodbye: false,
                    connection_reset: false,
                });
            }
        }
        let higher = claim.incarnation > self.highest;
        self.highest = self.highest.max(claim.incarnation);
        higher
    }

    /// Notes a frame of an open stream. False: a later incarnation was let in, and this one must not speak any more.
    pub fn heard_again(&mut self, incarnation: u64, now: Instant) -> bool {
        match &mut self.last {
            Some(last) if last.incarnation == incarnation => {
                last.at = now;
                last.connection_reset = false;
                true
            }
            _ => false,
        }
    }

    /// Notes that a stream from this incarnation began.
    pub fn stream_began(&mut self, incarnation: u64) {
        if let Some(last) = self.of(incarnation) {
            last.streams += 1;
        }
    }

    /// Notes that a stream from this incarnation ended; `cut`: because its connection broke. The process counts as gone
    /// when its last stream was cut.
    pub fn stream_ended(&mut self, incarnation: u64, cut: bool) {
        if let Some(last) = self.of(incarnation) {
            last.streams = last.streams.saturating_sub(1);
            last.connection_reset |= cut && last.streams == 0;
        }
    }

    /// Notes that a connection from here to the node broke: as good a sign, where it has no stream open to here.
    pub fn connection_broke(&mut self) {
        if let Some(last) = &mut self.last {
            last.connection_reset |= last.streams == 0;
        }
    }

    /// Notes that this incarnation stops on purpose.
    pub fn said_goodbye(&mut self, incarnation: u64) {
        if let Some(last) = self.of(incarnation) {
            last.said_goodbye = true;
        }
    }

    fn of(&mut self, incarnation: u64) -> Option<&mut Heard> {
        self.last.as_mut().filter(|last| last.incarnation == incarnation)
    }
}
