//! `${env:NAME}` and `${file:PATH}` in configuration strings.

use crate::util::lock::lock;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    env, fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use xxhash_rust::xxh3::xxh3_64;

/// The largest file for `${file:PATH}`, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a reference is refused. Never holds the value behind it.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A reference without its closing brace.
    #[error("`${{` without its `}}`; write `$${{` where the characters themselves are meant")]
    Open,
    /// A reference that begins with neither `env:` nor `file:`.
    #[error(
        "`${{{0}}}` is unknown; write ${{env:NAME}}, ${{file:PATH}}, or `$${{` where the characters themselves are meant"
    )]
    Unknown(String),
    /// The variable, by its name, is not set.
    #[error("the environment variable {0} is not set; set it before the start")]
    Unset(String),
    /// The variable or file is empty.
    #[error("${{{0}}} is empty; put a value into it")]
    Empty(String),
    /// The file cannot be read.
    #[error("cannot read {}: {source}; check the path and the permissions", .path.display())]
    Read {
        /// The path behind `file:`, as it is written.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Finds the values of references. Cheap to clone; clones share the list of files that were read.
#[derive(Clone)]
pub struct Resolver {
    variables: Variables,
    base: PathBuf,
    files: Arc<Mutex<BTreeMap<PathBuf, Option<u64>>>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Takes variables from the process's environment, and relative paths from `base` on.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Resolver::with_variables(base, |name| env::var(name).ok())
    }

    /// Takes variables from a function, for tests.
    pub fn with_variables(
        base: impl Into<PathBuf>,
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Resolver { variables: Arc::new(variables), base: base.into(), files: Arc::default() }
    }

    /// The folder from which relative paths start.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The files that were read for values so far, each with a hash of its content; `None`: it could not be read. The
    /// hash may be that of a secret, and is not shown.
    pub fn files(&self) -> BTreeMap<PathBuf, Option<u64>> {
        lock(&self.files).clone()
    }

    /// The text of a file, which counts among [`Resolver::files`]. `path` starts at the base, or at the root.
    ///
    /// # Errors
    /// If it cannot be read, is longer than `most` bytes, or no UTF-8.
    pub(super) fn read_file(&self, path: &Path, most: u64) -> io::Result<String> {
        let read = || {
            let mut text = String::new();
            // Bounded while it is read: what is no regular file does not say how long it is.
            match File::open(path)?.take(most + 1).read_to_string(&mut text)? as u64 {
                length if length <= most => Ok(text),
                _ => Err(io::Error::other(format!("more than {most} bytes are too many"))),
            }
        };
        let text = read();
        let hash = text.as_ref().ok().map(|text| xxh3_64(text.as_bytes()));
        lock(&self.files).insert(path.into(), hash);
        text
    }

    /// The text with its references replaced; references inside the values are not replaced.
    ///
    /// # Errors
    /// If a reference is not closed, or its variable or file is missing or empty.
    pub fn fill<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, ResolveError> {
        if !text.contains("${") {
            return Ok(Cow::Borrowed(text));
        }
        let (mut filled, mut rest) = (String::new(), text);
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                filled.push_str(&rest[..at - 1]);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            let (reference, after) = rest[at + 2..].split_once('}').ok_or(ResolveError::Open)?;
            filled.push_str(&rest[..at]);
            filled.push_str(&self.find(reference)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(Cow::Owned(filled))
    }

    fn find(&self, reference: &str) -> Result<String, ResolveError> {
        let found = match reference.split_once(':') {
            Some(("env", name)) if !name.is_empty() => {
                (self.variables)(name).ok_or_else(|| ResolveError::Unset(name.into()))?
            }
            Some(("file", path)) if !path.is_empty() => self.read(path)?,
            _ => return Err(ResolveError::Unknown(reference.into())),
        };
        if found.is_empty() { Err(ResolveError::Empty(reference.into())) } else { Ok(found) }
    }

    fn read(&self, path: &str) -> Result<String, ResolveError> {
        let path = self.base.join(path);
        let read = self.read_file(&path, MAX_FILE);
        let mut text = read.map_err(|source| ResolveError::Read { path: path.clone(), source })?;
        // Editors and `echo` end the last line; a second end of line is somebody's intention.
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}
