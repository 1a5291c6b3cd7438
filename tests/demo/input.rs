//! Real input: the project's own files and the system's word list.

use std::{
    fs,
    path::{Path, PathBuf},
};

use granary_tests::{HarnessError, Result};

/// Debian's word list.
const WORDS: &str = "/usr/share/dict/words";
/// Folders of the project that are somebody's work, not built.
const FOLDERS: [&str; 11] =
    ["proto", "storage-node", "client", "cli", "crds", "operator", "tests", "docs", "examples", "charts", "scripts"];

/// Where the input lies.
pub struct Input {
    /// A directory of files.
    pub files: PathBuf,
    /// A file of lines.
    pub words: PathBuf,
}

/// Copies the input below `dir`. `words`: how many lines at most.
pub fn prepare(dir: &Path, words: usize) -> Result<Input> {
    let input = Input { files: dir.join("input/files"), words: dir.join("input/words") };
    let failed = |what: &Path, error| HarnessError::because(format!("copying {}", what.display()), error);
    fs::create_dir_all(&input.files).map_err(|error| failed(&input.files, error))?;
    for folder in FOLDERS.iter().map(Path::new).filter(|folder| folder.is_dir()) {
        copy(folder, &input.files.join(folder)).map_err(|error| failed(folder, error))?;
    }
    let text = fs::read_to_string(WORDS).map_err(|error| {
        HarnessError(format!("{WORDS}: {error}; `make setup` installs Debian's package wamerican, which has it"))
    })?;
    let lines: Vec<&str> = text.lines().take(words).collect();
    fs::write(&input.words, lines.join("\n")).map_err(|error| failed(&input.words, error))?;
    Ok(input)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
