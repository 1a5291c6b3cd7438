//! The storage node: one process with its own disk.
//!
//! ```text
//!   grpc, http ──► admin, meta ──► drivers ──► store (pure), engine (disk)
//!   transport  ──────────────────►
//! ```
//! Dependencies point to the right only. `node` wires everything and is the one module that knows everyone.

pub mod admin;
pub mod drivers;
pub mod exit;
pub mod grpc;
pub mod http;
pub mod map;
pub mod member;
pub mod meta;
pub mod node;
pub mod options;
pub mod pace;
mod rhythm;
pub mod scrub;
pub mod space;
pub mod telemetry;
pub mod transport;
