//! How durable names are written down: lines of text, a batch ended by `=`. What follows the last `=` never happened.
//!
//! `+ DIRECTORY KIND ID NAME` gives a name its meaning, `- DIRECTORY NAME` takes the name away. A byte of a name that is
//! no letter, digit, `.`, `-` or `_` is written as `%` and two hexadecimal digits.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use super::tree::{Change, Entry, Kind};

/// A line that is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the names is not understood: {text:?}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

/// One batch.
pub fn encode<'a>(changes: impl IntoIterator<Item = &'a Change>) -> String {
    let mut text = String::new();
    for change in changes {
        let name = escape(&change.name);
        let _ = match change.entry {
            Some(Entry { id, kind }) => {
                let kind = if kind == Kind::File { 'f' } else { 'd' };
                writeln!(text, "+ {} {kind} {id} {name}", change.directory)
            }
            None => writeln!(text, "- {} {name}", change.directory),
        };
    }
    text.push_str("=\n");
    text
}

/// Changes of all whole batches.
///
/// # Errors
/// A line of a whole batch that is not understood.
pub fn decode(text: &str) -> Result<Vec<Change>, BadLine> {
    let whole = text.rfind("=\n").map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate().filter(|(_, line)| *line != "=");
    lines.map(|(at, line)| parse(line).ok_or_else(|| BadLine { line: at + 1, text: line.to_owned() })).collect()
}

fn parse(line: &str) -> Option<Change> {
    let fields: Vec<_> = line.split(' ').collect();
    match *fields.as_slice() {
        ["+", directory, kind, id, name] => {
            let kind = match kind {
                "f" => Kind::File,
                "d" => Kind::Directory,
                _ => return None,
            };
            let entry = Some(Entry { id: id.parse().ok()?, kind });
            Some(Change { directory: directory.parse().ok()?, name: unescape(name)?, entry })
        }
        ["-", directory, name] => {
            Some(Change { directory: directory.parse().ok()?, name: unescape(name)?, entry: None })
        }
        _ => None,
    }
}

fn escape(name: &OsStr) -> String {
    let mut text = String::new();
    for byte in name.as_bytes() {
        if byte.is_ascii_alphanumeric() || b".-_".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<OsString> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
        }
    }
    Some(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            changes in prop::collection::vec(
                (1u64.., prop::collection::vec(1u8.., 1..20), prop::option::of((1u64.., prop::bool::ANY))), 0..10),
        ) {
            let changes: Vec<_> = changes.into_iter().map(|(directory, name, entry)| Change {
                directory,
                name: OsString::from_vec(name),
                entry: entry.map(|(id, file)| Entry { id, kind: if file { Kind::File } else { Kind::Directory } }),
            }).collect();
            prop_assert_eq!(decode(&encode(&changes)), Ok(changes));
        }
    }

    #[test]
    fn a_batch_that_was_cut_off_never_happened() {
        let change = Change { directory: 1, name: "a".into(), entry: None };
        let text = encode([&change]) + "+ 1 f 7 b\n";
        assert_eq!(decode(&text), Ok(vec![change]));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["* 1 a", "+ 1 x 7 a", "+ 1 f seven a", "- 1 a b", "- 1 %g0", "- 1 %a"] {
            let refused = decode(&format!("{line}\n=\n"));
            assert_eq!(refused, Err(BadLine { line: 1, text: line.to_owned() }));
        }
    }
}
