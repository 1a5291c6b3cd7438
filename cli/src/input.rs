//! Where a value comes from: an argument, a file or standard input. Never more than a byte over the largest value is
//! read, so that a source without an end is refused like any value that is too long.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use granary_common::limits::MAX_VALUE;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::failure::Failure;

/// The value given as `text`, else the content of `file`, else standard input up to its end.
pub async fn value(text: Option<String>, file: Option<PathBuf>) -> Result<Bytes, Failure> {
    let (read, name) = match (text, file) {
        (Some(text), _) => return Ok(text.into()),
        (None, Some(path)) if path != Path::new("-") => (content(&path).await, path.display().to_string()),
        (None, _) => (bounded(tokio::io::stdin()).await, "standard input".to_owned()),
    };
    read.map(Bytes::from).map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))
}

/// The content of a file, or its beginning when it is longer than a value may be.
pub async fn content(path: &Path) -> io::Result<Vec<u8>> {
    bounded(tokio::fs::File::open(path).await?).await
}

async fn bounded(source: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_VALUE as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
