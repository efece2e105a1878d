//! The steps that may block: listing a folder, opening a file, reading it; and parsing, which takes long. They run on the
//! threads of `workers`, never on those of the runtime.

use crate::{
    model::Text,
    registry::{
        catalogue::{self, Catalogue},
        limits::Exceeded,
    },
    util::{files, yaml::Problems},
};
use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read {path}: {source}; check that it exists and may be read")]
    Read { path: String, source: io::Error },
    #[error("{path} is no regular file, and reading it might never end")]
    Special { path: String },
    #[error("{path} has {bytes} bytes; at most {limit} are read. Split it, or raise `max_file`")]
    Size { path: String, bytes: u64, limit: usize },
    #[error("folder {path} holds no *.yaml, *.yml or *.json; for no services at all, a file says `services: []`")]
    NoFiles { path: String },
    #[error("{path} does not answer: it is not read after {after:?}. Is it on a file system that hangs?")]
    Hangs { path: String, after: Duration },
    #[error("{path} is not read, because {others} other files do not answer")]
    Refused { path: String, others: usize },
    #[error("{path} cannot be read: the reader panicked")]
    Panicked { path: String },
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    #[error("{0}")]
    Catalogue(#[from] Problems),
}

/// Distinguishes one state of a file from another without reading it: device, inode, length, times of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64, u64, i64, i64, i64, i64);

/// A file to be looked at.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Its name in the folder, which is that of its scope.
    pub(super) name: Text,
    pub(super) path: PathBuf,
    /// The file was in the list of a folder, so it may be gone by now.
    pub(super) listed: bool,
    /// The stamp of the state that is known; `None` if the file is to be read in any case.
    pub(super) stamp: Option<Stamp>,
}

/// What a look at a file gives.
#[derive(Debug)]
pub(super) enum Look {
    /// The file has the stamp of its job, and was not read.
    Unchanged,
    /// It was deleted after its folder was listed.
    Gone,
    /// It was read. The stamp is there if the outcome depends on the content alone.
    Read { stamp: Option<Stamp>, bytes: u64, outcome: Result<Catalogue, Error> },
}

impl Stamp {
    fn of(m: &Metadata) -> Self {
        Stamp(m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
    }
}

/// The files by name, sorted, and `true` if they are those of a folder.
pub(super) fn names(root: &Path) -> Result<(bool, Vec<(Text, PathBuf)>), Error> {
    let path = root.display().to_string();
    let failed = |source| Error::Read { path: path.clone(), source };
    if !fs::metadata(root).map_err(failed)?.is_dir() {
        let name = root.file_name().map_or_else(|| path.clone(), |n| n.to_string_lossy().into_owned());
        return Ok((false, vec![(name.into(), root.to_path_buf())]));
    }
    let named = |path: PathBuf| (path.file_name().unwrap_or_default().to_string_lossy().into(), path);
    let names: Vec<_> = files::documents(root).map_err(failed)?.into_iter().map(named).collect();
    if names.is_empty() { Err(Error::NoFiles { path }) } else { Ok((true, names)) }
}

impl Look {
    /// The outcome for a file that cannot be read now.
    pub(super) fn failed(error: Error) -> Self {
        Look::Read { stamp: None, bytes: 0, outcome: Err(error) }
    }
}

/// Looks at a file, and reads it if it may have changed.
pub(super) fn look(registry: &Text, job: &Job, limit: usize) -> Look {
    match text(job, limit) {
        Ok(None) => Look::Unchanged,
        Ok(Some((stamp, text))) => {
            let bytes = text.as_ref().map_or(0, Vec::len) as u64;
            let outcome = text.and_then(|text| Ok(catalogue::parse(registry, &job.name, &text, limit)?));
            Look::Read { stamp: Some(stamp), bytes, outcome }
        }
        // A link to nowhere is there; a file that was deleted since its folder was listed is not.
        Err(Error::Read { source, .. })
            if job.listed && source.kind() == ErrorKind::NotFound && fs::symlink_metadata(&job.path).is_err() =>
        {
            Look::Gone
        }
        Err(error) => Look::failed(error),
    }
}

/// The stamp of a file, and its bytes if there are not too many.
type Content = (Stamp, Result<Vec<u8>, Error>);

/// The content; `None` if the file has the stamp of its job. The stamp is that of the open file before it is read: what
/// changes meanwhile is read again at the next look.
fn text(job: &Job, limit: usize) -> Result<Option<Content>, Error> {
    let path = || job.path.display().to_string();
    let failed = |source| Error::Read { path: path(), source };
    let regular = |metadata: &Metadata| metadata.is_file().then_some(()).ok_or_else(|| Error::Special { path: path() });
    let metadata = fs::metadata(&job.path).map_err(failed)?;
    regular(&metadata)?;
    if job.stamp == Some(Stamp::of(&metadata)) {
        return Ok(None);
    }
    // It may be another file by now: a pipe must not keep us waiting for somebody who writes.
    let file = files::open(&job.path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    regular(&metadata)?;
    let stamp = Stamp::of(&metadata);
    let mut text = Vec::new();
    if metadata.len() <= limit as u64 {
        text = content(file, &metadata, limit).map_err(|source| match source.kind() {
            // What looks like a file and has nothing yet is a device of the kernel's, such as /proc/kmsg.
            ErrorKind::WouldBlock => Error::Special { path: path() },
            _ => failed(source),
        })?;
    }
    let bytes = metadata.len().max(text.len() as u64);
    let checked = if bytes > limit as u64 { Err(Error::Size { path: path(), bytes, limit }) } else { Ok(text) };
    Ok(Some((stamp, checked)))
}

fn content(file: File, metadata: &Metadata, limit: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(metadata.len() as usize + 1);
    file.take(limit as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}
