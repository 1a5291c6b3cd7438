//! What the leader of the meta shard hears, decides and answers, and what every node tells it.
//!
//! ```text
//!   reporter (every node) ──report──► MetaLead ──► View ──► guard      may this node stop, be removed?
//!                                        │          └─────► proposer   what groups said, as an entry
//!   map (every node) ◄──────push─────────┘
//! ```
//! `view`, `guard` and what is news are pure, and in the crate `duties`. It must not know what an entry of the meta shard does (that is the machine's), and no
//! data read, write or election waits for it.

mod away;
mod lead;
mod proposer;
mod pusher;
mod reach;
mod reporter;

use granary_duties::news;
pub use granary_duties::{guard, view};

pub use lead::{LEADER_HINT, MetaLead};
pub(crate) use lead::{done, refusal};
pub(crate) use reach::{connect_peer, hinted, is_address};
