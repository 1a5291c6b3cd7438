//! What both systems have: three members on this machine that can be driven, watched and hurt.

use granary_load::Target;

use crate::{error::Result, usage::Usage};

/// A member of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the system calls it.
    pub name: String,
    /// Its process.
    pub pid: u32,
}

/// A running system.
pub trait System {
    /// What drives it.
    type Target: Target;

    /// How tables call it.
    fn name(&self) -> &'static str;

    /// Targets with connections of their own.
    ///
    /// # Errors
    /// It cannot be reached.
    fn targets(&self, connections: u32) -> impl Future<Output = Result<Vec<Self::Target>>>;

    /// Its members.
    ///
    /// # Errors
    /// Not known.
    fn members(&self) -> Result<Vec<Member>>;

    /// Syncs of all members since each started.
    ///
    /// # Errors
    /// A member does not tell.
    fn syncs(&self) -> Result<f64>;

    /// The member that leads most.
    ///
    /// # Errors
    /// Nobody leads.
    fn leader(&self) -> impl Future<Output = Result<Member>>;

    /// Asks for another leader of everything that `leader` leads, and does not wait for it.
    ///
    /// # Errors
    /// It is refused.
    fn hand_over(&self, leader: &Member) -> impl Future<Output = Result<()>>;

    /// Waits until all members run, and nothing has to be caught up.
    ///
    /// # Errors
    /// It takes more than a minute.
    fn whole(&mut self) -> impl Future<Output = Result<()>>;

    /// What all members have used so far.
    ///
    /// # Errors
    /// As with the parts of it.
    fn usage(&self) -> Result<Usage> {
        let pids: Vec<u32> = self.members()?.iter().map(|member| member.pid).collect();
        Ok(Usage { syncs: self.syncs()?, ..Usage::of(&pids)? })
    }
}

/// The sum of all samples of these metrics, as a member's /metrics page tells them.
///
/// # Errors
/// The page cannot be had.
pub fn metrics(url: &str, names: &[&str]) -> Result<f64> {
    use crate::error::Doing as _;
    let page = ureq::get(url).call().doing(url)?.body_mut().read_to_string().doing(url)?;
    Ok(sum(&page, names))
}

fn sum(page: &str, names: &[&str]) -> f64 {
    let value = |line: &str| {
        let (sample, value) = line.rsplit_once(' ')?;
        let name = sample.split_once('{').map_or(sample, |(name, _)| name);
        names.contains(&name).then(|| value.parse::<f64>().ok())?
    };
    page.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_all_labels_are_added_and_other_names_are_not() {
        let page =
            "# HELP syncs_total x\nsyncs_total{store=\"raft\"} 5\nsyncs_total{store=\"data\"} 2\nsyncs_totals 9\n";
        assert_eq!(sum(page, &["syncs_total"]), 7.0);
        assert_eq!(sum(page, &["nothing"]), 0.0);
    }
}
