//! Where a configuration comes from: a file or a folder of files, variables over it, and `--set` over these.
//!
//! [`Sources::read`] reads all of it anew each time. Every value keeps the file and line, the variable or the argument that
//! it was written in, so that problems name it.

use super::{Error, Loaded, variables};
use crate::util::{
    files::{documents, open_regular},
    yaml::{Document, Limits, Merge, Place, Problem, Resolver},
};
use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The most files of a folder; more are taken for a mistake.
const MAX_FILES: usize = 1000;

/// How the files of a folder become one document: each states `version`, and `registries` are joined.
const MERGE: Merge = Merge { stated: &["version"], appended: &["registries"] };

/// The name of a configuration without a file, in problems and in the admin API.
const NO_FILE: &str = "the built-in example";

/// All sources of a configuration: a path, environment variables and settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    path: Option<PathBuf>,
    variables: Vec<(String, String)>,
    settings: Vec<String>,
}

/// One reading of all sources.
#[derive(Debug)]
pub struct Reading {
    /// The configuration, or all problems with it.
    pub result: Result<Loaded, Error>,
    /// The files that it depends on, also those of secrets and certificates.
    pub files: Files,
}

/// Each file that a configuration depends on, with a hash of its content (`None`: it cannot be read). A folder stands for
/// the list of its files. These hashes cover secrets, and are not shown.
pub type Files = BTreeMap<PathBuf, Option<u64>>;

/// A file that was read.
struct Text {
    name: String,
    bytes: Vec<u8>,
}

impl Sources {
    /// The configuration of a file or a folder. `None`: the built-in example.
    pub fn new(path: Option<PathBuf>) -> Self {
        Sources { path, ..Sources::default() }
    }

    /// Adds those of the given environment variables that set keys.
    #[must_use]
    pub fn with_variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.variables = variables.into_iter().filter(|(name, value)| variables::is_meant(name, value)).collect();
        self.variables.sort();
        self
    }

    /// Adds the values of `--set KEY=VALUE`, which go before all else; of two for one key the later counts.
    #[must_use]
    pub fn with_settings(mut self, settings: Vec<String>) -> Self {
        self.settings = settings;
        self
    }

    /// The file or folder. `None`: the built-in example.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The name of each source, to be shown: the path, the variables, the keys of settings. Holds no value.
    pub fn names(&self) -> Vec<String> {
        let path = self.path.as_ref().map_or(NO_FILE.into(), |path| path.display().to_string());
        let variables = self.variables.iter().map(|(name, _)| name.clone());
        let settings = self.settings.iter().map(|setting| variables::name_of_setting(setting));
        [path].into_iter().chain(variables).chain(settings).collect()
    }

    /// Reads all sources as they are now, and checks them.
    pub fn read(&self) -> Reading {
        let folder = self.path().filter(|path| path.is_dir());
        let base = folder.or(self.path().and_then(Path::parent)).unwrap_or(Path::new(""));
        let (resolver, mut files) = (Resolver::new(base), Files::new());
        let result = self.read_with(folder, &resolver, &mut files);
        files.extend(resolver.files());
        Reading { result, files }
    }

    fn read_with(&self, folder: Option<&Path>, resolver: &Resolver, files: &mut Files) -> Result<Loaded, Error> {
        let mut problems = Vec::new();
        let texts = match (folder, &self.path) {
            (Some(folder), _) => read_folder(folder, files, &mut problems)?,
            (None, Some(path)) => {
                let read = read_file(path, files);
                vec![read.map_err(|source| Error::Read { path: path.clone(), source })?]
            }
            (None, None) => Vec::new(),
        };
        let mut document = match &self.path {
            Some(_) => merged(&texts, &mut problems),
            None => built_in(),
        };
        variables::apply(&mut document, &self.variables, &self.settings, &mut problems);
        super::finish(document, resolver, self.hash(&texts), problems).map_err(Error::Invalid)
    }

    /// The hash of all texts as they are written; files and variables that they refer to are no part of it.
    fn hash(&self, texts: &[Text]) -> u64 {
        let mut hash = Xxh3::new();
        let mut part = |bytes: &[u8]| {
            hash.update(&bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        for Text { name, bytes } in texts {
            part(Path::new(name).file_name().unwrap_or_default().as_encoded_bytes());
            part(bytes);
        }
        for (name, value) in &self.variables {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        self.settings.iter().for_each(|setting| part(setting.as_bytes()));
        hash.digest()
    }
}

/// A document in which everything has its default.
fn built_in() -> Document {
    Document::parse(NO_FILE, b"version: 1", &Limits::default()).expect("the built-in text is valid")
}

/// The hashes of the same files as they are now. If they differ from before, the configuration must be read again.
pub fn look(files: &Files) -> Files {
    let now = |path: &PathBuf| match path.is_dir() {
        true => documents(path).ok().map(|paths| hash_of_list(&paths)),
        false => read_bounded(path).ok().map(|bytes| xxh3_64(&bytes)),
    };
    files.keys().map(|path| (path.clone(), now(path))).collect()
}

fn hash_of_list(paths: &[PathBuf]) -> u64 {
    let names: Vec<u8> = paths.iter().flat_map(|path| [path.as_os_str().as_encoded_bytes(), b"\0"].concat()).collect();
    xxh3_64(&names)
}

fn read_folder(folder: &Path, files: &mut Files, problems: &mut Vec<Problem>) -> Result<Vec<Text>, Error> {
    let listed = documents(folder);
    files.insert(folder.into(), listed.as_ref().ok().map(|paths| hash_of_list(paths)));
    let paths = listed.map_err(|source| Error::Read { path: folder.into(), source })?;
    if paths.is_empty() {
        return Err(Error::NoFiles { path: folder.into() });
    }
    if paths.len() > MAX_FILES {
        return Err(Error::ManyFiles { path: folder.into(), files: paths.len() });
    }
    let mut texts = Vec::new();
    for path in paths {
        match read_file(&path, files) {
            Ok(text) => texts.push(text),
            Err(error) => problems.push(Problem {
                file: path.to_string_lossy().into(),
                place: Place::default(),
                path: String::new(),
                text: format!("cannot read it: {error}; check the path and the permissions"),
            }),
        }
    }
    Ok(texts)
}

fn read_file(path: &Path, files: &mut Files) -> io::Result<Text> {
    let read = read_bounded(path);
    files.insert(path.into(), read.as_ref().ok().map(|bytes| xxh3_64(bytes)));
    read.map(|bytes| Text { name: path.to_string_lossy().into_owned(), bytes })
}

/// Reads at most one byte more than is allowed, so that the parser refuses a file that is too long.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(Limits::default().bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Merges all files that can be parsed into one document.
fn merged(texts: &[Text], problems: &mut Vec<Problem>) -> Document {
    let mut all: Option<Document> = None;
    for Text { name, bytes } in texts {
        match (Document::parse(name, bytes, &Limits::default()), &mut all) {
            (Err(problem), _) => problems.push(problem),
            (Ok(document), None) => all = Some(document),
            (Ok(document), Some(all)) => {
                if !document.has("version") {
                    problems.push(document.problem("the key `version` is missing; each file states it"));
                }
                all.merge(document, &MERGE);
            }
        }
    }
    // Where no file can be read, that is the problem, and not what is missing.
    all.unwrap_or_else(built_in)
}
