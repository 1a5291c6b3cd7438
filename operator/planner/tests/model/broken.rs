//! Errors put in on purpose: in what the planner is shown, in what it answers, or in what the nodes and substrates refuse.
//! A checker that does not find them finds nothing. The product's code is not touched.

use granary_planner::{
    Observed, Plan,
    observed::{Role, Seen},
    plan::{PlannedStep, Step},
};

use crate::bounds::{self, Bounds};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    Nothing,
    /// A shard that nobody has heard of is taken for absent.
    UnknownIsAbsent,
    /// The same, and the nodes remove whatever they are asked to.
    UnknownIsAbsentUnguarded,
    /// Voters are taken out without counting those that are not heard, by the planner and by the nodes.
    UnheardCount,
    /// The planner counts voters that are not heard, and the nodes reserve any stop.
    StopsUnguarded,
    /// A disk is given up in the plan that begins its drain.
    ClaimBeforeDrain,
    /// All processes that shall be started anew go at once.
    RestartsTogether,
    /// That a cluster was founded is forgotten.
    FoundingForgotten,
    /// A new leader of the meta shard counts everybody as heard.
    NewLeadersHeardAll,
    /// A settled cluster's leaders are moved all the same.
    LeadersGoRound,
    /// The meta shard is never moved.
    MetaStays,
    /// The meta shard gives a removed node's id to another one.
    IdsComeBack,
    /// An overtaken operator does not ask whether it still is the one before it takes something away.
    Unconfirmed,
    /// A process that has come up since it was seen starting is sent away all the same.
    ComingUpUnchecked,
    /// What is kept of a founding is replaced, whatever it is by now.
    FoundingReplaced,
    /// That a node was admitted, and did not hear it, is forgotten.
    AdmissionForgotten,
    /// A founder gets what was kept once, whatever is kept by now.
    FoundingNotReadAgain,
}

impl Broken {
    pub fn tamper_view(self, seen: &mut Observed) {
        if self == Self::FoundingForgotten && seen.cluster.fresh().is_none() {
            seen.founded = false;
        }
        let Seen::Fresh(cluster) = &mut seen.cluster else { return };
        match self {
            Self::UnknownIsAbsent | Self::UnknownIsAbsentUnguarded => cluster.shards.retain(|shard| shard.fresh),
            Self::UnheardCount | Self::StopsUnguarded => {
                if self == Self::StopsUnguarded {
                    cluster.nodes.iter_mut().for_each(|node| (node.heard, node.silent_for_ms) = (true, 0));
                }
                let replicas = cluster.shards.iter_mut().flat_map(|shard| &mut shard.replicas);
                replicas.filter(|replica| replica.role != Role::Learner).for_each(|replica| replica.caught_up = true);
            }
            Self::AdmissionForgotten => cluster.nodes.iter_mut().for_each(|node| node.uuid.clear()),
            Self::NewLeadersHeardAll => cluster.nodes.iter_mut().for_each(|node| node.heard = true),
            _ => {}
        }
    }

    pub fn tamper_plan(self, seen: &Observed, plan: &mut Plan) {
        let with = |step: Step| PlannedStep { reversible: step.is_reversible(), step, reason: "broken".to_owned() };
        match self {
            Self::ClaimBeforeDrain => {
                let drained = plan.steps.iter().find_map(|planned| match planned.step {
                    Step::Drain { node } => seen.cluster.fresh()?.nodes.iter().find(|other| other.id == node),
                    _ => None,
                });
                let place = drained.and_then(|node| seen.places.iter().find(|place| place.name == node.name));
                plan.steps.extend(place.map(|place| with(Step::RetirePlace { index: place.index })));
            }
            Self::RestartsTogether => {
                let asked = seen.places.iter().filter(|place| place.restart.is_some());
                plan.steps.extend(asked.map(|place| with(Step::RestartPlace { index: place.index })));
            }
            Self::LeadersGoRound if plan.is_settled() => {
                let shard = seen.cluster.fresh().and_then(|cluster| cluster.shards.get(1));
                let other = shard.and_then(|shard| shard.replicas.iter().find(|r| Some(r.node) != shard.leader));
                let transfer = |to: u64| with(Step::TransferLeaders { transfers: vec![(1, to)] });
                plan.steps.extend(other.map(|replica| transfer(replica.node)));
            }
            Self::MetaStays => {
                for planned in &mut plan.steps {
                    if let Step::Reconfigure { moves } = &mut planned.step {
                        moves.retain(|change| change.shard != 0);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether the linter has its say: it would refuse most of these before the world sees them.
    pub fn is_linted(self) -> bool {
        self == Self::Nothing
    }

    pub fn walks_over_the_unheard(self) -> bool {
        self == Self::UnheardCount
    }
}

/// Each with the world in which it shows, and what is said of it.
pub fn all() -> Vec<(Bounds, &'static str)> {
    use Broken::*;
    let of = |broken: Broken, name: &str, says: &'static str| {
        let all = bounds::large();
        let bounds = all.into_iter().find(|bounds| bounds.name == name).unwrap_or_else(|| panic!("no bounds {name}"));
        (Bounds { broken, ..bounds }, says)
    };
    vec![
        of(UnknownIsAbsent, "scaling and faults", "the nodes refuse Remove"),
        of(UnknownIsAbsentUnguarded, "scaling and faults", "which is no member"),
        of(UnheardCount, "moves and cuts", "keeps too few copies"),
        of(StopsUnguarded, "restarts and cuts", "loses its quorum"),
        of(ClaimBeforeDrain, "scaling, 3 copies", "a member, is given up"),
        of(RestartsTogether, "restarts", "loses its quorum"),
        of(FoundingForgotten, "faults, 1 copy", "a cluster that held data is founded anew"),
        of(NewLeadersHeardAll, "two faults", "while node 1 is not heard"),
        of(LeadersGoRound, "scaling, 3 copies", "round in circles"),
        of(MetaStays, "scaling and faults", "nothing happens any more"),
        of(IdsComeBack, "drains", "given out a second time"),
        of(Unconfirmed, "drains", "a member, is given up"),
        of(ComingUpUnchecked, "restarts and faults", "loses its quorum"),
        of(AdmissionForgotten, "faults", "nothing happens any more"),
        of(FoundingReplaced, "founding, 3 copies", "different contents of Bootstrap"),
        of(FoundingNotReadAgain, "founding, 3 copies", "different contents of Bootstrap"),
    ]
}
