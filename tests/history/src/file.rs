//! Histories as files: JSON lines. The first line says how to replay the run and how many operations follow, so that a
//! file that was cut short is refused.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{History, history::Origin, operation::Operation};

/// Number of the format; it changes when older files can no longer be read.
const FORMAT: u32 = 1;
/// Longest line that is read, in bytes: room for a list of about a million elements.
const LONGEST_LINE: u64 = 16 << 20;

/// Why a history could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file could not be written or read.
    #[error("history file: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("history file, line {line}: {source}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file was written in a format of another number.
    #[error("history file: format {found}, but only format {FORMAT} can be read")]
    Format {
        /// The number in the file.
        found: u32,
    },
    /// There are fewer or more operations than the first line says.
    #[error("history file: {found} operations, but the first line says {expected}")]
    Count {
        /// As the first line says.
        expected: usize,
        /// What was found.
        found: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct FirstLine {
    format: u32,
    #[serde(flatten)]
    origin: Origin,
    operations: usize,
}

impl History {
    /// Writes it to a new file, or over an old one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), FileError> {
        let mut file = BufWriter::new(File::create(path)?);
        self.write_to(&mut file)?;
        file.flush()?;
        Ok(())
    }

    /// Writes it as JSON lines.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_to(&self, mut to: impl Write) -> Result<(), FileError> {
        let first = FirstLine { format: FORMAT, origin: self.origin.clone(), operations: self.operations.len() };
        let mut line = |line: usize, text: serde_json::Result<String>| {
            writeln!(to, "{}", text.map_err(|source| FileError::Line { line, source })?).map_err(FileError::Io)
        };
        line(1, serde_json::to_string(&first))?;
        for (index, operation) in self.operations.iter().enumerate() {
            line(index + 2, serde_json::to_string(operation))?;
        }
        Ok(())
    }

    /// Reads what [`History::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, is of another format, was cut short, or a line is not an operation.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FileError> {
        Self::read_from(BufReader::new(File::open(path)?))
    }

    /// Reads JSON lines.
    ///
    /// # Errors
    /// As [`History::load`].
    pub fn read_from(mut from: impl BufRead) -> Result<Self, FileError> {
        let first: FirstLine = parse(1, &next_line(&mut from)?)?;
        if first.format != FORMAT {
            return Err(FileError::Format { found: first.format });
        }
        let mut operations: Vec<Operation> = Vec::new();
        loop {
            let line = next_line(&mut from)?;
            if line.is_empty() {
                break;
            }
            operations.push(parse(operations.len() + 2, &line)?);
        }
        if operations.len() != first.operations {
            return Err(FileError::Count { expected: first.operations, found: operations.len() });
        }
        Ok(Self { origin: first.origin, operations })
    }
}

/// One line with its end; empty at the end of the file.
fn next_line(from: &mut impl BufRead) -> Result<String, FileError> {
    let mut line = String::new();
    std::io::Read::take(from, LONGEST_LINE).read_line(&mut line)?;
    Ok(line)
}

fn parse<T: serde::de::DeserializeOwned>(line: usize, text: &str) -> Result<T, FileError> {
    serde_json::from_str(text).map_err(|source| FileError::Line { line, source })
}
