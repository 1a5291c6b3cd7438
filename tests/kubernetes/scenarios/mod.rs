//! The scenarios, in the order in which they run: a file a topic, each with its own list.

mod s01_install;
mod s02_scale_up;
mod s03_scale_down;
mod s04_mind_changed;
mod s05_killed_and_deleted_pods;
mod s06_disks_lost;
mod s07_machines_lost;
mod s08_drain;
mod s09_operator_killed;
mod s10_operator_away;
mod s11_rolling_changes;
mod s12_operator_upgraded;
mod s13_refused;
mod s14_applied_again;
mod s15_namespace_deleted;
mod s16_neighbours;
mod s17_rights;
mod s17_two_operators;
mod s18_hanging_node;
mod s19_unreachable_cluster;
mod s20_volumes;
mod s21_bad_input;
mod s22_idle;
mod s23_helm;

use futures::future::BoxFuture;

use crate::{failure::Result, figures::Figures, scene::Scene};

/// One scenario.
pub struct Scenario {
    /// Begins with its number, two digits and perhaps a letter, and an underscore: namespaces are named by it.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub says: &'static str,
    /// Gives what it measured. `run: |scene| Box::pin(my_function(scene))`.
    pub run: for<'a> fn(&'a Scene) -> BoxFuture<'a, Result<Figures>>,
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    let files = [
        s01_install::SCENARIOS,
        s02_scale_up::SCENARIOS,
        s03_scale_down::SCENARIOS,
        s04_mind_changed::SCENARIOS,
        s05_killed_and_deleted_pods::SCENARIOS,
        s06_disks_lost::SCENARIOS,
        s07_machines_lost::SCENARIOS,
        s08_drain::SCENARIOS,
        s09_operator_killed::SCENARIOS,
        s10_operator_away::SCENARIOS,
        s11_rolling_changes::SCENARIOS,
        s12_operator_upgraded::SCENARIOS,
        s13_refused::SCENARIOS,
        s14_applied_again::SCENARIOS,
        s15_namespace_deleted::SCENARIOS,
        s16_neighbours::SCENARIOS,
        s17_rights::SCENARIOS,
        s17_two_operators::SCENARIOS,
        s18_hanging_node::SCENARIOS,
        s19_unreachable_cluster::SCENARIOS,
        s20_volumes::SCENARIOS,
        s21_bad_input::SCENARIOS,
        s22_idle::SCENARIOS,
        s23_helm::SCENARIOS,
    ];
    files.into_iter().flatten()
}
