//! The operator: observe, plan, apply, report, over a [`substrate`] that runs nodes.
//!
//! ```text
//! spec file ─► Desired ─┐
//! substrate ─┐          ├─► granary_planner::plan ─► apply ─► substrate, nodes
//! nodes ─────┴► Observed┘                       └──► report ─► status
//! ```
//!
//! [`reconcile`] is the only file that knows all of these; none of the others knows a second one's inside.

pub mod apply;
pub mod care;
pub mod clock;
pub mod controller;
mod crash;
pub mod desired;
pub mod local_loop;
pub mod node_admin;
pub mod observe;
pub mod reconcile;
pub mod report;
pub mod spec_file;
pub mod substrate;
