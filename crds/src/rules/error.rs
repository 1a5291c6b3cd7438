//! What is said of a field that does not hold what it may.

use std::fmt;

/// A field that does not hold what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path, such as `spec.replicas`.
    pub field: String,
    /// What it holds.
    pub value: String,
    /// What it may hold.
    pub allowed: String,
    /// All three in one sentence.
    pub message: String,
}

impl FieldError {
    /// An error with the message that all of them have.
    pub fn new(field: impl Into<String>, value: impl Into<String>, allowed: impl Into<String>) -> Self {
        let (field, value, allowed) = (field.into(), value.into(), allowed.into());
        let message = format!("{field} is {value}, allowed: {allowed}");
        Self { field, value, allowed, message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
