//! The files: one for each registry, written whole beside the old one and then put in its place.

use super::{Content, Metrics, Options, Unreadable, frame, wire};
use crate::{model::Text, pb::state as pb, telemetry, util::time::unix_millis};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A longer file was not written by us: 500,000 endpoints take some 20 MB.
const MAX_BYTES: u64 = 1 << 30;
/// Characters of a registry's name that stay in the name of its file; others are percent-encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// The longest name of a file before its ending; systems take 255 bytes.
const MAX_NAME: usize = 200;

/// Reads and writes the state of registries.
#[derive(Debug, Clone)]
pub struct Store {
    options: Options,
    metrics: Metrics,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Frame(#[from] frame::FrameError),
    #[error("{0}")]
    Content(#[from] Unreadable),
    #[error("it is of a registry that is read from elsewhere: {0}")]
    Foreign(String),
    #[error("it was written {} ago, and `state.max_age` is {}", humantime::format_duration(*.0), humantime::format_duration(*.1))]
    Expired(std::time::Duration, std::time::Duration),
    #[error("it has {0} bytes, more than any file of ours")]
    Large(u64),
}

impl Unusable {
    /// The word for metrics and the name of the file.
    fn cause(&self) -> &'static str {
        match self {
            Unusable::Frame(frame::FrameError::Newer { .. }) => "newer",
            Unusable::Foreign(_) => "foreign",
            Unusable::Expired(..) => "expired",
            _ => "damaged",
        }
    }
}

/// The right to write in a folder: one process has it.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Whether its file is still there: somebody may have emptied the folder, and then others can have it, too.
    fn is_at(&self, path: &Path) -> bool {
        let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (own, there) = (self.0.metadata().map(place), fs::metadata(path).map(place));
        own.ok().zip(there.ok()).is_some_and(|(own, there)| own == there)
    }
}

/// A hash of what was last written to a file, with the identity of its registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    content: u64,
}

impl Store {
    /// For this folder. Nothing is read or written yet.
    pub fn new(options: Options, metrics: Metrics) -> Store {
        Store { options, metrics }
    }

    /// What is known of a registry, if there is a file that can be used. A file that cannot be used is set aside.
    pub fn read<M: Content>(&self, registry: &Text, identity: &str, now: SystemTime) -> Option<M> {
        let path = self.path::<M>(registry)?;
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                self.metrics.unreadable(registry, &error, &path);
                return None;
            }
        };
        let memory = bytes.and_then(|bytes| self.decode::<M>(registry, identity, &bytes, now));
        match memory {
            Ok((memory, written)) => {
                let age = now.duration_since(written).unwrap_or_default();
                self.metrics.recalled(registry, M::WORD, memory.number(), age);
                Some(memory)
            }
            Err(why) => {
                let aside = path.with_extension(format!("{}.{}", M::ENDING, why.cause()));
                // Where even that cannot be done, the next writing replaces it.
                let now = if fs::rename(&path, &aside).is_ok() { aside } else { path };
                self.metrics.set_aside(registry, why.cause(), &why, &now);
                None
            }
        }
    }

    fn decode<M: Content>(
        &self,
        registry: &Text,
        identity: &str,
        bytes: &[u8],
        now: SystemTime,
    ) -> Result<(M, SystemTime), Unusable> {
        let (header, body) = frame::open(bytes)?;
        if header.registry != **registry || header.identity != identity {
            return Err(Unusable::Foreign(header.identity));
        }
        let written = wire::time(header.written);
        let age = now.duration_since(written).unwrap_or_default();
        if age > self.options.max_age {
            return Err(Unusable::Expired(std::time::Duration::from_secs(age.as_secs()), self.options.max_age));
        }
        Ok((M::decode(registry, body)?, written))
    }

    /// The right to write, which may be `held` already; `None` while another process has it, or where nothing is kept.
    ///
    /// # Errors
    /// If the folder cannot be made or used.
    pub(super) fn lock(&self, held: Option<Lock>) -> io::Result<Option<Lock>> {
        let Some(dir) = &self.options.dir else { return Ok(None) };
        let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
        let path = dir.join("lock");
        if let Some(held) = held.filter(|held| held.is_at(&path)) {
            return Ok(Some(held));
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(at)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(at(error)),
        }
    }

    /// Writes what is known of a registry, if it is not what `last` wrote, or `always`.
    ///
    /// # Errors
    /// If it cannot be written whole. The file that was there stays.
    pub(super) fn write<M: Content>(
        &self,
        registry: &Text,
        identity: &str,
        memory: &M,
        last: Option<Written>,
        always: bool,
    ) -> io::Result<Option<Written>> {
        let Some(path) = self.path::<M>(registry) else { return Ok(None) };
        let begun = Instant::now();
        let body = memory.encode();
        let written = Written { content: xxh3_64_with_seed(&body, xxh3_64(identity.as_bytes())) };
        if last == Some(written) && !always {
            return Ok(last);
        }
        let now = SystemTime::now();
        let header = pb::Header {
            format: frame::FORMAT,
            product: telemetry::VERSION.into(),
            registry: registry.to_string(),
            identity: identity.into(),
            written: unix_millis(now),
        };
        let bytes = frame::close(&header, &body);
        replace(&path, M::ENDING, &bytes)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        self.metrics.written(registry, M::WORD, bytes.len(), begun.elapsed(), now);
        Ok(Some(written))
    }

    /// Removes the file and the metrics of a registry that is no longer configured.
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub(super) fn forget<M: Content>(&self, registry: &Text) -> io::Result<()> {
        self.metrics.forget(registry, M::WORD);
        match self.path::<M>(registry).map(fs::remove_file) {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path<M: Content>(&self, registry: &Text) -> Option<PathBuf> {
        let mut name = utf8_percent_encode(registry, PLAIN).to_string();
        if name.len() > MAX_NAME {
            name.truncate(MAX_NAME - 17);
            name = format!("{name}-{:016x}", xxh3_64(registry.as_bytes()));
        }
        Some(self.options.dir.as_ref()?.join(format!("{name}.{}", M::ENDING)))
    }
}

/// Reads a whole file, unless it is longer than [`MAX_BYTES`].
fn read(path: &Path) -> io::Result<Result<Vec<u8>, Unusable>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(MAX_BYTES)).unwrap_or(0));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    let read = bytes.len() as u64;
    Ok(if read > MAX_BYTES { Err(Unusable::Large(size.max(read))) } else { Ok(bytes) })
}

/// Puts a file in its place as a whole: after a crash it is the old one or the new one.
fn replace(path: &Path, ending: &str, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let beside = path.with_extension(format!("{ending}.new"));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    let whole = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = whole {
        // It may fill the disk, and nobody reads it.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    File::open(dir)?.sync_all()
}
