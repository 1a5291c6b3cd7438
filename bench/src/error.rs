//! What can go wrong, in words: everything here ends the run and is read by a person.

/// What went wrong, with its cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BenchError(pub String);

/// What a part of the benchmark gives.
pub type Result<T> = std::result::Result<T, BenchError>;

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// Adds `what`, in the gerund.
    ///
    /// # Errors
    /// The same failure, with `what` before it.
    fn doing(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: std::fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| BenchError(format!("{what}: {error}")))
    }
}
