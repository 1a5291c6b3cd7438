//! Files that are there as a whole or not at all, also after a power cut.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use super::layout::{self, Layout};
use crate::substrate::SubstrateError;

/// Makes an error that says what was being done.
pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> SubstrateError {
    let doing = what.into();
    move |source| SubstrateError::Io { doing, source }
}

/// Replaces a file as a whole, synced with its directory.
pub(super) fn replace_synced(path: &Path, content: &[u8]) -> Result<(), SubstrateError> {
    let replace = || {
        let next = path.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        sync_parent(path)
    };
    replace().map_err(doing(format!("cannot write {}", path.display())))
}

/// The content of a file; `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, SubstrateError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(doing(format!("cannot read {}", path.display()))(error)),
    }
}

/// Deletes the directory of a node that left, or moves it to `removed/` under a name that is free.
pub(super) fn put_away(layout: &Layout, index: u32, delete: bool) -> Result<(), SubstrateError> {
    let data = layout.data(index);
    let put_away = || {
        if data.try_exists()? {
            if delete {
                fs::remove_dir_all(&data)?;
            } else {
                fs::create_dir_all(layout.removed())?;
                let free = (1u32..).map(|n| layout.removed().join(format!("{}.{n}", layout::name(index))));
                for target in free {
                    if !target.try_exists()? {
                        fs::rename(&data, &target)?;
                        break;
                    }
                }
            }
            sync_parent(&data)?;
        }
        match fs::remove_file(layout.pid(index)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    put_away().map_err(doing(format!("cannot put {} away", data.display())))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
