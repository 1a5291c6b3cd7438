//! Which stream of a lane speaks: the newest one, and only when the one before it has stopped, so that messages stay in
//! order when a peer connects anew.

use std::{collections::HashMap, sync::Arc};

use granary_common::NodeId;
use granary_proto::raft::Lane;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

/// The streams of all peers. Holds one record a peer and lane.
#[derive(Default)]
pub(crate) struct Turns {
    lanes: Mutex<HashMap<(NodeId, Lane), Newest>>,
}

struct Newest {
    /// Incarnation of the sender, and the number it gave the stream.
    age: (u64, u64),
    stop: CancellationToken,
    speaking: Arc<AsyncMutex<()>>,
}

/// The leave to speak, until it is dropped. The holder stops as soon as [`Turn::over`] returns.
pub(crate) struct Turn {
    stop: CancellationToken,
    _speaking: OwnedMutexGuard<()>,
}

/// Age of the stream that is newer: its sender's incarnation and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded(pub(crate) u64, pub(crate) u64);

impl Turns {
    /// Stops the stream before this one, waits until it has stopped, and gives the turn to this one.
    ///
    /// # Errors
    /// [`Superseded`] when a newer stream of the lane came, before this one or while it waited.
    pub(crate) async fn take(&self, node: NodeId, lane: Lane, age: (u64, u64)) -> Result<Turn, Superseded> {
        let stop = CancellationToken::new();
        let speaking = {
            let mut lanes = self.lanes.lock();
            let speaking = match lanes.get(&(node, lane)) {
                Some(newest) if newest.age >= age => return Err(Superseded(newest.age.0, newest.age.1)),
                Some(older) => {
                    older.stop.cancel();
                    older.speaking.clone()
                }
                None => Arc::default(),
            };
            lanes.insert((node, lane), Newest { age, stop: stop.clone(), speaking: speaking.clone() });
            speaking
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                let newest = self.lanes.lock().get(&(node, lane)).map_or(age, |newest| newest.age);
                Err(Superseded(newest.0, newest.1))
            }
            guard = speaking.lock_owned() => Ok(Turn { stop, _speaking: guard }),
        }
    }
}

impl Turn {
    /// Returns when a newer stream wants to speak.
    pub(crate) async fn over(&self) {
        self.stop.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LANE: Lane = Lane::Appends;

    #[tokio::test]
    async fn a_newer_stream_waits_until_the_older_has_stopped() {
        let turns = Turns::default();
        let old = turns.take(NodeId(2), LANE, (1, 1)).await.ok().unwrap();
        let mut new = Box::pin(turns.take(NodeId(2), LANE, (1, 2)));
        assert!(new.as_mut().now_or_never().is_none(), "the old one still speaks");
        old.over().await;
        drop(old);
        assert!(new.await.is_ok());
    }

    #[tokio::test]
    async fn a_stream_that_comes_behind_a_newer_one_is_refused() {
        let turns = Turns::default();
        let _turn = turns.take(NodeId(2), LANE, (1, 2)).await.ok().unwrap();
        assert_eq!(turns.take(NodeId(2), LANE, (1, 2)).await.err(), Some(Superseded(1, 2)));
        assert_eq!(turns.take(NodeId(2), LANE, (1, 1)).await.err(), Some(Superseded(1, 2)));
        assert!(turns.take(NodeId(2), Lane::Heartbeats, (1, 1)).await.is_ok(), "another lane");
        assert!(turns.take(NodeId(3), LANE, (1, 1)).await.is_ok(), "another node");
    }

    #[tokio::test]
    async fn a_waiting_stream_gives_way_to_a_newer_one() {
        let turns = Turns::default();
        let _speaking = turns.take(NodeId(2), LANE, (1, 1)).await.ok().unwrap();
        let mut waiting = Box::pin(turns.take(NodeId(2), LANE, (1, 2)));
        assert!(waiting.as_mut().now_or_never().is_none());
        let mut newest = Box::pin(turns.take(NodeId(2), LANE, (2, 1)));
        assert!(newest.as_mut().now_or_never().is_none());
        assert_eq!(waiting.await.err(), Some(Superseded(2, 1)));
    }
}
