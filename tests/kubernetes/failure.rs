//! Why a scenario failed. Any error becomes one by `?`; `assert!` does as well.

use std::error::Error;

/// Why a scenario failed, for a person.
#[derive(Debug)]
pub struct Failure(pub String);

pub type Result<T> = std::result::Result<T, Failure>;

// Failure itself is no Error, so that this can stand.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            next = cause.source();
        }
        Self(text)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ends a scenario with these words.
pub fn failed<T>(words: impl Into<String>) -> Result<T> {
    Err(Failure(words.into()))
}
