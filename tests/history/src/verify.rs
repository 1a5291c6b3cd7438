//! What a test calls at its end: all that can be said of a history, and when it is not good, a file to look at again.

use std::{
    fmt::{Display, Formatter},
    path::{Path, PathBuf},
};

use crate::{
    check::{Budget, check},
    file::FileError,
    finals::{Finals, final_reads},
    history::{History, InvalidHistory},
    verdict::{Report, Verdict},
};

/// What was found of a history that is good.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Every key is linearizable.
    pub report: Report,
    /// Nothing is lost or done twice, as far as keys were read at the end: see [`Finals::unread`].
    pub finals: Finals,
}

/// Why a history is not good.
#[derive(Debug, thiserror::Error)]
pub enum NotGood {
    /// It is no history, by an error of who recorded it. It was not saved.
    #[error(transparent)]
    Invalid(#[from] InvalidHistory),
    /// A key is not linearizable, or that was not decided, or something is lost or was done twice.
    #[error("{0}")]
    Refused(Box<Refused>),
}

/// A history that was refused.
#[derive(Debug)]
pub struct Refused {
    /// The seed of the run.
    pub seed: u64,
    /// The command that replays it.
    pub replay: String,
    /// What the check of linearizability says.
    pub report: Report,
    /// What the last reads say.
    pub finals: Finals,
    /// Where the history is; or why it could not be saved.
    pub saved: Result<PathBuf, FileError>,
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}; replay: {}", self.seed, self.replay)?;
        match &self.saved {
            Ok(path) => writeln!(f, "the history is in {}", path.display())?,
            Err(error) => writeln!(f, "the history could not be saved: {error}")?,
        }
        write!(f, "{}", self.report)?;
        writeln!(f, "last reads: {} acknowledged writes lost, {} done twice", self.finals.lost, self.finals.doubled)?;
        self.finals.violations.iter().try_for_each(|violation| write!(f, "{violation}"))
    }
}

/// Checks that every key is linearizable, and that the last reads lack nothing and show nothing twice. A history that is
/// not good, or of which that could not be decided, is saved to `save_to`; folders are made.
///
/// # Errors
/// When it is not surely good. The text says how to replay the run, where the history is, and what is wrong.
pub fn verify(history: &History, budget: Budget, save_to: &Path) -> Result<Verified, NotGood> {
    let report = check(history, budget)?;
    let finals = final_reads(history)?;
    if report.verdict() == Verdict::Linearizable && finals.lost == 0 && finals.doubled == 0 {
        return Ok(Verified { report, finals });
    }
    let saved = match save_to.parent().map_or(Ok(()), std::fs::create_dir_all) {
        Ok(()) => history.save(save_to).map(|()| save_to.to_owned()),
        Err(error) => Err(error.into()),
    };
    let (seed, replay) = (history.origin.seed, history.origin.replay.clone());
    Err(NotGood::Refused(Box::new(Refused { seed, replay, report, finals, saved })))
}
