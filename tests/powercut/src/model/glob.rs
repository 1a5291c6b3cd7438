//! Patterns of paths, for rules and classes. Paths are relative to the mount and have no leading slash; the root is "".

use std::{convert::Infallible, fmt, str::FromStr};

/// `*`: any part of one name; `**`: anything, also over slashes (`**/` also nothing); `?`: one character of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// A pattern; every text is one.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// The pattern that every path matches.
    pub fn any() -> Self {
        Self::new("**")
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        matches(self.0.as_bytes(), path.as_bytes())
    }
}

impl FromStr for Glob {
    type Err = Infallible;

    fn from_str(pattern: &str) -> Result<Self, Infallible> {
        Ok(Self::new(pattern))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tries every way. Patterns are a few characters, written by hand.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            let below = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            matches(rest, path) || below.into_iter().any(|(at, _)| matches(rest, &path[at + 1..]))
        }
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|at| matches(rest, &path[at..])),
        [b'*', rest @ ..] => {
            let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=end).any(|at| matches(rest, &path[at..]))
        }
        [b'?', rest @ ..] => path.first().is_some_and(|byte| *byte != b'/') && matches(rest, &path[1..]),
        [byte, rest @ ..] => path.first() == Some(byte) && matches(rest, &path[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_they_say() {
        let table = [
            ("**", "", true),
            ("**", "a/b/c", true),
            ("*", "a", true),
            ("*", "a/b", false),
            ("raft/*.log", "raft/000012.log", true),
            ("raft/*.log", "raft/old/000012.log", false),
            ("raft/*.log", "raft/000012.sst", false),
            ("**/*.sst", "x.sst", true),
            ("**/*.sst", "data/x.sst", true),
            ("**/*.sst", "a/b/x.sst", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, path, matches) in table {
            assert_eq!(Glob::new(pattern).matches(path), matches, "{pattern:?} and {path:?}");
        }
    }
}
