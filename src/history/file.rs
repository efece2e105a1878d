//! The file: a line of JSON for each entry, appended. A line that cannot be read costs itself.

use super::Entry;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// The file, and the one before it.
const NAME: &str = "history.jsonl";
const OLDER: &str = "history.old.jsonl";
/// A file that is longer becomes the one before it.
const MAX_BYTES: u64 = 4 << 20;
/// So much of its end is read at the start.
const TAIL: u64 = 1 << 20;

/// The last entries of before a restart.
///
/// # Errors
/// If there is a file that cannot be read.
pub(super) fn read(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for name in [OLDER, NAME] {
        match tail(&dir.join(name)) {
            Ok(read) => entries.extend(read),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // Two processes may have written, as at an upgrade; and a number stands for one entry.
    entries.sort_by_key(|entry: &Entry| entry.number);
    entries.dedup_by_key(|entry| entry.number);
    Ok(entries)
}

fn tail(path: &Path) -> io::Result<Vec<Entry>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut entries = Vec::new();
    // The first line may be the end of one, and the last one the beginning.
    for line in BufReader::new(file.take(TAIL)).split(b'\n') {
        entries.extend(serde_json::from_slice::<Entry>(&line?).ok());
    }
    Ok(entries)
}

/// Adds entries. `sync`: they are on the disk when this returns.
///
/// # Errors
/// If they cannot be written.
pub(super) fn append(dir: &Path, entries: &[Entry], sync: bool) -> io::Result<()> {
    let path = dir.join(NAME);
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
    rotate(&path, &dir.join(OLDER)).map_err(at)?;
    let mut bytes = Vec::new();
    for entry in entries {
        // Before and not behind it, so that one that was cut off costs itself alone.
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, entry).map_err(|error| at(error.into()))?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(at)?;
    file.write_all(&bytes).map_err(at)?;
    if sync { file.sync_data().map_err(at) } else { Ok(()) }
}

fn rotate(path: &Path, older: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => fs::rename(path, older),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
