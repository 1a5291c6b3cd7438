//! Where a value comes from: an argument, a file or standard input.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use crate::failure::Failure;

/// The value given as `text`, else the content of `file`, else standard input up to its end.
pub async fn value(text: Option<String>, file: Option<PathBuf>) -> Result<Bytes, Failure> {
    match (text, file) {
        (Some(text), _) => Ok(text.into()),
        (None, Some(path)) if path != Path::new("-") => read(&path).await,
        (None, _) => {
            let mut bytes = Vec::new();
            let limit = granary_common::limits::MAX_VALUE as u64 + 1;
            let read = tokio::io::stdin().take(limit).read_to_end(&mut bytes).await;
            read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
            Ok(bytes.into())
        }
    }
}

/// The content of a file.
pub async fn read(path: &Path) -> Result<Bytes, Failure> {
    let content = tokio::fs::read(path).await;
    content.map(Bytes::from).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))
}
