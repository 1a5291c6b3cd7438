//! The node as a whole: blank until it is founded or joins, then a member for life.

use std::sync::{Arc, OnceLock};

use crate::{member::Member, options::Options};

/// What the services hold: they serve a blank node too.
pub struct Node {
    /// As given at start.
    pub options: Arc<Options>,
    /// Random UUID of this disk.
    pub uuid: String,
    member: OnceLock<Arc<Member>>,
}

impl Node {
    /// The member, once the node is one.
    pub fn member(&self) -> Option<&Arc<Member>> {
        self.member.get()
    }
}
