//! The planner: `plan(&Desired, &Observed) -> Plan`, the one place where Granary decides what to do.
//!
//! ```text
//! Desired (what is asked) ─┐
//!                          ├─► plan ─► Plan { steps, waiting, degraded }   ─► check (lints any plan)
//! Observed (what was seen) ┘
//! ```
//!
//! Pure: std, serde and thiserror. It knows neither Kubernetes nor gRPC nor processes, has no clock and no randomness.
//! The Kubernetes controller, local mode, `granary plan` and the simulation all call it.

mod balance;
mod bootstrap;
pub mod check;
pub mod desired;
mod drain;
mod even;
mod leaders;
pub mod observed;
mod placement;
pub mod plan;
mod render;
mod repair;
mod restart;
pub mod safety;
mod scale;
mod standing;
mod view;
mod way;

pub use balance::MAX_MOVES_IN_FLIGHT;
pub use desired::Desired;
pub use leaders::MAX_TRANSFERS;
pub use observed::Observed;
pub use plan::Plan;

use plan::WaitingReason;
use view::View;

/// Decides what to do next. The same arguments always give the same plan; a settled world gives an empty one.
///
/// This function knows the order and nothing else: found, repair, decide who stays, place, lead, let go, start anew.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    if desired.paused {
        plan.wait(WaitingReason::Paused, "spec.paused is set: nothing is changed".to_owned());
        return plan;
    }
    let cluster = bootstrap::until_it_answers(desired, observed, &mut plan);
    restart::starting(observed, &mut plan);
    let Some(cluster) = cluster else { return plan };
    let view = View::new(desired, observed, cluster);
    restart::release(&view, &mut plan);
    repair::plan(&view, &mut plan);
    scale::plan(&view, &mut plan);
    bootstrap::create_shards(&view, &mut plan);
    balance::replicas(&view, &mut plan);
    leaders::plan(&view, &mut plan);
    drain::let_go(&view, &mut plan);
    restart::roll(&view, &mut plan);
    plan
}
