//! The planner: `plan(&Desired, &Observed) -> Plan`, the one place where Granary decides what to do.
//!
//! ```text
//! Desired (what is asked) ─┐
//!                          ├─► plan ─► Plan { steps, waiting }   ─► check (lints any plan)
//! Observed (what was seen) ┘
//! ```
//!
//! Pure: std, serde and thiserror. It knows neither Kubernetes nor gRPC nor processes, has no clock and no randomness.
//! The Kubernetes controller, local mode, `granary plan` and the simulation all call it.

pub mod desired;
pub mod observed;
pub mod plan;
